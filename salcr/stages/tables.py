"""The paper's tables, ours beside the published figures: csv, Markdown and LaTeX.

Reads the tables of `aggregate` and small files alone, so that restyling one trains nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from salcr import files, reporting
from salcr.config import cli, table_kinds
from salcr.config.json_kinds import Complexity, TimedJob, Transferred
from salcr.config.schema import Config
from salcr.data import store
from salcr.log import say
from salcr.reporting import tables
from salcr.reporting.paper import DATASETS, TABLES
from salcr.reporting.sheets import Results, compare

_MATCHES = dict[str, dict[str, tuple[str, str]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument("--layout", choices=sorted(DATASETS), required=True, help="of the data set")
    parser.add_argument("--synthetic", action="store_true", help="people are synthetic")
    parser.add_argument("--departures", nargs="*", default=[], help="settings not the paper's")
    parser.add_argument(
        "--matches", type=cli.json_of(_MATCHES, "JSON of variants"), required=True,
        help="table -> row -> variant and stage",
    )  # fmt: skip
    parser.add_argument("--trials", type=Path, required=True, help="csv that aggregate wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder that preprocess wrote")
    parser.add_argument("--complexity", type=Path, required=True, help="json that complexity wrote")
    parser.add_argument("--jobs", type=Path, nargs="*", default=[], help="of evaluate, for seconds")
    parser.add_argument("--transfer", type=Path, help="json that transfer wrote")
    parser.add_argument(
        "--published", type=Path, default=Path(reporting.__file__).with_name("published.csv"),
        help="csv of published figures (default: the paper's)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write every table in three forms, and all of them in one file to read and one to compile."""
    results = _results(arguments)
    published = files.read_table(arguments.published, table_kinds.PUBLISHED)
    sheets = [compare(table, published, results) for table in TABLES]
    for sheet in sheets:
        path = arguments.out / sheet.name
        files.write_table(path.with_suffix(".csv"), tables.as_csv(sheet))
        files.write_text(path.with_suffix(".md"), tables.as_markdown(sheet))
        files.write_text(path.with_suffix(".tex"), tables.as_latex(sheet))
    text = "\n".join(tables.as_markdown(sheet) for sheet in sheets)
    files.write_text(arguments.out / "tables.md", f"# The paper's tables\n\n{text}")
    names = [sheet.name for sheet in sheets]
    files.write_text(arguments.out / "tables.tex", tables.document(names))
    say(f"{arguments.out}: {len(sheets)} tables; all in tables.md and tables.tex")


def _results(arguments: argparse.Namespace) -> Results:
    trials = files.read_table(arguments.trials, table_kinds.TRIALS)
    last = trials.groupby(["variant", "stage"])["round"].transform("max")
    return Results(
        DATASETS[arguments.layout],
        arguments.synthetic,
        store.read_summary(arguments.data)["published"],
        arguments.departures,
        arguments.matches,
        trials[trials["round"] == last],
        [files.read_json(path, TimedJob) for path in arguments.jobs],
        files.read_json(arguments.complexity, Complexity),
        files.read_json(arguments.transfer, Transferred) if arguments.transfer else None,
    )
