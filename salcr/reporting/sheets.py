"""Our scores beside the published ones: the lines of each of the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from salcr.errors import SalcrError
from salcr.reporting import tables
from salcr.reporting.paper import RERANKINGS, SIZES, SIZES_OF, Ours, Table, Transferred
from salcr.reporting.tables import Line, Score, Sheet

_PERCENT = ("rank1", "map", "minp")
_KEYS = ["variant", "stage", "setting", "rerank"]
_FIRST_TRIAL = "trial 1 "  # begins the settings that are about one trial of RegDB

_SIZES_EXPLAINED = (
    "Of the paper's network this counts 23.52 and 23.54 M parameters, 5.13 GMac each. Published "
    "are 2.05 M parameters more, as many as ResNet-50's ImageNet classifier has, which neither "
    "network uses, and for SALCR further 0.33 M, a position embedding that the released code "
    "never uses; and 1 % more operations; the paper does not say which operations it counts. "
    "Normalization, activation and pooling are not counted here."
)


class Results(NamedTuple):
    """Our results, as far as there are any."""

    dataset: str
    """Its published name, such as RegDB."""
    synthetic: bool
    """Are the images of synthetic people, in that data set's layout?"""
    published: bool
    """Are they all images of the published data set?"""
    departures: Sequence[str]
    """The settings that are not the paper's."""
    matches: Mapping[str, Mapping[str, Sequence[str]]]
    """Source of a table -> row -> variant and stage."""
    trials: pd.DataFrame
    """The last evaluation of each variant and stage: a line per setting, trial and gallery."""
    jobs: list[dict[str, Any]]
    """Records of the evaluations whose seconds are shown, one per trial."""
    counts: dict[str, Any]
    """Parameters and operations of the network."""
    transfer: dict[str, Any] | None
    """Metrics of another data set's network."""


def compare(table: Table, published: pd.DataFrame, results: Results) -> Sheet:
    """Return a table of the paper with a line for each published row and ours beside it.

    Args:
        table: its rows, and what computes them here.
        published: the published figures: columns source, variant, dataset, setting and scores.
        results: ours.
    """
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
    """Return whether all of ours are of the published images, with the paper's settings."""
    transfer = results.transfer if table.source == "16" else None
    trained_on_published = transfer is None or transfer["trained_on"]["published"]
    as_published = results.published and not (results.synthetic or results.departures)
    return as_published and trained_on_published


def _line(table: Table, row: str, figures: pd.Series[Any], results: Results) -> Line:
    dataset, setting = figures["dataset"], figures["setting"]
    ours, variant, rerank = table.rows[row], None, "none"
    scores = pd.DataFrame()
    if dataset == results.dataset and isinstance(ours, Transferred):
        scores = _transferred(ours, setting, results)
        variant = "transfer"
    elif dataset == results.dataset and isinstance(ours, Ours):
        variant, stage = results.matches.get(table.source, {}).get(row, (None, None))
        rerank = RERANKINGS.get(dataset, {}).get(ours.rerank, ours.rerank)
        scores = _evaluated(results, variant, stage, setting, rerank)
    shown = {name: _score(scores, name, figures[name]) for name in _PERCENT}
    if table.seconds:
        was_run = not scores.empty
        shown["seconds"] = _seconds(results.jobs, setting, rerank) if was_run else Score()
    return Line(row, dataset, setting, None if scores.empty else variant, shown)


def _evaluated(
    results: Results, variant: str | None, stage: str | None, setting: str, rerank: str
) -> pd.DataFrame:
    """Return our scores of a variant, a line per trial or gallery."""
    trials = results.trials
    if setting.startswith(_FIRST_TRIAL):
        setting, trials = setting.removeprefix(_FIRST_TRIAL), trials[trials["trial"] == 1]
    wanted = dict(zip(_KEYS, (variant, stage, setting, rerank), strict=True))
    return trials[(trials[_KEYS] == pd.Series(wanted)).all(axis=1)]


def _transferred(ours: Transferred, setting: str, results: Results) -> pd.DataFrame:
    """Return the scores of a network of another data set, if that was evaluated here."""
    transfer = results.transfer
    if transfer is None or transfer["trained_on"]["layout"] != ours.layout:
        return pd.DataFrame()
    if setting.startswith(_FIRST_TRIAL) and transfer["trial"] != 1:
        return pd.DataFrame()
    setting = setting.removeprefix(_FIRST_TRIAL)
    if setting not in transfer["settings"]:
        raise SalcrError(
            f"--transfer: holds no scores of {setting}; give the json of this data set"
        )
    galleries = transfer["settings"][setting]["none"]
    return pd.DataFrame(
        {"rank1": 100 * one["cmc"][0], "map": 100 * one["map"], "minp": 100 * one["minp"]}
        for one in galleries
    )


