"""`python -m benchmarks`: every row in a process of its own, as a table and as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

TOPICS = ("clustering", "step", "augmentation")
"""Modules of this package that have ROWS, in the order of the table."""


def main() -> int:
    """Measure the chosen rows; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", help="rows whose name contains this")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/bench.json"))
    parser.add_argument("--row", help=argparse.SUPPRESS)  # measure this one in this process
    arguments = parser.parse_args()
    rows = [row for topic in TOPICS for row in importlib.import_module(f"benchmarks.{topic}").ROWS]
    if arguments.row:
        from benchmarks.row import measure

        (row,) = (row for row in rows if row.name == arguments.row)
        print(json.dumps(measure(row).as_dict()))
        return 0
    chosen = [row for row in rows if not arguments.only or arguments.only in row.name]
    found, failed = [], []
    print(f"{'work':<52}{'ours':>10}{'plain':>10}{'ratio':>8}{'peak':>9}{'plain':>9}  wanted")
    for row in chosen:
        one = _in_own_process(row.name, arguments.threads)
        if one is None:
            failed.append(row.name)
            print(f"{row.name:<52}  FAILED, see above")
            continue
        found.append(one)
        print(
            f"{row.name:<52}{one['ours_seconds']:>8.3f} s{one['plain_seconds']:>8.3f} s"
            f"{one['ratio']:>7.1f}x{one['ours_peak_gb']:>6.2f} GB{one['plain_peak_gb']:>6.2f} GB"
            f"  {row.wanted}",
            flush=True,
        )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"threads": arguments.threads, "rows": found}, indent=2))
    return 1 if failed else 0


def _in_own_process(name: str, threads: int) -> dict[str, float] | None:
    """Return what a row took, None if its process failed; its peak is not that of others."""
    limits = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads)
    )
    command = [sys.executable, "-m", "benchmarks", "--row", name]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, env={**os.environ, **limits}, text=True, check=False
    )
    if done.returncode:
        return None
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    sys.exit(main())
