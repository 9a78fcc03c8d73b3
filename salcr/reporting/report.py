"""The values of a data set's report, gathered for its template."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from markupsafe import Markup

from salcr.config.runs import trial_name
from salcr.config.stages import STAGES
from salcr.provenance import COMMIT_DIGITS
from salcr.reporting import page, tables
from salcr.reporting.captions import CAPTIONS
from salcr.reporting.label_statistics import label_statistics

_SCORES = {
    "rank1": "rank-1",
    "rank10": "rank-10",
    "rank20": "rank-20",
    "map": "mAP",
    "minp": "mINP",
}
_OPEN_SET = {"dir_far0.1": "FAR 0.1", "dir_far0.01": "FAR 0.01", "dir_far0.001": "FAR 0.001"}
_STAGE_TITLES = {"pretrain": "after stage one", "salcr": "at the end"}
_PER_GB = 1024  # Snakemake measures memory in MB

Trial = Mapping[str, Any]


def benchmarks_by_stage(folder: Path, trials: Sequence[Trial]) -> dict[str, list[Path]]:
    """Return stage -> the benchmarks of its jobs, as Snakemake wrote them into a folder.

    Those of an earlier configuration, such as rounds that are no longer run, are left out.
    """
    last = {f"{one['variant']}-{trial_name(one['trial'])}": one["rounds"] for one in trials}
    jobs: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        stage = path.relative_to(folder).parts[0].removesuffix(".tsv")
        run, _, round_ = path.stem.partition("-round")
        number = int(round_) if round_.isdecimal() else 0
        is_current = "-trial" not in run or number <= last.get(run, -1)
        if is_current and stage in STAGES:
            jobs.setdefault(stage, []).append(path)
    return jobs


def render_report(
    trials: Sequence[Trial],
    *,
    summary: pd.DataFrame,
    provenance: pd.DataFrame,
    shapes: Mapping[str, Sequence[int]],
    unlabeled: Mapping[str, int],
    figures: Mapping[str, bytes],
    paper_tables: Iterable[tuple[pd.DataFrame, str]],
    study: str | None,
    benchmarks: Mapping[str, pd.DataFrame],
    synthetic: bool,
) -> str:
    """Return the page: what was run on what, results, figures, tables, provenance, times.

    Args:
        trials: what made each trial of each variant, in the order of the variants.
        summary: the table of scores that `aggregate` wrote.
        provenance: the table that `provenance` wrote, a line per trial.
        shapes: modality -> [N, H, W, 3] of the stored images.
        unlabeled: modality -> training images of unknown identity; empty if all are known.
        figures: name -> content of a png.
        paper_tables: each as numbers and as Markdown.
        study: the table of a study, as Markdown, if there is one.
        benchmarks: stage -> what Snakemake measured, a line per job.
        synthetic: are the images of synthetic people?
    """
    checkpoints = {one["variant"]: one["config"]["pretrain"]["checkpoint"] for one in trials}
    return page.render_page(
        "reporting/report.html.j2",
        title=f"SALCR on {trials[0]['dataset']}",
        synthetic=synthetic,
        facts=_facts(trials, provenance, shapes, unlabeled),
        score_names=list(_SCORES.values()),
        results=_results(summary, checkpoints),
        open_set_names=["present", "absent", *_OPEN_SET.values()],
        open_set=_open_set(summary, checkpoints),
        labels=label_statistics(trials),
        figures=[
            {"name": name, "caption": caption, "uri": page.data_uri(figures[name], "png")}
            for name, caption in CAPTIONS.items()
            if name in figures
        ],
        tables=[_paper_table(numbers, text) for numbers, text in paper_tables],
        study=_as_html(study) if study else None,
        provenance=_provenance(provenance, trials),
        times=_times(benchmarks),
    )


def _facts(
    trials: Sequence[Trial],
    provenance: pd.DataFrame,
    shapes: Mapping[str, Sequence[int]],
    unlabeled: Mapping[str, int],
) -> dict[str, str]:
    """Return what was run, in words: name -> fact."""
    config = trials[0]["config"]
    model, size = config["model"], config["preprocess"]
    jobs = [job for trial in trials for job in trial["jobs"]]
    counted = ", ".join(f"{number} {modality}" for modality, number in unlabeled.items())
    unknown = f"unknown for {counted} training images, which label quality leaves out"
    return {
        "images": ", ".join(f"{shape[0]} {modality}" for modality, shape in shapes.items()),
        **({"identities": unknown} if unlabeled else {}),
        "variants": _distinct(trial["variant"] for trial in trials),
        "trials": _distinct(trial["trial"] for trial in trials),
        "seed": _distinct(trial["seed"] for trial in trials),
        "stage one": _distinct(
            _origin(trial["config"]["pretrain"]["checkpoint"]) for trial in trials
        ),
        "rounds of stage two": _distinct(trial["rounds"] for trial in trials),
        "network": f"{model['backbone']}, width {model['width']}, initial weights: "
        f"{model['weights']}; images of {size['height']} × {size['width']}",
        "computed on": _distinct([*provenance["device"], *provenance["machine"]]),
        "code": _distinct(map(_code, jobs)),
        "finished": provenance["finished"].max(),
    }


def _origin(checkpoint: str | None) -> str:
    return f"not trained here: {checkpoint}" if checkpoint else "trained here"


def _code(job: Mapping[str, Any]) -> str:
    """Return the commit that a job ran, and whether its code was that of the commit."""
    if job["commit"] is None:
        return "unknown commit"
    edited = {True: ", as committed", False: ", edited since"}.get(job["clean"], "")
    return f"{job['commit'][:COMMIT_DIGITS]}{edited}"


def _distinct(values: Iterable[Any]) -> str:
    """Return the distinct values, in their order."""
    return ", ".join(dict.fromkeys(map(str, values)))


def _results(
    summary: pd.DataFrame, checkpoints: Mapping[str, str | None]
) -> dict[str, list[list[str]]]:
    """Return the rows of scores of each direction or kind of search.

    Args:
        summary: the table that `aggregate` wrote.
        checkpoints: variant -> the checkpoint that replaced its stage one, if one did.
    """
    return {
        str(setting).replace("-", " "): [
            [_row_name(line, checkpoints), *(_with_deviation(line, score) for score in _SCORES)]
            for line in lines.to_dict("records")
        ]
        for setting, lines in summary.groupby("setting", sort=False)
    }


def _open_set(
    summary: pd.DataFrame, checkpoints: Mapping[str, str | None]
) -> dict[str, list[list[str]]]:
    """Return the open set's rows of each direction or kind of search, if it was evaluated."""
    if "num_absent" not in summary:
        return {}
    return {
        str(setting).replace("-", " "): [
            [
                _row_name(line, checkpoints),
                *(f"{line[side]:.0f}" for side in ("num_present", "num_absent")),
                *(_with_deviation(line, score) for score in _OPEN_SET),
            ]
            for line in lines.to_dict("records")
        ]
        for setting, lines in summary.dropna(subset="num_absent").groupby("setting", sort=False)
    }


