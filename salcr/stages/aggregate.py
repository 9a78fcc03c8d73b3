"""Aggregate the metrics, label qualities and losses of trials, rounds and variants in tables."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from salcr import files
from salcr.config import cli, table_kinds
from salcr.config.json_kinds import LabelQuality, Metrics
from salcr.config.runs import Run, trial_name
from salcr.config.schema import Config
from salcr.errors import SalcrError
from salcr.log import say

_RANKS = (1, 5, 10, 20)
_SCORES = [*(f"rank{rank}" for rank in _RANKS), "map", "minp"]
_MAIN_SCORES = {"rank1": "rank-1", "map": "mAP", "minp": "mINP"}
NOT_EVALUATED = "no test images: nothing was evaluated\n"
_KEYS = ["dataset", "variant", "stage", "setting", "rerank"]
_COLUMNS = [*_KEYS[1:], "round", "trial", "draw", *_SCORES, "cmc"]
# Columns if the open set was evaluated: numbers of queries, and rank-1 at false-alarm rates.
_QUERIES = {"num_present": "present", "num_absent": "absent"}
_IDENTIFICATION = "dir_far"
_OPEN_SET = (
    "Open set: rank-1 at false-alarm rates (FAR) with half of the people not in the gallery.\n"
    "Empty: fewer than 10 / FAR absent queries, or no present one."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    cli.add_runs(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write summary, trials, cmc, label_quality, losses as .csv, summary.txt and metrics.json."""
    root, trials = arguments.root, arguments.trials
    metrics = _metrics(root, arguments.runs, trials, arguments.every)
    metrics.insert(0, "dataset", arguments.dataset)
    is_last = metrics["round"] == metrics.groupby("variant")["round"].transform("max")
    final = metrics[(metrics["stage"] == "pretrain") | is_last]
    summary = _mean_and_std(final, [*_SCORES, *_identification_scores(final)])
    tables = {
        "summary": summary,
        "trials": metrics.drop(columns="cmc"),
        "cmc": _cmc(final),
        "label_quality": _label_quality(root, arguments.runs, trials),
        "losses": _losses(root, arguments.runs, trials),
    }
    for name, table in tables.items():
        files.write_table(root / f"{name}.csv", table)
    files.write_text(root / "summary.txt", format_summary(summary))
    files.write_plain_json(root / "metrics.json", nest_scores(summary))
    names = ", ".join(f"{name}.csv" for name in tables)
    say(f"{root}: {names}, summary.txt and metrics.json written")


def format_summary(summary: pd.DataFrame) -> str:
    """Return the main scores, in percent with their standard deviations, as a text table.

    Without test images it is a sentence that says so.
    """
    if summary.empty:
        return NOT_EVALUATED
    table = summary[["variant", "stage", "setting", "rerank", "num_trials"]].copy()
    for name, title in _MAIN_SCORES.items():
        table[title] = _cells(summary, name)
    text = table.to_string(index=False) + "\n"
    if not (scores := _identification_scores(summary)):
        return text
    plain = summary[summary["rerank"] == "none"]
    table = plain[["variant", "stage", "setting", *_QUERIES]].rename(columns=_QUERIES)
    for name in scores:
        table[f"FAR {name.removeprefix(_IDENTIFICATION)}"] = _cells(plain, name)
    return f"{text}\n{_OPEN_SET}\n{table.to_string(index=False)}\n"


def nest_scores(summary: pd.DataFrame) -> dict[str, Any]:
    """Return the main scores, in percent, nested by variant, stage and setting.

    Those of a re-ranking are one level deeper, below its name. With a single trial there are no
    standard deviations.
    """
    tree: dict[str, Any] = {}
    for line in summary.to_dict("records"):
        leaf = tree.setdefault(line["variant"], {}).setdefault(line["stage"], {})
        leaf = leaf.setdefault(line["setting"], {})
        if line["rerank"] != "none":
            leaf = leaf.setdefault(line["rerank"], {})
        for score in [*_MAIN_SCORES, *_identification_scores(summary)]:
            if not pd.isna(line[f"{score}_mean"]):
                leaf[score] = line[f"{score}_mean"]
            if not pd.isna(line[f"{score}_std"]):
                leaf[f"{score}_std"] = line[f"{score}_std"]
    return tree


def _identification_scores(table: pd.DataFrame) -> list[str]:
    """Return the names of the open set's scores in a table; none if it was not evaluated."""
    names = [name for name in map(str, table) if name.startswith(_IDENTIFICATION)]
    return [name.removesuffix("_mean") for name in names if not name.endswith("_std")]


def _cells(summary: pd.DataFrame, score: str) -> list[str]:
    """Return means with their standard deviations as text, empty where there is no mean."""
    return [
        "" if pd.isna(mean) else f"{mean:.1f}" if pd.isna(std) else f"{mean:.1f} ± {std:.1f}"
        for mean, std in zip(summary[f"{score}_mean"], summary[f"{score}_std"], strict=True)
    ]


