"""Add a finished start of a study, one variant and trial, to the csv that the study keeps."""

from __future__ import annotations

import argparse
from pathlib import Path

from salcr import files
from salcr.config.schema import Config
from salcr.data.store import read_data_hash
from salcr.log import say
from salcr.reporting import starts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument("--variant", required=True, help="its name")
    parser.add_argument(
        "--origin", nargs=2, required=True, metavar=("CONFIG", "CODE"),
        help="digests of the settings and of the code that made it",
    )  # fmt: skip
    parser.add_argument("--metrics", type=Path, required=True, help="json that evaluate wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder that preprocess wrote")
    parser.add_argument("--jobs", type=Path, nargs="+", required=True, help="json of each job")
    parser.add_argument("--rows", type=Path, required=True, help="csv to add the start to")
    parser.add_argument("--row", type=Path, required=True, help="json to write: the same rows")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the rows of the start, and add them to the csv."""
    rows = starts.rows_of(
        arguments.variant,
        starts.Origin(*arguments.origin),
        files.read_json(arguments.metrics),
        [files.read_json(path) for path in arguments.jobs],
        read_data_hash(arguments.data),
    )
    starts.merge_rows(arguments.rows, rows)
    starts.write_start(arguments.row, rows)
    say(f"{arguments.rows}: {arguments.variant}, trial {rows[0]['trial']} added")
