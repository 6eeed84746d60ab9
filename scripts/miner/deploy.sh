#!/bin/sh
# Installs or updates ./basilica-miner and its systemd unit on this host, and (re)starts it. Run with sudo; can be run again.
#
#   deploy.sh [CONFIG]      (default: miner.toml; an installed configuration is not replaced)
#
# Everything is below /opt/basilica, and belongs to the user basilica-miner, whose home that is: the programs, config/miner.toml, data/, and copies of
# the hotkey and of the nodes' SSH key. They are copied from the home of whoever calls sudo, where `basilica-miner init` and `nodes add` put them.
set -eu

config=${1:-miner.toml}
user=basilica-miner
to=/opt/basilica
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
fail() {
    echo "$*" >&2
    exit 1
}
own() { install -o "$user" -g "$user" "$@"; }
value() { sed -n "s/^ *$1 *= *\"\([^\"]*\)\".*/\1/p" "$to/config/miner.toml" | head -n 1; }

[ "$(id -u)" -eq 0 ] || fail "run it as root: sudo $0 $config"
[ -x ./basilica-miner ] || fail "./basilica-miner is missing; build it with: $here/build.sh --release"
[ -e "$to/config/miner.toml" ] || [ -r "$config" ] || fail "$config is missing; make it with: ./basilica-miner init"
id "$user" >/dev/null 2>&1 || useradd --system --home-dir "$to" --no-create-home --shell /usr/sbin/nologin "$user"
install -d "$to"
own -d -m 750 "$to/config"
own -d -m 700 "$to/data" "$to/.ssh" "$to/.bittensor"
for program in basilica-prover basilica-miner; do
    [ -x "./$program" ] || { echo "./$program is missing: without it \`doctor\` runs no proof; $here/build.sh makes it" >&2; continue; }
    install "./$program" "$to/$program.new"
    mv -f "$to/$program.new" "$to/$program"
done

if [ ! -e "$to/config/miner.toml" ]; then
    # The service may write nothing but its data, and reads nobody's home.
    sed -e "s|^\( *url *= *\)\"sqlite:[^\"]*\"|\1\"sqlite://$to/data/miner.db\"|" \
        -e 's|^\( *miner_node_key_path *= *\)"[^"]*"|\1"~/.ssh/miner_node_key"|' \
        -e 's|^\( *wallet_path *= *\)"[^"]*"|\1"~/.bittensor/wallets"|' "$config" >"$to/config/.new"
    own -m 640 "$to/config/.new" "$to/config/miner.toml"
    rm "$to/config/.new"
fi
# Whatever is missing yet, also where an earlier run did not come this far.
[ -r "$config" ] || config=$to/config/miner.toml
from=$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)
set_in() { sed -n "s|^ *$1 *= *\"\([^\"]*\)\".*|\1|p" "$config" | head -n 1 | sed "s|^~/|$from/|"; }
key=$(set_in miner_node_key_path)
key=${key:-$from/.ssh/miner_node_key}
if [ -r "$key" ] && [ ! -e "$to/.ssh/miner_node_key" ]; then
    own -m 600 "$key" "$to/.ssh/miner_node_key"
    if [ -r "$key.pub" ]; then own -m 644 "$key.pub" "$to/.ssh/miner_node_key.pub"; fi
fi
wallets=$(set_in wallet_path)
name=$(value wallet_name)
hotkey=$(value hotkey_name)
hotkey=wallets/${name:-miner}/hotkeys/${hotkey:-default}
source=${wallets:-$from/.bittensor/wallets}/${hotkey#wallets/}
if [ -r "$source" ] && [ ! -e "$to/.bittensor/$hotkey" ]; then
    # The hotkey alone: no coldkey belongs on this host.
    own -d -m 700 "$to/.bittensor/wallets" "$to/.bittensor/wallets/${name:-miner}" "$(dirname "$to/.bittensor/$hotkey")"
    own -m 600 "$source" "$to/.bittensor/$hotkey"
fi
chown -R "$user:$user" "$to/data" "$to/config/miner.toml"

as() { setpriv --reuid "$user" --regid "$user" --init-groups env HOME="$to" "$to/basilica-miner" --config "$to/config/miner.toml" "$@"; }
as config validate || fail "not started: put right what is said above; ~ is $to, the home of the user $user"
install -m 644 "$here/systemd/basilica-miner.service" /etc/systemd/system/basilica-miner.service
systemctl daemon-reload
systemctl enable basilica-miner
systemctl restart basilica-miner
systemctl --no-pager status basilica-miner
echo "commands for it: sudo -u $user env HOME=$to $to/basilica-miner --config $to/config/miner.toml status"
