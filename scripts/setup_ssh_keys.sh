#!/bin/sh
# Makes the miner's SSH key and installs it on GPU servers: `basilica-miner nodes add` for each of them.
#
#   setup_ssh_keys.sh [--nodes "USER@HOST[:PORT] ..."] [--key-path FILE] [-c|--config FILE] [-- FLAGS OF nodes add]
#
# An IPv6 address with a port stands in brackets: [2001:db8::1]:2222. Without --nodes, the nodes of the configuration are done again, which changes nothing where all is well. Before there is a configuration, the key is
# made, installed by ssh-copy-id, and what belongs into the configuration is printed.
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
        -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
        --) shift; break ;;
        *) usage ;;
    esac
done

# Key and servers without a configuration. Takes what `nodes add` takes as an address.
first_time() {
    if [ $# -gt 0 ]; then
        echo "$config is missing, and \"$*\" is for \`nodes add\`, which writes there; make it with: $(dirname -- "$0")/generate_config.sh $config" >&2
        exit 1
    fi
    key=${BASILICA_SSH_SESSION__MINER_NODE_KEY_PATH:-$HOME/.ssh/miner_node_key}
    if [ ! -e "$key" ]; then
        mkdir -p -m 700 "$(dirname -- "$key")"
        ssh-keygen -q -t ed25519 -N '' -C basilica-miner -f "$key"
    fi
    echo "the nodes' SSH key is $key"
    lines=
    failed=0
    for node in $nodes; do
        case "$node" in *@*) user=${node%%@*}; host=${node#*@} ;; *) user=basilica; host=$node ;; esac
        port=22
        case "$host" in
            \[*\]:*) port=${host##*]:}; host=${host%%]*}; host=${host#[} ;;
            \[*\]) host=${host#[}; host=${host%]} ;;
            # More colons than one and no brackets: an address, and no port.
            *:*:*) ;;
            *:*) port=${host##*:}; host=${host%:*} ;;
        esac
        if ssh-copy-id -i "$key.pub" -p "$port" "$user@$host"; then
            lines="$lines
  { host = \"$host\", port = $port, username = \"$user\", hourly_rate_per_gpu = 2.50 },"
        else
            failed=$((failed + 1))
        fi
    done
    printf 'for %s, with your own prices:\n[ssh_session]\nminer_node_key_path = "%s"\n[node_management]\nnodes = [%s\n]\n' "$config" "$key" "$lines"
    echo "next: $(dirname -- "$0")/generate_config.sh $config"
    [ "$failed" -eq 0 ] || { echo "$failed of the nodes were not set up; the messages above say why" >&2; exit 1; }
    exit 0
}
[ -e "$config" ] || first_time "$@"

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
