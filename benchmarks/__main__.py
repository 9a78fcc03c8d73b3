"""`python -m benchmarks`: measure every row in a separate process, as a table and as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from benchmarks.epoch import measure_network, measure_networks
from benchmarks.growth import SIZES, measure_clustering, measure_growth
from benchmarks.planning import measure_plans
from benchmarks.row import measure, run_in_subprocess
from benchmarks.search import measure_search, print_kind
from salcr.search.factory import KINDS

TOPICS = ("clustering", "step", "augmentation", "loading")
"""Modules of this package that have ROWS, in the order of the table."""


def main() -> int:
    """Measure the chosen rows; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", help="rows whose name contains this")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/bench.json"))
    parser.add_argument("--row", help=argparse.SUPPRESS)  # the only one to measure, in this process
    parser.add_argument(
        "--growth", action="store_true", help="cluster 5 to 100 thousand images instead of the rows"
    )
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)  # of --growth, in this process
    parser.add_argument(
        "--search", type=int, metavar="SIZE", help="build indexes of so many images instead"
    )
    parser.add_argument("--kind", help=argparse.SUPPRESS)  # of --search, in this process
    parser.add_argument("--epoch", action="store_true", help="time a round instead of the rows")
    parser.add_argument(
        "--plans", action="store_true", help="let Snakemake plan workflows instead of the rows"
    )
    parser.add_argument("--network", help=argparse.SUPPRESS)  # of --epoch, in this process
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help="of --epoch (default: auto)",
    )
    arguments = parser.parse_args()
    if arguments.kind:
        print_kind(arguments.kind, arguments.search, arguments.threads)
        return 0
    if arguments.search:
        kinds = [kind for kind in KINDS if not arguments.only or arguments.only in kind]
        indexes = measure_search(arguments.search, kinds, arguments.threads)
        _write(arguments.out, search={"threads": arguments.threads, "rows": indexes})
        return 0
    if arguments.size:
        print(json.dumps(measure_clustering(arguments.size)))
        return 0
    if arguments.network:
        print(json.dumps(measure_network(arguments.network, arguments.device, arguments.threads)))
        return 0
    if arguments.epoch:
        _write(arguments.out, epoch=measure_networks(arguments.device, arguments.threads))
        return 0
    if arguments.plans:
        _write(arguments.out, plans=measure_plans())
        return 0
    if arguments.growth:
        sizes = measure_growth(SIZES, arguments.threads)
        _write(arguments.out, growth={"threads": arguments.threads, "sizes": sizes})
        return 0
    rows = [row for topic in TOPICS for row in importlib.import_module(f"benchmarks.{topic}").ROWS]
    if arguments.row:
        (row,) = (row for row in rows if row.name == arguments.row)
        print(json.dumps(measure(row).as_dict()))
        return 0
    chosen = [row for row in rows if not arguments.only or arguments.only in row.name]
    measurements, failed = [], []
    print(f"{'work':<52}{'ours':>10}{'plain':>10}{'ratio':>8}{'peak':>9}{'plain':>9}  wanted")
    for row in chosen:
        measured = run_in_subprocess(["--row", row.name], arguments.threads)
        if measured is None:
            failed.append(row.name)
            print(f"{row.name:<52}  FAILED, see above")
            continue
        measurements.append(measured)
        print(
            f"{row.name:<52}{measured['ours_seconds']:>8.3f} s{measured['plain_seconds']:>8.3f} s"
            f"{measured['ratio']:>7.1f}x{measured['ours_peak_gb']:>6.2f} GB"
            f"{measured['plain_peak_gb']:>6.2f} GB  {row.wanted}",
            flush=True,
        )
    _write(arguments.out, threads=arguments.threads, rows=measurements)
    return 1 if failed else 0


def _write(path: Path, **parts: object) -> None:
    """Replace parts of the JSON file; the others are of separate runs."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**old, **parts}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
