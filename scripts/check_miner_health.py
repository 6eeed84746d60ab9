#!/usr/bin/env python3
"""Checks a miner: its configuration, whether it runs, and its nodes, each by a command of basilica-miner.

    check_miner_health.py [--config FILE]

Ends with 0 if all is well, 1 if something is not, 2 on a wrong command line.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def find_miner():
    """The program: from the search path, then as the shell scripts look for it."""
    found = shutil.which("basilica-miner")
    if found:
        return found
    target = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent / "target")
    for candidate in (
        Path("basilica-miner"),
        HERE.parent / "basilica-miner",
        Path("/opt/basilica/basilica-miner"),
        Path("/opt/basilica/bin/basilica-miner"),
        target / "release/basilica-miner",
        target / "debug/basilica-miner",
    ):
        if os.access(candidate, os.X_OK):
            return str(candidate.resolve())
    sys.exit(
        "basilica-miner is neither in the search path nor in ., /opt/basilica or target/; "
        "build it with: ./scripts/miner/build.sh --release"
    )


def ask(miner, config, *command):
    """What a command answers, or why it failed."""
    done = subprocess.run(
        [miner, "--config", config, "--json", *command], capture_output=True, text=True, check=False
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    try:
        why = json.loads(done.stderr.splitlines()[-1])["error"]
    except (ValueError, IndexError, KeyError):
        why = done.stderr.strip()
    return done.returncode == 0, answer, why


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", "-c", default="miner.toml", help="configuration [default: miner.toml]")
    config = parser.parse_args().config
    miner = find_miner()
    checks = (
        ("configuration", ("config", "validate")),
        ("service", ("status",)),
        ("nodes", ("nodes", "list")),
    )
    passed = 0
    for name, command in checks:
        good, answer, why = ask(miner, config, *command)
        if good and name == "nodes" and not answer:
            good, why = False, "no nodes are configured; add one with: basilica-miner nodes add USER@HOST"
        passed += good
        print(f"{'ok    ' if good else 'FAILED'} {name}" + ("" if good else f": {why}"))
    print(f"{passed}/{len(checks)} checks passed")
    return 0 if passed == len(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
