"""Add a finished start of a study, one variant and trial, to the csv that the study keeps."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from salcr import files
from salcr.config import cli
from salcr.config.json_kinds import Job, Metrics
from salcr.config.schema import NAME, Config
from salcr.data.store import read_summary
from salcr.errors import SalcrError
from salcr.log import say
from salcr.reporting import starts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument(
        "--variant", type=cli.matching(NAME, "a name of a variant"), required=True, help="its name"
    )
    parser.add_argument(
        "--origin", nargs=2, required=True, metavar=("CONFIG", "CODE"),
        type=cli.matching("[0-9a-f+]+", "a digest"),
        help="digests of the settings and of the code that made it",
    )  # fmt: skip
    parser.add_argument("--metrics", type=Path, required=True, help="json that evaluate wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder that preprocess wrote")
    parser.add_argument("--jobs", type=Path, nargs="+", required=True, help="json of each job")
    parser.add_argument("--rows", type=Path, required=True, help="csv to add the start to")
    parser.add_argument("--row", type=Path, required=True, help="json to write: the same rows")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the rows of the start, and add them to the csv."""
    metrics = files.read_json(arguments.metrics, Metrics)
    jobs = [files.read_json(path, Job) for path in arguments.jobs]
    stages = Counter(job["stage"] for job in jobs)
    if (stages["pretrain"], stages["train"]) != (1, metrics["round"]):
        raise SalcrError(
            f"--jobs: must be the records of one pretrain and of each train up to round "
            f"{metrics['round']} of {arguments.metrics}, with what follows them"
        )
    rows = starts.rows_of(
        arguments.variant,
        starts.Origin(*arguments.origin),
        metrics,
        jobs,
        read_summary(arguments.data)["data_hash"],
    )
    starts.merge_rows(arguments.rows, rows)
    starts.write_start(arguments.row, rows)
    say(f"{arguments.rows}: {arguments.variant}, trial {rows[0]['trial']} added")
