#!/bin/sh
# Builds basilica-miner and puts it into the working directory.
#
#   build.sh [--release | --debug]
set -eu

profile=release
case "${1:-}" in
    '' | --release) ;;
    --debug) profile=debug ;;
    *) sed -n '4s/^# *//p' "$0" >&2; exit 2 ;;
esac
sources=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
command -v cargo >/dev/null || {
    echo "cargo is not installed; see https://rustup.rs" >&2
    exit 1
}
if [ "$profile" = release ]; then set -- --release; else set --; fi
target=${CARGO_TARGET_DIR:-$sources/target}
(cd "$sources" && CARGO_TARGET_DIR=$target cargo build --locked -p basilica-miner "$@")
# Renamed into place: a program that runs is never written over.
cp "$target/$profile/basilica-miner" ./basilica-miner.new
mv -f ./basilica-miner.new ./basilica-miner
echo "./basilica-miner is built ($profile)"
