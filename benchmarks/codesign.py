"""Designs per second of a search: BERT-base known by its configuration, cold and with warm caches.

Run: python -m benchmarks.codesign [--population N] [--generations N] [--jobs N] [--per shape|role|matrix]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.mapper import table

MAIN = [sys.executable, "-c", "from heat_sim.cli import main; main()"]


def main() -> None:
    """Run the same search twice, in new processes that share a cache, and print how long each took."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--population", type=int, default=200)
    options.add_argument("--generations", type=int, default=100)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--per", default="shape", choices=("shape", "role", "matrix"))
    options.add_argument("--cache", type=Path, help="Folder of the caches; an empty one if left out.")
    given = options.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        cache = given.cache or Path(scratch) / "cache"
        fronts = []
        for name in ("cold" if given.cache is None else "first", "warm"):
            out = Path(scratch) / name
            started = time.perf_counter()
            subprocess.run(  # noqa: S603 - our own command
                [*MAIN, "codesign", "--model", "bert-base", "--arch", "simba_l", "--seq", "384",
                 "--population", str(given.population), "--generations", str(given.generations),
                 "--jobs", str(given.jobs), "--per", given.per, "--out", str(out)],
                env={**os.environ, "HEAT_SIM_CACHE": str(cache), "OMP_WAIT_POLICY": "passive"}, check=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            seconds = time.perf_counter() - started
            facts = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["facts"]
            fronts.append((out / "front.csv").read_bytes())
            rows.append(
                (name, f"{facts['designs_costed']:,}", f"{facts['layers_mapped']:,}", f"{facts['designs_per_second']}",
                 f"{facts['search_seconds']}", f"{seconds:.0f}")
            )  # fmt: skip
    title = f"bert-base, 384 tokens, simba_l, {given.population * given.generations:,} evaluations, per {given.per}"
    header = ("caches", "different designs", "parts", "evaluations/s", "search s", "whole command s")
    table(f"{title}, {given.jobs} processes", header, rows)
    print("\nthe fronts are the same" if fronts[0] == fronts[1] else "\nTHE FRONTS DIFFER")


if __name__ == "__main__":
    main()
