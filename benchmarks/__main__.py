"""`python -m benchmarks`: every row in a process of its own, as a table and as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from benchmarks.epoch import epoch, epochs
from benchmarks.growth import SIZES, cluster_so_many, growth
from benchmarks.row import measure, run_in_subprocess

TOPICS = ("clustering", "step", "augmentation")
"""Modules of this package that have ROWS, in the order of the table."""


def main() -> int:
    """Measure the chosen rows; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", help="rows whose name contains this")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/bench.json"))
    parser.add_argument("--row", help=argparse.SUPPRESS)  # measure this one in this process
    parser.add_argument(
        "--growth", action="store_true", help="cluster 5 to 100 thousand images, and no row"
    )
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)  # cluster so many here
    parser.add_argument("--epoch", action="store_true", help="time a round, and no row")
    parser.add_argument("--network", help=argparse.SUPPRESS)  # time its round here
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help="of --epoch (default: auto)",
    )
    arguments = parser.parse_args()
    if arguments.size:
        print(json.dumps(cluster_so_many(arguments.size)))
        return 0
    if arguments.network:
        print(json.dumps(epoch(arguments.network, arguments.device, arguments.threads)))
        return 0
    if arguments.epoch:
        _write(arguments.out, epoch=epochs(arguments.device, arguments.threads))
        return 0
    if arguments.growth:
        found = growth(SIZES, arguments.threads)
        _write(arguments.out, growth={"threads": arguments.threads, "sizes": found})
        return 0
    rows = [row for topic in TOPICS for row in importlib.import_module(f"benchmarks.{topic}").ROWS]
    if arguments.row:
        (row,) = (row for row in rows if row.name == arguments.row)
        print(json.dumps(measure(row).as_dict()))
        return 0
    chosen = [row for row in rows if not arguments.only or arguments.only in row.name]
    found, failed = [], []
    print(f"{'work':<52}{'ours':>10}{'plain':>10}{'ratio':>8}{'peak':>9}{'plain':>9}  wanted")
    for row in chosen:
        one = run_in_subprocess(["--row", row.name], arguments.threads)
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
    _write(arguments.out, threads=arguments.threads, rows=found)
    return 1 if failed else 0


def _write(path: Path, **parts: object) -> None:
    """Replace parts of the JSON file; rows and growth are measured apart."""
    before = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**before, **parts}, indent=2))


if __name__ == "__main__":
    sys.exit(main())
