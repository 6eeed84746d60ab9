#!/usr/bin/env python3
"""Checks a miner by `basilica-miner health-check`: configuration, system, wallet, database, chain, nodes, running service.

    check_miner_health.py [--config FILE]

Ends with 0 if all is well, 1 if something is not, 2 on a wrong command line, 78 if the configuration is not valid.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def find_miner():
    """The program, where the shell scripts find it; they say so themselves where there is none."""
    script = '. "$1/find-miner.sh"; find_miner "$1/x"'
    found = subprocess.run(["sh", "-c", script, "sh", str(HERE)], stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode != 0:
        sys.exit(1)
    return found.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", "-c", default="miner.toml", help="configuration [default: miner.toml]")
    config = parser.parse_args().config
    miner = [find_miner(), "--config", config]
    done = subprocess.run([*miner, "--json", "health-check"], capture_output=True, text=True, check=False)
    try:
        parts = json.loads(done.stdout)["parts"]
    except (ValueError, KeyError):
        # There is no report, as with a configuration that is not valid; for people it says why in words.
        return subprocess.run([*miner, "health-check"], check=False).returncode or 1
    for part in parts:
        print(f"{'ok    ' if part['ok'] else 'FAILED'} {part['part']}: {part['words']}")
    print(f"{sum(part['ok'] for part in parts)}/{len(parts)} checks passed")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
