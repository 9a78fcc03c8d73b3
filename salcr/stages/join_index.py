"""Join the parts that `embed --shard` computed into one index, without a network or a GPU."""

from __future__ import annotations

import argparse
from pathlib import Path

from salcr.atomic import claimed
from salcr.config import cli
from salcr.config.schema import MAX_THREADS, Config
from salcr.errors import SalcrError
from salcr.search import shards
from salcr.search.factory import KINDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    parser.add_argument(
        "--index", type=Path, required=True, help="folder that was the --out of all shards"
    )
    parser.add_argument(
        "--kind", choices=KINDS, default="flat", help="of the index, as of embed (default: flat)"
    )
    parser.add_argument(
        "--threads", action=cli.Integer, most=MAX_THREADS, default=1, help="CPU threads"
    )


def run(arguments: argparse.Namespace, _: Config) -> None:
    """Write the index, equal to that of one run; the parts are then deleted."""
    import faiss  # here, because --help does not need it

    faiss.omp_set_num_threads(arguments.threads)
    if not arguments.index.is_dir():
        raise SalcrError(f"{arguments.index}: no such folder")
    with claimed(arguments.index):
        shards.join(arguments.index, arguments.kind)
