#!/bin/sh
# Writes a configuration for a new miner: `basilica-miner init`, which asks what it cannot know.
#
#   generate_config.sh [FILE] [FLAGS OF init]
set -eu

case "${1:-}" in
    -h | --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
# shellcheck source=find-miner.sh
. "$(dirname -- "$0")/find-miner.sh"
miner=$(find_miner "$0")
case "${1:--}" in
    -*) exec "$miner" init "$@" ;;
    *) file=$1; shift; exec "$miner" init --output "$file" "$@" ;;
esac
