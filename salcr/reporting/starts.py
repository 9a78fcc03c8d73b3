"""The finished starts of a study: a csv that is kept in Git, and continued on any machine.

A start is a seed and a trial, the same for every variant, so that differences are paired.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from salcr import files
from salcr.atomic import locked
from salcr.config.json_kinds import Start
from salcr.config.plan import Plan
from salcr.config.stages import STAGES
from salcr.config.synthetic import SYNTHETIC_WEIGHTS
from salcr.errors import SalcrError
from salcr.log import warn
from salcr.provenance import COMMIT_DIGITS

ROW = "study_row.json"  # of a start, in the folder of its variant and trial
START = ["seed", "trial"]
_KEY = ["variant", *START, "setting", "config", "code", "data"]
_SCORES = ["rank1", "map", "minp"]
COLUMNS = [
    "variant", *START, "setting", *_SCORES, "rounds", "config", "code", "data", "commit", "clean",
    "device", "torch", "seconds",
]  # fmt: skip
_NUMBERS = {**dict.fromkeys([*START, "rounds"], int), **dict.fromkeys([*_SCORES, "seconds"], float)}
_REMEDY = "restore it with Git, or delete it to run its starts again"
_DIGITS = 8  # of a digest: enough to distinguish the versions of one study
_STAGES = [["synthesize", "preprocess", "pretrain", "evaluate"], ["associate", "train"]]
# Re-rankings are not in the rows, and more trials leave those that there are as they are.
_NOT_COUNTED: dict[str, Any] = {"evaluate": True, "synthesize": {"num_trials"}}
_TRAINING = ("pretrain", "associate", "train")

Row = dict[str, Any]


class Origin(NamedTuple):
    """What a result follows from, beside seed and trial."""

    config: str
    """A digest of the settings that it depends on; names and compute are not among them."""
    code: str
    """A digest of the code of stage one; with stage two, `+` and a digest of its code."""


def origins(plan: Plan, code: Callable[[str], str]) -> dict[str, Origin]:
    """Return variant -> where its results come from now, in the order of `study.compare`.

    Those that it does not name come first.

    Args:
        plan: of the workflow.
        code: stage -> hash of its code.
    """
    dataset, compared = plan.config.dataset, list(plan.config.study.compare)
    found = {}
    for name in [*(one for one in plan.variants if one not in compared), *compared]:
        settings = plan.variants[name]
        parts = _STAGES[: 2 if settings.rounds else 1]
        used = [[one for one in part if one != "synthesize" or dataset.synthetic] for part in parts]
        sections = {section for part in used for one in part for section in STAGES[one].sections}
        values = settings.model_dump(include={"rounds", *sections}, exclude=_NOT_COUNTED)
        values["dataset"] = dataset.model_dump(include={"layout", "synthetic"})
        values["start"] = _start_file(plan, name)
        config = _digest(json.dumps(values, sort_keys=True))
        found[name] = Origin(config, "+".join(_digest(" ".join(map(code, part))) for part in used))
    return found


def _start_file(plan: Plan, variant: str) -> str | None:
    """Return the hash of the file that a variant starts from, unless it is downloaded."""
    weights = plan.variants[variant].model.weights
    if weights == "synthetic":
        return files.sha256(SYNTHETIC_WEIGHTS)
    path = plan.initial_weights(variant)
    if path is None or weights == "imagenet" or not Path(path).exists():
        return None
    return files.sha256(Path(path))


def comparable(code: str, other: str) -> bool:
    """Tell whether two results were made by the same code, as far as both have run it."""
    pairs = zip(code.split("+"), other.split("+"), strict=False)
    return all(mine == theirs for mine, theirs in pairs)


def rows_of(
    variant: str,
    origin: Origin,
    metrics: Mapping[str, Any],
    jobs: Sequence[Mapping[str, Any]],
    data_hash: str,
) -> list[Row]:
    """Return the rows of a finished start, one of each setting; scores in percent.

    Args:
        variant: its name.
        origin: the settings and code that made it.
        metrics: of the last round; a setting's galleries are averaged.
        jobs: what is known about each job, as their json has it.
        data_hash: of the stored data set.

    Raises:
        SalcrError: no job has a seed.
    """

    def distinct(values: Iterable[Any]) -> str:
        return "; ".join(dict.fromkeys(str(value) for value in values if value is not None))

    clean = [job["clean"] for job in jobs]
    facts = {
        "rounds": metrics["round"],
        **origin._asdict(),
        "data": data_hash[:_DIGITS],
        "commit": distinct((job["commit"] or "")[:COMMIT_DIGITS] or None for job in jobs),
        "clean": "" if None in clean else str(all(clean)),
        "device": distinct(job.get("device") for job in jobs),
        "torch": distinct(job["versions"]["torch"] for job in jobs),
        "seconds": round(sum(job["seconds"] for job in jobs if job["stage"] in _TRAINING), 1),
    }
    seeds = [job["seed"] for job in jobs if job["seed"] is not None]
    if not seeds:
        raise SalcrError("--jobs: none has a seed; give the records of pretrain and train too")
    start = {"variant": variant, "seed": seeds[0], "trial": metrics["trial"]}
    return [
        {**start, "setting": setting, **_percent(rankings["none"]), **facts}
        for setting, rankings in metrics["settings"].items()
    ]


def read_rows(path: Path) -> pd.DataFrame:
    """Return the rows of a study; none where the file is not there or is empty.

    Raises:
        SalcrError: the file is damaged.
    """
    if not path.exists() or path.stat().st_size == 0:
        return pd.DataFrame(columns=COLUMNS)

    def content() -> pd.DataFrame:
        # As text: a digest may be all digits, and a variant may be called `none`.
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if list(table.columns) != COLUMNS:
            raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
        table = table.astype(_NUMBERS)
        if not ((table[_SCORES] >= 0) & (table[_SCORES] <= 100)).all(axis=None):
            raise ValueError("a score is not a percentage")
        if not table["seconds"].between(0, math.inf, inclusive="left").all():
            raise ValueError("a number of seconds is not one")
        if (table[_KEY] == "").any(axis=None) or table.duplicated(_KEY).any():
            raise ValueError("two rows are of one start, or one is of none")
        return table

    return files.read(path, content, f"is not the table of a study's starts; {_REMEDY}")


def merge_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add rows to the file, instead of those of the same start, settings, and code.

    Jobs that do so at the same time wait for each other, so that no row is lost.

    Raises:
        SalcrError: the file is damaged or cannot be written.
    """
    if not rows:
        return
    with locked(path):
        both = pd.DataFrame([*read_rows(path).to_dict("records"), *rows], columns=COLUMNS)
        # Sorted by the start alone: its settings keep the order of the protocol.
        table = both.drop_duplicates(_KEY, keep="last").sort_values(
            ["variant", *START, "config", "code"], kind="stable"
        )
        files.write_table(path, table)


