# shellcheck shell=sh
# Finds the program basilica-miner; sourced by the scripts beside it.
# The search path first, then a build in the working directory or in these sources.

find_miner() {
    here=$(CDPATH='' cd -- "$(dirname -- "$1")" && pwd)
    if found=$(command -v basilica-miner); then
        printf '%s\n' "$found"
        return 0
    fi
    for candidate in ./basilica-miner "$here/../basilica-miner" /opt/basilica/basilica-miner \
        "${CARGO_TARGET_DIR:-$here/../target}/release/basilica-miner" \
        "${CARGO_TARGET_DIR:-$here/../target}/debug/basilica-miner"; do
        if [ -x "$candidate" ]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    echo "basilica-miner is neither in the search path nor in ., /opt/basilica or target/; build it with: ./scripts/miner/build.sh --release" >&2
    return 1
}
