"""Run all benchmarks with their defaults, each in a process of its own, and write all tables of results/.

python benchmarks/run.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import peer

AGAINST_TORCHRAY = ("speed.py", "zoo.py", "throughput.py", "attribution.py", "pointing.py", "quality.py")
SCRIPTS = (*AGAINST_TORCHRAY, "evaluation.py", "chunks.py", "scale.py", "channels.py", "smallest_area.py", "inversion.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS, help="which scripts to run")
    options = parser.parse_args()
    if not {*AGAINST_TORCHRAY}.isdisjoint(options.only):
        peer.require()
    for script in options.only:
        finished = subprocess.run([sys.executable, str(Path(__file__).with_name(script))])
        if finished.returncode:
            raise SystemExit(f"{script} failed with exit code {finished.returncode}")


if __name__ == "__main__":
    main()
