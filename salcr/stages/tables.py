"""The paper's tables, ours beside the published figures: csv, Markdown and LaTeX.

Reads the tables of `aggregate` and small files alone, so that restyling one trains nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from salcr import files, reporting
from salcr.config.schema import Config
from salcr.data import store
from salcr.log import say
from salcr.reporting import tables
from salcr.reporting.paper import (
    DATASETS,
    RERANKINGS,
    SIZES,
    SIZES_OF,
    TABLES,
    Ours,
    Table,
    Transferred,
)
from salcr.reporting.tables import Line, Score, Sheet

_PERCENT = ("rank1", "map", "minp")
_KEYS = ["variant", "stage", "setting", "rerank"]
_FIRST_TRIAL = "trial 1 "  # begins the settings that are about one trial of RegDB

_SIZES_EXPLAINED = (
    "Of the paper's network this counts 23.52 and 23.54 M parameters, 5.13 GMac each. Published "
    "are 2.05 M parameters more, as many as ResNet-50's ImageNet classifier has, which neither "
    "network uses, and for SALCR further 0.33 M, a position embedding that the released code "
    "never uses; and 1 % more operations, of which the paper does not say what they count. "
    "Normalization, activation and pooling are not counted here."
)


class Results(NamedTuple):
    """What there is of ours."""

    dataset: str
    """Its published name, such as RegDB."""
    drawn: bool
    """Drawn people in that data set's layout?"""
    published: bool
    """All images of the published data set?"""
    departures: Sequence[str]
    """The settings that are not the paper's."""
    matches: Mapping[str, Mapping[str, list[str]]]
    """Source -> row -> variant and stage."""
    trials: pd.DataFrame
    """The last evaluation of each variant and stage: a line per setting, trial and gallery."""
    jobs: list[dict[str, Any]]
    """How the evaluations ran whose seconds are shown, one for each trial."""
    counts: dict[str, Any]
    """Parameters and operations of the network."""
    transfer: dict[str, Any] | None
    """Metrics of another data set's network."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument("--layout", choices=sorted(DATASETS), required=True, help="of the data set")
    parser.add_argument("--drawn", action="store_true", help="drawn people, not the data set")
    parser.add_argument("--departures", nargs="*", default=[], help="settings not the paper's")
    parser.add_argument("--matches", type=json.loads, required=True, help="table -> row -> variant")
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
    published = files.read_table(arguments.published)
    sheets = [_sheet(table, published, results) for table in TABLES]
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
    trials = files.read_table(arguments.trials)
    last = trials.groupby(["variant", "stage"])["round"].transform("max")
    return Results(
        DATASETS[arguments.layout],
        arguments.drawn,
        files.read_json(arguments.data / store.SUMMARY)["published"],
        arguments.departures,
        arguments.matches,
        trials[trials["round"] == last],
        [files.read_json(path) for path in arguments.jobs],
        files.read_json(arguments.complexity),
        files.read_json(arguments.transfer) if arguments.transfer else None,
    )


def _sheet(table: Table, published: pd.DataFrame, results: Results) -> Sheet:
    """Return the table with a line for each published row."""
    if table.source == "15":
        return _sizes(table, results)
    lines = []
    for row in table.rows:
        source = table.borrowed.get(row, table.source)
        of_row = (published["source"] == source) & (published["variant"] == row)
        for _, figures in published[of_row].iterrows():
            lines.append(_line(table, row, figures, results))
    shown = [
        name for name in _PERCENT if any(line.scores[name].published is not None for line in lines)
    ]
    order = list(dict.fromkeys((line.dataset, line.setting) for line in lines))
    order.sort(key=lambda place: place[0] != results.dataset)  # ours come first
    lines.sort(key=lambda line: order.index((line.dataset, line.setting)))
    return Sheet(
        table.name,
        table.heading,
        table.title,
        _notes(table, lines, results),
        [*shown, "seconds"] if table.seconds else shown,
        lines,
        compares=_compares(table, results),
    )


def _compares(table: Table, results: Results) -> bool:
    """Tell whether all of ours comes from the published images, with the paper's settings."""
    crossed = results.transfer if table.source == "16" else None
    other = crossed is None or crossed["trained_on"]["published"]
    return results.published and not (results.drawn or results.departures) and other


def _line(table: Table, row: str, figures: pd.Series[Any], results: Results) -> Line:
    dataset, setting = figures["dataset"], figures["setting"]
    ours, variant, rerank = table.rows[row], None, "none"
    found = pd.DataFrame()
    if dataset == results.dataset and isinstance(ours, Transferred):
        found = _transferred(ours, setting, results)
        variant = "transfer"
    elif dataset == results.dataset and isinstance(ours, Ours):
        variant, stage = results.matches.get(table.source, {}).get(row, (None, None))
        rerank = RERANKINGS.get(dataset, {}).get(ours.rerank, ours.rerank)
        found = _evaluated(results, variant, stage, setting, rerank)
    scores = {name: _score(found, name, figures[name]) for name in _PERCENT}
    if table.seconds:
        scores["seconds"] = _seconds(results.jobs, setting, rerank, run=not found.empty)
    return Line(row, dataset, setting, variant if len(found) else None, scores)


