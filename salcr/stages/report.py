"""One HTML page of a data set's results, which opens without a network.

Reads what other stages wrote for people, so that it can be rewritten at any time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from salcr import files
from salcr.config import table_kinds
from salcr.config.json_kinds import TrialProvenance
from salcr.config.schema import Config
from salcr.data import store
from salcr.errors import SalcrError
from salcr.log import say
from salcr.reporting.report import benchmarks_by_stage, render_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument("--summary", type=Path, required=True, help="csv that aggregate wrote")
    parser.add_argument("--provenance", type=Path, required=True, help="csv that provenance wrote")
    parser.add_argument("--trials", type=Path, nargs="+", required=True, help="provenance.json")
    parser.add_argument("--figures", type=Path, nargs="*", required=True, help="png pictures")
    parser.add_argument("--tables", type=Path, nargs="*", required=True, help="csv, md beside each")
    parser.add_argument(
        "--study",
        type=Path,
        nargs=2,
        metavar=("TEXT", "FIGURE"),
        help="what study wrote, as md, png",
    )
    parser.add_argument(
        "--times", type=Path, required=True, help="folder of Snakemake's benchmarks"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that preprocess wrote")
    parser.add_argument("--synthetic", action="store_true", help="people are synthetic")
    parser.add_argument("--page", type=Path, required=True, help="html to write")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Read what the page shows, and write it."""
    if not arguments.times.is_dir():
        raise SalcrError(f"--times {arguments.times}: no such folder")
    trials = [files.read_foreign_json(path, TrialProvenance) for path in arguments.trials]
    study, *study_figures = arguments.study or [None]
    stored = store.read_summary(arguments.data)
    text = render_report(
        trials,
        summary=files.read_table(arguments.summary, table_kinds.SUMMARY),
        provenance=files.read_table(arguments.provenance, table_kinds.PROVENANCE),
        shapes=stored["shapes"],
        unlabeled=stored.get("unlabeled", {}),
        figures={path.stem: _read_png(path) for path in arguments.figures + study_figures},
        paper_tables=[
            (files.read_table(path, table_kinds.PAPER), files.read_text(path.with_suffix(".md")))
            for path in arguments.tables
        ],
        study=files.read_text(study) if study else None,
        benchmarks={
            stage: pd.concat(
                [files.read_table(path, table_kinds.BENCHMARK, separator="\t") for path in paths]
            )
            for stage, paths in benchmarks_by_stage(arguments.times, trials).items()
        },
        synthetic=arguments.synthetic,
    )
    files.write_text(arguments.page, text)
    say(f"{arguments.page} written")


def _read_png(path: Path) -> bytes:
    content = files.read_bytes(path)
    if not content.startswith(b"\x89PNG\r\n"):
        raise SalcrError(f"{path}: is not a png picture; give one that `plot` writes")
    return content