def _row_name(line: Mapping[Any, Any], checkpoints: Mapping[str, str | None]) -> str:
    as_given = line["stage"] == "pretrain" and checkpoints.get(line["variant"])
    name = f"{line['variant']}, {'as given' if as_given else _STAGE_TITLES[line['stage']]}"
    return name if line["rerank"] == "none" else f"{name}, {line['rerank']}"


def _with_deviation(line: Mapping[Any, Any], score: str) -> str:
    mean, deviation = line[f"{score}_mean"], line[f"{score}_std"]
    if pd.isna(mean):
        return ""
    return f"{mean:.2f}" if pd.isna(deviation) else f"{mean:.2f} ± {deviation:.2f}"


def _paper_table(numbers: pd.DataFrame, text: str) -> dict[str, Any]:
    """Return a table of the paper: its heading, whether anything of it was run, its content."""
    heading, _, rest = text.partition("\n")
    was_run = bool((numbers["status"] != tables.NOT_RUN).any())
    return {"heading": heading.strip("# "), "was_run": was_run, "content": _as_html(rest)}


def _as_html(text: str) -> Markup:
    import markdown

    return Markup(markdown.markdown(html.escape(text, quote=False), extensions=["tables"]))


def _provenance(table: pd.DataFrame, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return what made each trial, the first one's configuration, and how variants differ."""
    known = table.astype(object).where(table.notna(), "unknown")
    known["commit"] = [
        "; ".join(commit[:COMMIT_DIGITS] for commit in str(commits).split("; "))
        for commits in known["commit"]
    ]
    first = trials[0]
    differences = {trial["variant"]: _differences(trial, first) for trial in trials}
    return {
        "titles": list(known),
        "rows": known.to_numpy(),
        "versions": ", ".join(map(" ".join, first["jobs"][-1]["versions"].items())),
        "differences": [(name, keys) for name, keys in differences.items() if keys],
        "variant": first["variant"],
        "config": yaml.safe_dump(first["config"], sort_keys=False),
    }


def _differences(trial: Trial, first: Trial) -> str:
    """Return the keys in which a trial ran with other values, where both ran such jobs."""
    other = {"rounds": {"": first["rounds"]}, **first["config"]}
    config = {"rounds": {"": trial["rounds"]}, **trial["config"]}
    return "; ".join(
        f"{section}.{key}: {value}".replace(".:", ":")
        for section, values in config.items()
        for key, value in values.items()
        if section in other and other[section].get(key) != value
    )


def _times(benchmarks: Mapping[str, pd.DataFrame]) -> list[list[str]]:
    """Return seconds and memory of each stage's jobs."""
    rows = []
    for stage, jobs in benchmarks.items():
        peak = pd.to_numeric(jobs["max_rss"], errors="coerce").max() / _PER_GB
        memory = "unknown" if pd.isna(peak) else f"{peak:.2f}"
        seconds = jobs["s"]
        rows.append(
            [stage, f"{len(jobs)}", f"{seconds.median():.1f}", f"{seconds.sum():.0f}", memory]
        )
    return rows