def _evaluated(
    results: Results, variant: str | None, stage: str | None, setting: str, rerank: str
) -> pd.DataFrame:
    """Return our lines of a variant, one for each trial or drawn gallery."""
    trials = results.trials
    if setting.startswith(_FIRST_TRIAL):
        setting, trials = setting.removeprefix(_FIRST_TRIAL), trials[trials["trial"] == 1]
    wanted = dict(zip(_KEYS, (variant, stage, setting, rerank), strict=True))
    return trials[(trials[_KEYS] == pd.Series(wanted)).all(axis=1)]


def _transferred(ours: Transferred, setting: str, results: Results) -> pd.DataFrame:
    """Return the scores of a network of another data set, if that was evaluated here."""
    found = results.transfer
    if found is None or found["trained_on"]["layout"] != ours.layout:
        return pd.DataFrame()
    if setting.startswith(_FIRST_TRIAL) and found["trial"] != 1:
        return pd.DataFrame()
    draws = found["settings"][setting.removeprefix(_FIRST_TRIAL)]["none"]
    return pd.DataFrame(
        [
            {"rank1": 100 * d["cmc"][0], "map": 100 * d["map"], "minp": 100 * d["minp"]}
            for d in draws
        ]
    )


def _score(found: pd.DataFrame, name: str, published: float) -> Score:
    figure = None if pd.isna(published) else float(published)
    if found.empty:
        return Score(published=figure)
    return _over(found[name], published=figure)


def _over(values: pd.Series[float], published: float | None = None) -> Score:
    """Return mean and sample standard deviation, none of a single value."""
    std = float(values.std()) if len(values) > 1 else None
    return Score(float(values.mean()), std, published, len(values))


def _seconds(jobs: list[dict[str, Any]], setting: str, rerank: str, *, run: bool) -> Score:
    found = [job["rerank_seconds"].get(setting, {}).get(rerank) for job in jobs]
    taken = [seconds for seconds in found if seconds is not None]
    return _over(pd.Series(taken)) if run and taken else Score()


def _sizes(table: Table, results: Results) -> Sheet:
    """Return Table 15; its figures hang on the network, not on the images."""
    counts = results.counts
    lines = []
    for row, (name, parameters, macs) in SIZES.items():
        found = counts["networks"][name]
        scores = {
            "parameters": Score(found["parameters"] / 1e6, None, parameters, 1),
            "macs": Score(found["macs"] / 1e9, None, macs, 1),
        }
        lines.append(Line(row, "", "", name, scores))
    is_published = all(counts[key] == value for key, value in SIZES_OF.items())
    height, width = counts["image"]
    notes = [
        f"Counted from the network itself: {counts['backbone']}, width {counts['width']}, "
        f"{counts['parts']} parts, an image of {height} × {width}; parameters of both stems; "
        "operations of convolutions and matrix products, in billions.",
        _SIZES_EXPLAINED,
    ]
    if not is_published:
        notes.insert(1, "**Not the paper's network or image size**: no difference is given.")
    shown = ["parameters", "macs"]
    return Sheet(table.name, table.heading, table.title, notes, shown, lines, is_published)


def _notes(table: Table, lines: list[Line], results: Results) -> list[str]:
    """Return what a reader of the table must know."""
    dataset = results.dataset
    notes = [_whose(dataset, results)]
    if all(line.dataset != dataset for line in lines):
        others = " and ".join(dict.fromkeys(line.dataset for line in lines))
        notes.append(f"The paper has this table for {others} only, so nothing of it was run here.")
    notes.append(
        f"Rank-1, mAP and mINP in percent. {tables.NOT_RUN}: another method's or another data "
        f"set's row, or not part of this run; {tables.NOT_PUBLISHED}: not published."
    )
    if table.seconds and results.jobs:
        notes.append(_how_timed(results.jobs))
    if (
        results.transfer
        and table.source == "16"
        and not results.transfer["trained_on"]["published"]
    ):
        notes.append("**The other network was not trained on the published data set.**")
    return [*notes, *filter(None, [table.note])]


def _whose(dataset: str, results: Results) -> str:
    numbers = results.trials.groupby(_KEYS).size()
    count = int(numbers.max()) if len(numbers) else 0
    if results.trials["draw"].max() > 0:
        spread = f"over {count} drawn galleries of one training"
    else:
        spread = f"over {count} trials, each a training on a split of its own"
    ours = f"mean ± standard deviation {spread}" if count > 1 else "one trial"
    if results.drawn:
        return (
            f"**Ours are of drawn people in {dataset}'s layout, not of {dataset}** ({ours}). "
            "Published figures stand beside for orientation; a difference would say nothing."
        )
    if not results.published:
        return (
            f"**Ours are of a part of {dataset}'s images** ({ours}). A difference from the "
            "published figures would say nothing."
        )
    if results.departures:
        return (
            f"**Ours are of {dataset}, but not with the paper's settings** ({ours}): "
            f"{', '.join(results.departures)}. No difference is given."
        )
    return f"Ours: {dataset}, {ours}. The published figures are the paper's."


def _how_timed(jobs: list[dict[str, Any]]) -> str:
    threads = dict.fromkeys(str(job["threads"]) for job in jobs)
    machines = dict.fromkeys(job["machine"] for job in jobs)
    return (
        "Seconds of one ranking of a gallery for all queries, features given, mean over galleries "
        f"and trials, CPU threads: {' or '.join(threads)} ({'; '.join(machines)}); "
        "other jobs may have run beside. No published seconds are at hand."
    )
