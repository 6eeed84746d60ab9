#!/bin/sh
# Installs or updates ./basilica-miner and its systemd unit on this host, and (re)starts it. Run as root; can be run again.
#
#   deploy.sh [CONFIG]      (default: miner.toml; an installed configuration is not replaced)
set -eu

config=${1:-miner.toml}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "run it as root: sudo $0 $config" >&2; exit 1; }
[ -x ./basilica-miner ] || { echo "./basilica-miner is missing; build it with: $here/build.sh --release" >&2; exit 1; }
id basilica >/dev/null 2>&1 || useradd --system --home-dir /var/lib/basilica --create-home basilica
install -d /opt/basilica/bin /etc/basilica
install -d -o basilica -g basilica -m 700 /var/lib/basilica
install ./basilica-miner /opt/basilica/bin/basilica-miner.new
mv -f /opt/basilica/bin/basilica-miner.new /opt/basilica/bin/basilica-miner
if [ ! -e /etc/basilica/miner.toml ]; then
    [ -r "$config" ] || { echo "$config is missing; make it with: ./basilica-miner init" >&2; exit 1; }
    install -o basilica -g basilica -m 640 "$config" /etc/basilica/miner.toml
fi
setpriv --reuid basilica --regid basilica --init-groups env HOME=/var/lib/basilica \
    /opt/basilica/bin/basilica-miner --config /etc/basilica/miner.toml config validate || {
    echo "not started: put right what is said above (paths are those of the user basilica, whose home is /var/lib/basilica)" >&2
    exit 1
}
install -m 644 "$here/systemd/basilica-miner.service" /etc/systemd/system/basilica-miner.service
systemctl daemon-reload
systemctl enable basilica-miner
systemctl restart basilica-miner
systemctl --no-pager status basilica-miner