def _metrics(root: Path, runs: Iterable[Run], trials: Iterable[int], every: int) -> pd.DataFrame:
    """Return one line per variant, round, setting, trial and random gallery, in percent."""
    lines = []
    for run in runs:
        for round_ in run.evaluated(every):
            for trial in trials:
                path = run.folder(root, trial, round_) / "metrics.json"
                metrics = files.read_json(path, Metrics)
                if (metrics["round"], metrics["trial"]) != (round_, trial):
                    raise SalcrError(
                        f"{path}: is of round {metrics['round']} and trial {metrics['trial']}; "
                        f"{files.RERUN_HINT}"
                    )
                for setting, name, galleries in _rankings(metrics):
                    key = {
                        "variant": run.variant,
                        "stage": "salcr" if round_ else "pretrain",
                        "setting": setting,
                        "rerank": name,
                        "round": round_,
                        "trial": trial,
                    }
                    lines += [
                        {**key, "draw": draw, **scores} for draw, scores in enumerate(galleries)
                    ]
    others = [name for name in dict.fromkeys(chain(*lines)) if name not in _COLUMNS]
    kinds = {name: "Int64" if name in _QUERIES else "float64" for name in others}
    return pd.DataFrame(lines, columns=[*_COLUMNS, *others]).astype(kinds)


def _rankings(metrics: dict[str, Any]) -> Iterable[tuple[str, str, list[dict[str, Any]]]]:
    """Yield setting, re-ranking and the columns of scores in each of its galleries."""
    for setting, rankings in metrics["settings"].items():
        for name, galleries in rankings.items():
            columns = [_percent(scores) for scores in galleries]
            if name == "none" and metrics.get("open_set"):
                for scores, open_set in zip(columns, metrics["open_set"][setting], strict=True):
                    scores |= _open_set_percent(open_set)
            yield setting, name, columns


def _percent(scores: dict[str, Any]) -> dict[str, Any]:
    cmc = [100 * share for share in scores["cmc"]]
    ranks = {f"rank{rank}": cmc[min(rank, len(cmc)) - 1] for rank in _RANKS}
    return {**ranks, "map": 100 * scores["map"], "minp": 100 * scores["minp"], "cmc": cmc}


def _open_set_percent(open_set: dict[str, Any]) -> dict[str, Any]:
    columns = {column: open_set[name] for column, name in _QUERIES.items()}
    for one in open_set["rates"]:
        share = one["identification_rate"]
        name = f"{_IDENTIFICATION}{one['false_alarm_rate']}"
        columns[name] = None if share is None else 100 * share
    return columns


def _mean_and_std(lines: pd.DataFrame, scores: list[str]) -> pd.DataFrame:
    """Return mean and sample standard deviation over trials, empty for a single one.

    RegDB's trials are trainings on different splits; for a data set with one split, the trials are
    the random galleries. Where a trial has no score, its means are empty, too.
    """
    groups = lines.groupby(_KEYS, sort=False)
    table = groups.size().rename("num_trials").reset_index()
    for score in scores:
        for statistic in ("mean", "std"):
            values = groups[score].agg(statistic).where(groups[score].count() == groups.size())
            table[f"{score}_{statistic}"] = values.round(4).to_numpy()
    for name in filter(lines.columns.__contains__, _QUERIES):
        table[name] = groups[name].min().array
    return table


def _cmc(final: pd.DataFrame) -> pd.DataFrame:
    long = final.explode("cmc")
    long["rank"] = long.groupby(level=0).cumcount() + 1
    curves = long.astype({"cmc": float}).groupby([*_KEYS, "rank"], sort=False)["cmc"]
    return curves.agg(["mean", "std"]).round(4).reset_index()


def _label_quality(root: Path, runs: Iterable[Run], trials: Iterable[int]) -> pd.DataFrame:
    """Return one line per variant, round, trial and label space; none without stage two."""
    lines: list[dict[str, Any]] = []
    for run in runs:
        qualities = {trial: _rounds_of_trial(root, run, trial) for trial in trials if run.rounds}
        for round_ in range(1, run.rounds + 1):
            for trial, rounds in qualities.items():
                key = {"variant": run.variant, "round": round_, "trial": trial}
                for space, scores in rounds[round_ - 1].items():
                    lines.append({**key, "space": space, **scores})
    return pd.DataFrame(lines, columns=None if lines else ["variant", "round", "trial", "space"])


def _rounds_of_trial(root: Path, run: Run, trial: int) -> list[dict[str, Any]]:
    """Return the label quality of each round of a trial: label space -> scores."""
    path = root / run.variant / trial_name(trial) / "label_quality.json"
    rounds: list[dict[str, Any]] = files.read_json(path, LabelQuality)["rounds"]
    if len(rounds) != run.rounds:
        raise SalcrError(
            f"{path}: is of {len(rounds)} rounds instead of {run.rounds}; {files.RERUN_HINT}"
        )
    return rounds


def _losses(root: Path, runs: Iterable[Run], trials: Iterable[int]) -> pd.DataFrame:
    """Return one line per variant, stage, trial and epoch (pretrain) or round (train)."""
    tables = []
    for run in runs:
        for trial in trials:
            for round_ in range(run.rounds + 1):
                path = run.folder(root, trial, round_) / "losses.csv"
                table = files.read_table(path, table_kinds.ROUND if round_ else table_kinds.EPOCHS)
                stage, step = ("salcr", "round") if round_ else ("pretrain", "epoch")
                table.insert(0, "step", table.pop(step))
                for name, value in (("trial", trial), ("stage", stage), ("variant", run.variant)):
                    table.insert(0, name, value)
                tables.append(table)
    return pd.concat(tables, ignore_index=True)
