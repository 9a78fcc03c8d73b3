"""Which rounds of stage two one job computes: a span of rounds, or a single one.

A run remembers how it was divided: the job of a span leaves a record in the run's folder, and
rounds that were computed one by one have theirs. So another `compute.rounds_per_job` reruns
nothing that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from salcr import files
from salcr.config.plan import Plan
from salcr.config.runs import JOBS, Run, Span, round_name, trial_name
from salcr.config.schema import Config
from salcr.config.stages import STAGES
from salcr.errors import SalcrError


def divide(
    rounds: int, per_job: int, begun: Iterable[Span], is_single: Callable[[int], bool]
) -> list[Span]:
    """Return the spans of rounds 1 to `rounds`, in order.

    Args:
        rounds: of stage two.
        per_job: largest number of rounds of a new span, which ends at a multiple of it.
        begun: spans that jobs have begun; they remain.
        is_single: tells whether a round was computed by jobs of its own, and remains so.
    """
    last_of = {span.first: span.last for span in sorted(begun)}
    spans = []
    first = 1
    while first <= rounds:
        if first in last_of:
            last = last_of[first]
        else:
            last, end = first, min(rounds, -(-first // per_job) * per_job)
            while (
                last < end
                and not any(map(is_single, (first, last + 1)))
                and last + 1 not in last_of
            ):
                last += 1
        spans.append(Span(first, last))
        first = last + 1
    return spans


class SpanRule(NamedTuple):
    """The runs that have a span of rounds in common, for which one rule of the workflow does."""

    span: Span
    variants: Sequence[str]
    trials: Sequence[int]
    evaluated: Sequence[int]
    """The rounds of the span that are evaluated."""
    number: int
    """Distinguishes rules with the same span; 0 for the first."""

    def name(self, stage: str) -> str:
        """Return the name of the rule for a stage, such as rounds_01_10."""
        words = [stage, *(f"{round_:02d}" for round_ in self.span)]
        return "_".join(words + [str(self.number)] * (self.number > 0))

    @property
    def job(self) -> str:
        """Return the name of a job of the rule, with wildcards, as logs and benchmarks have it."""
        first, last = self.span
        return f"{{variant}}-trial{{trial}}-rounds{first:02d}-{last:02d}"

    @property
    def wildcards(self) -> dict[str, str]:
        """Wildcard -> expression that matches the runs, and no others."""
        return {
            "variant": "|".join(self.variants),
            "trial": "|".join(f"{trial:02d}" for trial in self.trials),
        }


def span_rules(plan: Plan, code: Callable[[str], str]) -> list[SpanRule]:
    """Return the rules for spans of more than one round; all other rounds have jobs of their own.

    Args:
        plan: of the workflow.
        code: stage -> hash of its code.
    """
    runs: dict[Span, dict[str, list[int]]] = {}
    for (variant, trial), spans in _planned_spans(plan, code).items():
        for span in spans:
            runs.setdefault(span, {}).setdefault(variant, []).append(trial)
    rules = []
    for span in sorted(runs):
        alike: dict[tuple[tuple[int, ...], tuple[int, ...]], list[str]] = {}
        for variant, trials_of_variant in runs[span].items():
            evaluated = plan.runs[variant].evaluated(plan.evaluate_every)
            within = tuple(r for r in evaluated if span.first <= r <= span.last)
            alike.setdefault((tuple(trials_of_variant), within), []).append(variant)
        for number, ((trials, within), variants) in enumerate(alike.items()):
            rules.append(SpanRule(span, variants, trials, within, number))
    return rules


def rounds_of_spans(plan: Plan, rules: Iterable[SpanRule], *, evaluated: bool) -> set[int]:
    """Return the rounds that spans compute in every run that has them.

    The rules of single rounds need not match these, so that Snakemake does not plan them twice.

    Args:
        plan: of the workflow.
        rules: what `span_rules` returned.
        evaluated: whether the rounds are those that spans evaluate instead of train.
    """
    of_spans = {
        (variant, trial, round_)
        for rule in rules
        for variant in rule.variants
        for trial in rule.trials
        for round_ in (rule.evaluated if evaluated else range(rule.span.first, rule.span.last + 1))
    }
    of_runs = {
        (run.variant, trial, round_)
        for run in plan.runs.values()
        for trial in plan.config.dataset.trials
        for round_ in _rounds(plan, run, evaluated=evaluated)
    }
    alone = {round_ for _, _, round_ in of_runs - of_spans}
    return {round_ for _, _, round_ in of_runs} - alone


def _rounds(plan: Plan, run: Run, *, evaluated: bool) -> Iterable[int]:
    """Return the rounds of a run that are evaluated, or those of stage two."""
    return run.evaluated(plan.evaluate_every) if evaluated else range(1, run.rounds + 1)


def span_logs(plan: Plan, rules: Iterable[SpanRule]) -> dict[Path, Path]:
    """Return checkpoint -> log of the job that writes it, where one job computes several rounds."""
    logs = {}
    for rule in rules:
        for variant in rule.variants:
            for trial in rule.trials:
                name = rule.job.format(variant=variant, trial=f"{trial:02d}")
                for round_ in range(rule.span.first, rule.span.last + 1):
                    path = plan.file(plan.runs[variant], trial, round_, "checkpoint.pt")
                    logs[Path(path)] = plan.results / f"logs/rounds/{name}.log"
    return logs


def _planned_spans(plan: Plan, code: Callable[[str], str]) -> dict[tuple[str, int], list[Span]]:
    """Return variant and trial -> its spans of more than one round.

    Args:
        plan: of the workflow.
        code: stage -> hash of its code.
    """
    per_job = plan.config.compute.rounds_per_job
    spans = {}
    for name, run in plan.runs.items():
        settings = {stage: _settings(plan.variants[name], stage) for stage in ("rounds", "train")}
        for trial in plan.config.dataset.trials:
            folder = plan.results / name / trial_name(trial)
            begun = list(_begun(folder, run.rounds, settings["rounds"], code))
            if per_job == 1 and not begun:
                continue

            is_single = cache(partial(_is_single, folder, settings["train"], code))
            limit = run.rounds if per_job == "all" else per_job
            divided = divide(run.rounds, limit, begun, is_single)
            spans[name, trial] = [span for span in divided if span.last > span.first]
    return spans


def _begun(
    folder: Path, rounds: int, settings: dict[str, Any], code: Callable[[str], str]
) -> Iterator[Span]:
    """Yield the spans of a run that jobs have begun with the present settings and code."""
    for path in sorted((folder / JOBS).glob("rounds*-*.json")):
        if _is_present(path, settings, code("rounds")):
            first, last = map(int, path.stem.removeprefix("rounds").split("-"))
            whole = (folder / round_name(last) / "checkpoint.pt").exists()
            if first <= rounds:
                yield Span(first, last if whole else min(last, rounds))


def _is_single(
    folder: Path, settings: dict[str, Any], code: Callable[[str], str], round_: int
) -> bool:
    """Tell whether a round was trained by a job, with the present settings and code."""
    path = folder / round_name(round_) / JOBS / "train.json"
    return _is_present(path, settings, code("train"))


def _settings(config: Config, stage: str) -> dict[str, Any]:
    return config.model_dump(include={"seed", *STAGES[stage].sections})


def _is_present(path: Path, settings: dict[str, Any], code: str) -> bool:
    """Tell whether a job's json is there, with these settings and code."""
    try:
        job = files.read_json(path)
    except SalcrError:  # it is not there, or damaged: it decides only how to divide
        return False
    return {**job["config"], "seed": job["seed"]} == settings and job["code"] == code
