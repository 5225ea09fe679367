"""Runs the benchmarks one after the other: a shape of each in about ten minutes, or with --full all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

QUICK = (
    ("planner.py",),
    ("index.py", "--jobs", "200000"),
    ("extender.py",),
    ("extender.py", "--pinned"),
    ("admission.py",),
    ("intake.py",),
    ("gangs.py", "--shape", "250x20", "--rounds", "1"),
)
FULL = (
    ("planner.py",),
    ("index.py",),
    ("extender.py",),
    ("extender.py", "--pinned"),
    ("admission.py",),
    ("intake.py", "--seconds", "60"),
    ("gangs.py", "--shape", "250x20", "--shape", "1x5000", "--rounds", "3"),
    ("running.py",),
)


def main(arguments: list[str]) -> int:
    """Stops at the first benchmark that cannot run; a figure that misses its goal is a figure, not a failure."""
    if set(arguments) - {"--full"}:
        print(__doc__, "usage: run.py [--full]", sep="\n")
        return 2
    for script, *options in FULL if "--full" in arguments else QUICK:
        print(f"\n== {script} {' '.join(options)}", flush=True)
        done = subprocess.run([sys.executable, HERE / script, *options], check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
