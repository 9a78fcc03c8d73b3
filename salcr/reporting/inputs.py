"""Which figures there are, and what they and the tables are made from. The workflow's planning.

What shows single networks is of the first trial, and of the first variant where it shows one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from salcr.config.loading import swept
from salcr.config.plan import Plan
from salcr.config.runs import Run, shown

Matches = Mapping[str, Mapping[str, Sequence[str]]]
"""What `paper.matches` returns: table of the paper -> row -> variant and stage."""


class Inputs(NamedTuple):
    """What a figure is made from."""

    files: Sequence[str]
    names: Sequence[str] = ()
    """Of the networks that the files are of, in the same order; for a sweep, VARIANT=VALUE."""


def figure_inputs(plan: Plan, matches: Matches, published: Sequence[str]) -> dict[str, Inputs]:
    """Return figure -> its inputs, for all figures that these runs have results for.

    Args:
        plan: of the workflow.
        matches: see `paper.matches`.
        published: the file of published figures, if they may stand beside these results.
    """
    results, first = plan.results, plan.first
    compared = [plan.runs[name] for name in shown(plan.runs, plan.config.plot.variants)]
    figures = _of_test_images(plan, compared, matches, published) if plan.has_test else {}
    if compared[0].rounds or not plan.variants[compared[0].variant].pretrain.checkpoint:
        figures["losses"] = Inputs([f"{results}/losses.csv"])
    if any(run.rounds for run in compared):
        figures["label_quality"] = Inputs([f"{results}/label_quality.csv"])
    associate = plan.variants[first.variant].associate
    if first.rounds and associate.cmfp and associate.method == "dagl":
        figures["cluster_centers"] = Inputs([_of_last_round(plan, first, "cluster_centers.csv")])
    return figures


def _of_test_images(
    plan: Plan, compared: Sequence[Run], matches: Matches, published: Sequence[str]
) -> dict[str, Inputs]:
    """Return figure -> its inputs, for the figures that show test images or scores of them."""
    return {
        "cmc": Inputs([f"{plan.results}/cmc.csv"]),
        "map": Inputs([f"{plan.results}/trials.csv"]),
        "ranking": _before_and_after(plan, [plan.first], "rankings.json"),
        "tsne": _before_and_after(plan, [plan.first], "tsne.csv"),
        "attention": _before_and_after(plan, [plan.first], "attention.json"),
        "distances": _before_and_after(plan, compared, "distances.json"),
        **_sweeps(plan, matches, published),
    }


def timed_jobs(plan: Plan, matches: Matches) -> list[str]:
    """Return the files with the seconds of re-rankings: the complete method's, of every trial."""
    if (match := matches.get("6", {}).get("none")) is None:
        return []
    run = plan.runs[match[0]]
    trials = plan.config.dataset.trials
    return [plan.last(run, trial, "jobs/evaluate.json") for trial in trials]


def _of_last_round(plan: Plan, run: Run, name: str) -> str:
    return plan.last(run, plan.config.dataset.trials[0], name)


def _before_and_after(plan: Plan, runs: Sequence[Run], name: str) -> Inputs:
    """Return a file of each network before stage two, and of each run's at its end."""
    networks: dict[str, str] = {}
    for run in runs:
        given = plan.variants[run.variant].pretrain.checkpoint
        start = "as given" if given else "stage one"
        if start in networks.values():  # of another variant, with other settings
            start = f"{run.variant}, {start}"
        networks.setdefault(plan.file(run, plan.config.dataset.trials[0], 0, name), start)
    for run in runs:
        networks.setdefault(_of_last_round(plan, run, name), run.variant)
    return Inputs(list(networks), list(networks.values()))


def _sweeps(plan: Plan, matches: Matches, published: Sequence[str]) -> dict[str, Inputs]:
    """Return figure -> its inputs, for the keys of the refinement that variants sweep."""
    figures = {}
    for key in ("weight", "k"):
        values = swept(plan.config, "gpcr", key)
        # A variant without any refinement, whose weight is 0 in effect.
        without = matches.get("fig6", {}).get("lambda=0")
        if key == "weight" and without and 0 not in values.values():
            values[without[0]] = 0.0
        if len(values) > 1:
            names = [f"{variant}={value}" for variant, value in values.items()]
            files = [f"{plan.results}/summary.csv", *published]
            figures[f"refinement_{key}"] = Inputs(files, names)
    return figures