def needed_starts(
    plan: Plan, rows: pd.DataFrame, now: Mapping[str, Origin], settings: Collection[str]
) -> dict[str, tuple[Any, ...]]:
    """Return file -> start, of the starts that a study still needs and of those finished here.

    Args:
        plan: of the workflow.
        rows: of the finished starts, whatever machine they ran on.
        now: variant -> its present settings and code.
        settings: names of the evaluation settings, each of which a finished start has.

    Raises:
        SalcrError: the file of a start is damaged.
    """
    trials, counts = plan.config.dataset.trials, plan.config.study.starts
    if more := [f"{name}: {count}" for name, count in counts.items() if count > len(trials)]:
        warn(f"study.starts: more than the {len(trials)} of dataset.trials ({', '.join(more)})")
    found = defaultdict(set)
    for start, setting in zip(_starts(rows), rows["setting"], strict=True):
        found[start].add(setting)
    done = {start for start, names in found.items() if names >= set(settings)}
    needed = {}
    for name, trial in plan.study_starts():
        path = plan.trial_file(name, trial, ROW)
        start = (name, plan.variants[name].seed, trial, *now[name])
        if start not in done or _is_of(Path(path), now[name]):
            needed[path] = start
    return needed


def rows_to_show(
    rows: pd.DataFrame, needed: Mapping[str, tuple[Any, ...]], now: Mapping[str, Origin]
) -> str:
    """Return a digest that changes where the table must be written though no start is run.

    It is of the rows that other machines added, and of the starts finished here whose rows the
    csv has lost. The rows that a run itself adds do not change it.
    """
    starts = _starts(rows)
    others = rows[pd.Series([one not in needed.values() for one in starts], rows.index, dtype=bool)]
    done = set(starts)
    lost = [
        path
        for path, start in needed.items()
        if start not in done and _is_of(Path(path), now[start[0]])
    ]
    return _digest("\n".join([others.to_csv(index=False), *lost]))


def _starts(rows: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Return the start of each row, with its settings and code."""
    return list(rows[["variant", *START, "config", "code"]].itertuples(index=False, name=None))


def _is_of(path: Path, origin: Origin) -> bool:
    """Tell whether the file of a start is there and of these settings and this code.

    Naming it again keeps it from being missed as an input, and restores its rows.
    """
    if not path.exists():
        return False
    return all(Origin(row["config"], row["code"]) == origin for row in read_start(path))


def read_start(path: Path) -> list[Row]:
    """Return the rows in the file of a start.

    Raises:
        SalcrError: it is missing or damaged.
    """
    return list(files.read_json(path, Start)["rows"])


def write_start(path: Path, rows: Sequence[Row]) -> None:
    """Write the file of a start."""
    files.write_json(path, {"rows": list(rows)})


def _percent(galleries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    scores = {"rank1": [one["cmc"][0] for one in galleries]}
    scores |= {name: [one[name] for one in galleries] for name in ("map", "minp")}
    return {name: round(100 * sum(values) / len(values), 4) for name, values in scores.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
