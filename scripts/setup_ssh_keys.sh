#!/bin/sh
# Makes the miner's SSH key and installs it on GPU servers: `basilica-miner nodes add` for each of them.
#
#   setup_ssh_keys.sh [--nodes "USER@HOST[:PORT] ..."] [--key-path FILE] [-c|--config FILE] [-- FLAGS OF nodes add]
#
# Without --nodes, the nodes of the configuration are done again, which changes nothing where all is well.
set -eu

nodes=
config=miner.toml
usage() {
    sed -n '4p' "$0" | cut -c 5- >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case "$1" in
        --nodes) [ $# -ge 2 ] || usage; nodes=$2; shift 2 ;;
        --key-path) [ $# -ge 2 ] || usage; BASILICA_SSH_SESSION__MINER_NODE_KEY_PATH=$2
            export BASILICA_SSH_SESSION__MINER_NODE_KEY_PATH; shift 2 ;;
        -c | --config) [ $# -ge 2 ] || usage; config=$2; shift 2 ;;
        -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
        --) shift; break ;;
        *) usage ;;
    esac
done

# shellcheck source=find-miner.sh
. "$(dirname -- "$0")/find-miner.sh"
miner=$(find_miner "$0")
if [ -z "$nodes" ]; then
    nodes=$("$miner" --config "$config" --json nodes list | sed -n 's/^ *"address": "\(.*\)",\{0,1\}$/\1/p')
fi
if [ -z "$nodes" ]; then
    echo "no nodes in $config; name them with --nodes \"USER@HOST USER@HOST\"" >&2
    exit 1
fi
failed=0
for node in $nodes; do
    "$miner" --config "$config" nodes add "$node" "$@" || failed=$((failed + 1))
done
if [ "$failed" -gt 0 ]; then
    echo "$failed of the nodes were not set up; the messages above say why" >&2
    exit 1
fi
if [ -n "${BASILICA_SSH_SESSION__MINER_NODE_KEY_PATH:-}" ]; then
    printf 'write the key into %s:\n[ssh_session]\nminer_node_key_path = "%s"\n' "$config" "$BASILICA_SSH_SESSION__MINER_NODE_KEY_PATH"
fi