def _score(scores: pd.DataFrame, name: str, published: float) -> Score:
    figure = None if pd.isna(published) else float(published)
    return Score(published=figure) if scores.empty else _averaged(scores[name], figure)


def _averaged(values: pd.Series[float], published: float | None = None) -> Score:
    """Return mean and sample standard deviation; a single value has no deviation."""
    std = float(values.std()) if len(values) > 1 else None
    return Score(float(values.mean()), std, published, len(values))


def _seconds(jobs: Sequence[Mapping[str, Any]], setting: str, rerank: str) -> Score:
    measured = [job["rerank_seconds"].get(setting, {}).get(rerank) for job in jobs]
    seconds = [one for one in measured if one is not None]
    return _averaged(pd.Series(seconds)) if seconds else Score()


def _sizes(table: Table, results: Results) -> Sheet:
    """Return Table 15, whose figures depend on the network and not on the images."""
    counts = results.counts
    lines = []
    for row, (name, parameters, macs) in SIZES.items():
        ours = counts["networks"][name]
        scores = {
            "parameters": Score(ours["parameters"] / 1e6, None, parameters, 1),
            "macs": Score(ours["macs"] / 1e9, None, macs, 1),
        }
        lines.append(Line(row, "", "", name, scores))
    compares = all(counts[key] == value for key, value in SIZES_OF.items())
    height, width = counts["image"]
    notes = [
        f"Counted from the network itself: {counts['backbone']}, width {counts['width']}, "
        f"{counts['parts']} parts, an image of {height} × {width}; parameters of both stems; "
        "operations of convolutions and matrix products, in billions.",
        _SIZES_EXPLAINED,
    ]
    if not compares:
        notes.insert(1, "**Not the paper's network or image size**: no difference is given.")
    shown = ["parameters", "macs"]
    return Sheet(table.name, table.heading, table.title, notes, shown, lines, compares)


def _notes(table: Table, lines: list[Line], results: Results) -> list[str]:
    """Return what a reader of the table has to know."""
    dataset = results.dataset
    notes = [_about_ours(dataset, results)]
    if all(line.dataset != dataset for line in lines):
        others = " and ".join(dict.fromkeys(line.dataset for line in lines))
        notes.append(f"The paper has this table for {others} only, so nothing of it was run here.")
    notes.append(
        f"Rank-1, mAP and mINP in percent. {tables.NOT_RUN}: another method's or another data "
        f"set's row, or not part of this run; {tables.NOT_PUBLISHED}: not published."
    )
    if table.seconds and results.jobs:
        notes.append(_about_seconds(results.jobs))
    if (
        results.transfer
        and table.source == "16"
        and not results.transfer["trained_on"]["published"]
    ):
        notes.append("**The other network was not trained on the published data set.**")
    return [*notes, *filter(None, [table.note])]


def _about_ours(dataset: str, results: Results) -> str:
    sizes = results.trials.groupby(_KEYS).size()
    count = int(sizes.max()) if len(sizes) else 0
    if results.trials["draw"].max() > 0:
        spread = f"over {count} random galleries of one training"
    else:
        spread = f"over {count} trials, each trained on its own split"
    ours = f"mean ± standard deviation {spread}" if count > 1 else "one trial"
    if results.synthetic:
        return (
            f"**Ours are of synthetic people in {dataset}'s layout, not of {dataset}** ({ours}). "
            "The published figures are for orientation only; a difference would be meaningless."
        )
    if not results.published:
        return (
            f"**Ours are of a part of {dataset}'s images** ({ours}). A difference from the "
            "published figures would be meaningless."
        )
    if results.departures:
        return (
            f"**Ours are of {dataset}, but not with the paper's settings** ({ours}): "
            f"{', '.join(results.departures)}. No difference is given."
        )
    return f"Ours: {dataset}, {ours}. The published figures are the paper's."


def _about_seconds(jobs: list[dict[str, Any]]) -> str:
    threads = dict.fromkeys(str(job["threads"]) for job in jobs)
    machines = dict.fromkeys(job["machine"] for job in jobs)
    return (
        "Seconds of one ranking of a gallery for all queries, features given, mean over galleries "
        f"and trials, CPU threads: {' or '.join(threads)} ({'; '.join(machines)}); "
        "other jobs may have run at the same time. There are no published seconds."
    )
