"""One HTML page of a data set's results, which opens without a network.

Reads what other stages wrote for people, so that it can be made anew at any time.
"""

from __future__ import annotations

import argparse
import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from salcr import files
from salcr.config.runs import trial_name
from salcr.config.schema import Config
from salcr.config.stages import STAGES
from salcr.data import store
from salcr.log import say
from salcr.reporting import page, tables
from salcr.reporting.captions import CAPTIONS

_STYLE = """body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
nav { border-block: 1px solid #ddd; padding: .5rem 0; }
nav a { margin-right: 1.2em; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px; display: block;
  overflow-x: auto; }
th, td { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #222; }
.facts td { text-align: left; white-space: normal; }
figure { margin: 2rem 0; break-inside: avoid; }
figure img { max-width: 100%; }
figcaption, .note { color: #444; font-size: 14px; }
summary { cursor: pointer; margin: .5rem 0; font-weight: 600; }
pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; font-size: 13px; }
.wide th, .wide td { padding: .25em .4em; white-space: normal; }
@media print { nav { display: none; } body { font-size: 11px; margin: 0; max-width: none; }
  table { display: table; font-size: 9px; } th, td { padding: .15em .35em; white-space: normal; }
  h2, h3, summary { break-after: avoid; } tr { break-inside: avoid; }
  figure { margin: 1rem 0; } figure img { max-height: 20cm; } }
"""
_ABOUT = (
    "Unsupervised visible-infrared person re-identification by semantic-aligned learning with "
    "collaborative refinement (SALCR, IJCV 2025, doi 10.1007/s11263-025-02461-z). Training sees no "
    "identity label."
)
_DRAWN = "These are drawn people, not a published data set."
_SCORES = {
    "rank1": "rank-1",
    "rank10": "rank-10",
    "rank20": "rank-20",
    "map": "mAP",
    "minp": "mINP",
}
_STAGES = {"pretrain": "after stage one", "salcr": "at the end"}
_COMMIT = 12  # of the forty digits of a commit; provenance.csv has all
_PER_GB = 1024  # Snakemake measures memory in MB


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument("--summary", type=Path, required=True, help="csv that aggregate wrote")
    parser.add_argument("--provenance", type=Path, required=True, help="csv that provenance wrote")
    parser.add_argument("--trials", type=Path, nargs="+", required=True, help="provenance.json")
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="png pictures")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="csv, md beside each")
    parser.add_argument(
        "--times", type=Path, required=True, help="folder of Snakemake's benchmarks"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that preprocess wrote")
    parser.add_argument("--drawn", action="store_true", help="drawn people, not a data set")
    parser.add_argument("--page", type=Path, required=True, help="html to write")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the page: what was run on what, results, figures, tables, provenance, times."""
    trials = [files.read_foreign_json(path) for path in arguments.trials]
    provenance = files.read_table(arguments.provenance)
    images = files.read_json(arguments.data / store.SUMMARY)["shapes"]
    given = {trial["variant"]: trial["config"]["pretrain"]["checkpoint"] for trial in trials}
    sections = {
        "Results": _results(files.read_table(arguments.summary), given),
        "Figures": "".join(_figures(arguments.figures)),
        "Tables": "".join(_tables(arguments.tables)),
        "Provenance": _provenance(provenance, trials),
        "Times": _times(arguments.times, trials),
    }
    title = f"SALCR on {trials[0]['dataset']}"
    body = _front(title, _facts(trials, provenance, images), drawn=arguments.drawn)
    links = "".join(f'<a href="#{name}">{name}</a>' for name in sections)
    body += f"<nav>{links}</nav>\n"
    for name, text in sections.items():
        body += f'<section id="{name}">\n<h2>{name}</h2>\n{text}</section>\n'
    files.write_text(arguments.page, page.document(title, _STYLE, body))
    say(f"{arguments.page} written")


def _front(title: str, facts: Mapping[str, str], *, drawn: bool) -> str:
    """Return what was run on what."""
    warning = f"<p><strong>{_DRAWN}</strong></p>\n" if drawn else ""
    rows = "".join(
        f"<tr><td>{name}</td><td>{html.escape(fact)}</td></tr>\n" for name, fact in facts.items()
    )
    return (
        f'<h1>{html.escape(title)}</h1>\n<p class="note">{_ABOUT}</p>\n{warning}'
        f'<table class="facts">\n{rows}</table>\n'
    )


def _facts(
    trials: Sequence[dict[str, Any]], provenance: pd.DataFrame, images: Mapping[str, list[int]]
) -> dict[str, str]:
    """Return what was run, in words: name -> fact."""
    config = trials[0]["config"]
    model, size = config["model"], config["preprocess"]
    jobs = [job for trial in trials for job in trial["jobs"]]
    return {
        "images": ", ".join(f"{shape[0]} {modality}" for modality, shape in images.items()),
        "variants": _all(trial["variant"] for trial in trials),
        "trials": _all(trial["trial"] for trial in trials),
        "seed": _all(trial["seed"] for trial in trials),
        "stage one": _all(_start(trial["config"]["pretrain"]["checkpoint"]) for trial in trials),
        "rounds of stage two": _all(trial["rounds"] for trial in trials),
        "network": f"{model['backbone']}, width {model['width']}, first weights: "
        f"{model['weights']}; images of {size['height']} × {size['width']}",
        "computed on": _all([*provenance["device"], *provenance["machine"]]),
        "code": _all(map(_code, jobs)),
        "finished": provenance["finished"].max(),
    }


def _start(given: str | None) -> str:
    return f"not trained here: {given}" if given else "trained here"


def _code(job: Mapping[str, Any]) -> str:
    """Return the commit that a job ran, and whether its code was that of the commit."""
    if job["commit"] is None:
        return "of no known commit"
    edited = {True: ", as committed", False: ", edited since"}.get(job["clean"], "")
    return f"{job['commit'][:_COMMIT]}{edited}"


def _all(values: Any) -> str:
    """Return the distinct values, in their order."""
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _results(summary: pd.DataFrame, given: Mapping[str, str | None]) -> str:
    """Return the main scores, a table for each direction or kind of search.

    Args:
        summary: that `aggregate` wrote.
        given: variant -> the checkpoint that took the place of its stage one, if one did.
    """
    parts = ['<p class="note">Percent; mean ± standard deviation over trials or galleries.</p>\n']
    for setting, lines in summary.groupby("setting", sort=False):
        rows = [
            [_row_name(line, given), *(_with_deviation(line, score) for score in _SCORES)]
            for line in lines.to_dict("records")
        ]
        parts.append(f"<h3>{html.escape(str(setting).replace('-', ' '))}</h3>\n")
        parts.append(page.table(["", *_SCORES.values()], rows))
    return "".join(parts)


def _row_name(line: Mapping[Any, Any], given: Mapping[str, str | None]) -> str:
    as_given = line["stage"] == "pretrain" and given.get(line["variant"])
    name = f"{line['variant']}, {'as given' if as_given else _STAGES[line['stage']]}"
    return name if line["rerank"] == "none" else f"{name}, {line['rerank']}"


def _with_deviation(line: Mapping[Any, Any], score: str) -> str:
    mean, deviation = line[f"{score}_mean"], line[f"{score}_std"]
    return f"{mean:.2f}" if pd.isna(deviation) else f"{mean:.2f} ± {deviation:.2f}"


def _figures(paths: Sequence[Path]) -> Iterator[str]:
    """Yield each picture, part of the page, with its caption."""
    by_name = {path.stem: path for path in paths}
    for name, caption in CAPTIONS.items():
        if name in by_name:
            picture = page.data_uri(files.read_bytes(by_name[name]), "png")
            number = f" (the paper's Figure {caption.in_paper})" if caption.in_paper else ""
            yield (
                f'<figure id="{name}"><img src="{picture}" alt="{caption.title}">\n<figcaption>'
                f"<b>{caption.title}</b>{number}. {caption.text}</figcaption></figure>\n"
            )


def _tables(paths: Sequence[Path]) -> Iterator[str]:
    """Yield the paper's tables, those open in which anything was run."""
    import markdown

    for path in paths:
        was_run = (files.read_table(path)["status"] != tables.NOT_RUN).any()
        heading, _, text = files.read_text(path.with_suffix(".md")).partition("\n")
        content = markdown.markdown(html.escape(text, quote=False), extensions=["tables"])
        yield (
            f"<details{' open' * bool(was_run)}><summary>{html.escape(heading.strip('# '))}"
            f"{'' if was_run else ' (not run)'}</summary>\n{content}</details>\n"
        )


def _provenance(table: pd.DataFrame, trials: Sequence[dict[str, Any]]) -> str:
    """Return what made each trial, the first one's configuration, and how variants differ."""
    known = table.astype(object).where(table.notna(), "unknown")
    known["commit"] = [
        "; ".join(one[:_COMMIT] for one in str(commits).split("; ")) for commits in known["commit"]
    ]
    rows = [[str(value) for value in row] for row in known.to_numpy()]
    first = trials[0]
    versions = first["jobs"][-1]["versions"].items()
    text = f'<div class="wide">{page.table(list(table.columns), rows)}</div>\n'
    text += f"<p>{', '.join(' '.join(version) for version in versions)}</p>\n"
    differ = {trial["variant"]: _differences(trial, first) for trial in trials}
    rows = [[name, keys] for name, keys in differ.items() if keys]
    if rows:
        text += page.table(["variant", f"differs from {first['variant']} in"], rows)
    config = html.escape(yaml.safe_dump(first["config"], sort_keys=False))
    return text + (
        f"<details><summary>Configuration of {html.escape(first['variant'])}</summary>\n"
        f"<pre>{config}</pre></details>\n"
    )


def _differences(trial: dict[str, Any], first: dict[str, Any]) -> str:
    """Return the keys in which a trial ran with other values, where both ran such jobs."""
    other = {"rounds": {"": first["rounds"]}, **first["config"]}
    config = {"rounds": {"": trial["rounds"]}, **trial["config"]}
    return "; ".join(
        f"{section}.{key}: {value}".replace(".:", ":")
        for section, values in config.items()
        for key, value in values.items()
        if section in other and other[section][key] != value
    )


def _times(folder: Path, trials: Sequence[dict[str, Any]]) -> str:
    """Return seconds and memory of each stage's jobs, as Snakemake measured them."""
    last = {f"{one['variant']}-{trial_name(one['trial'])}": one["rounds"] for one in trials}
    jobs: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        stage = path.relative_to(folder).parts[0].removesuffix(".tsv")
        run_of, _, round_ = path.stem.partition("-round")
        # Others are of an earlier configuration, or of an earlier version.
        of_run = int(round_ or 0) <= last.get(run_of, -1) if "-trial" in run_of else True
        if of_run and stage in STAGES:
            jobs.setdefault(stage, []).append(path)
    rows = []
    for stage, paths in jobs.items():
        found = pd.concat([files.read_table(path, separator="\t") for path in paths])
        memory = pd.to_numeric(found["max_rss"], errors="coerce").max()
        seconds = found["s"]
        peak = "unknown" if pd.isna(memory) else f"{memory / _PER_GB:.2f}"
        rows.append(
            [stage, f"{len(found)}", f"{seconds.median():.1f}", f"{seconds.sum():.0f}", peak]
        )
    note = '<p class="note">Other jobs may have run beside.</p>\n'
    return note + page.table(["stage", "jobs", "median s", "all s", "peak memory, GB"], rows)
