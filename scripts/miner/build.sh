#!/bin/sh
# Builds basilica-miner, and basilica-prover with which `doctor` asks GPUs for the proof that validators ask for, and puts both into the
# working directory.
#
#   build.sh [--release | --debug]
set -eu

profile=release
case "${1:-}" in
    '' | --release) ;;
    --debug) profile=debug ;;
    *) sed -n '5s/^# *//p' "$0" >&2; exit 2 ;;
esac
sources=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
command -v cargo >/dev/null || {
    echo "cargo is not installed; see https://rustup.rs" >&2
    exit 1
}
if [ "$profile" = release ]; then set -- --release; else set --; fi
target=${CARGO_TARGET_DIR:-$sources/target}
(cd "$sources" && CARGO_TARGET_DIR=$target cargo build --locked -p basilica-miner -p basilica-prover "$@")
for program in basilica-prover basilica-miner; do
    # Renamed into place: a program that runs is never written over.
    cp "$target/$profile/$program" "./$program.new"
    mv -f "./$program.new" "./$program"
    echo "./$program is built ($profile)"
done
