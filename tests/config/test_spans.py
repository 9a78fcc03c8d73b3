"""How the rounds of stage two are divided into jobs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salcr import files
from salcr.config.loading import DEFAULT_CONFIG, merge
from salcr.config.plan import Plan
from salcr.config.runs import Span, span_file
from salcr.config.spans import divide, rounds_of_spans, span_logs, span_rules
from salcr.config.stages import STAGES
from salcr.files import read_yaml
from tests.support.tiny import TINY_CONFIG


def make_plan(**overlay: object) -> Plan:
    """Return the plan of the tiny workflow with some values changed."""
    values = merge(read_yaml(DEFAULT_CONFIG), read_yaml(TINY_CONFIG))
    return Plan.from_values(merge(values, overlay))


def code(stage: str) -> str:
    """Return a hash of a stage's code that never changes."""
    return f"code of {stage}"


def record(plan: Plan, path: Path, stage: str, *, code_hash: str | None = None) -> None:
    """Write the json of a job of the stage, with the plan's settings."""
    settings = plan.config.model_dump(include={"seed", *STAGES[stage].sections})
    seed = settings.pop("seed")
    job = {"stage": stage, "seed": seed, "config": settings, "code": code_hash or code(stage)}
    files.write_json(path, job)


@given(
    rounds=st.integers(1, 45),
    per_job=st.integers(1, 50),
    singles=st.sets(st.integers(1, 45), max_size=5),
)
def test_spans_are_the_rounds_in_order(rounds: int, per_job: int, singles: set[int]) -> None:
    """They hold every round once, singles alone, and end at a multiple, a single or the last."""
    spans = divide(rounds, per_job, [], singles.__contains__)
    held = [round_ for span in spans for round_ in range(span.first, span.last + 1)]
    assert held == list(range(1, rounds + 1))
    for span in spans:
        assert span.last - span.first < per_job
        assert (
            span.last % per_job == 0
            or span.last == rounds
            or {*singles}
            & {
                span.first,
                span.last + 1,
            }
        )
        assert not singles & set(range(span.first, span.last + 1)) or span.first == span.last


def test_a_span_that_was_begun_remains() -> None:
    """Whatever the number is now, its rounds stay together, and others are divided around it."""
    assert divide(12, 1, [Span(3, 6)], lambda round_: False)[:4] == [
        (1, 1), (2, 2), (3, 6), (7, 7)
    ]  # fmt: skip
    assert divide(12, 5, [Span(3, 6)], lambda round_: False) == [(1, 2), (3, 6), (7, 10), (11, 12)]


def test_one_round_a_job_makes_no_rules() -> None:
    """By default, every round has jobs of its own."""
    assert span_rules(make_plan(rounds=40), code) == []


def test_rules_of_a_plan() -> None:
    """Variants that are divided alike share rules; a last single round has none."""
    plan = make_plan(
        rounds=7, evaluate_every=2, compute={"rounds_per_job": 3}, variants={"short": {"rounds": 2}}
    )
    rules = [
        (rule.name("rounds"), rule.wildcards["variant"], rule.evaluated)
        for rule in span_rules(plan, code)
    ]
    assert rules == [
        ("rounds_01_02", "short", (2,)),
        ("rounds_01_03", "salcr|dagl", (2,)),
        ("rounds_04_06", "salcr|dagl", (4, 6)),
    ]


def test_another_number_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds that were computed with the present settings and code remain divided as they are."""
    monkeypatch.chdir(tmp_path)
    plan = make_plan(rounds=6, compute={"rounds_per_job": "all"})
    folder = plan.results / "salcr" / "trial01"
    record(plan, folder / "round01/jobs/train.json", "train")
    record(plan, plan.results / "salcr/trial02/round01/jobs/train.json", "train", code_hash="old")
    record(plan, span_file(folder, Span(2, 3)), "rounds")
    record(plan, span_file(folder, Span(4, 5)), "rounds", code_hash="old")
    spans = {
        (rule.span, variant, trial)
        for rule in span_rules(plan, code)
        for variant in rule.variants
        for trial in rule.trials
    }
    assert spans == {
        ((2, 3), "salcr", 1), ((4, 6), "salcr", 1), ((1, 6), "salcr", 2),
        ((1, 6), "dagl", 1), ((1, 6), "dagl", 2),
    }  # fmt: skip


def test_a_span_beyond_the_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer rounds, a whole span remains, and one that was stopped is cut."""
    monkeypatch.chdir(tmp_path)
    plan = make_plan(rounds=3, compute={"rounds_per_job": 2})
    whole, stopped = (plan.results / "salcr" / f"trial0{trial}" for trial in (1, 2))
    for folder in (whole, stopped):
        record(plan, span_file(folder, Span(1, 5)), "rounds")
    (whole / "round05").mkdir()
    (whole / "round05/checkpoint.pt").touch()
    spans = {
        (rule.span, *rule.trials) for rule in span_rules(plan, code) if "salcr" in rule.variants
    }
    assert spans == {((1, 5), 1), ((1, 3), 2)}


def test_a_damaged_record_divides_as_if_it_were_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It decides only how rounds are divided that are computed again at worst."""
    monkeypatch.chdir(tmp_path)
    plan = make_plan(rounds=4, compute={"rounds_per_job": 2})
    path = span_file(plan.results / "salcr" / "trial01", Span(1, 4))
    record(plan, path, "rounds")
    path.write_text(path.read_text()[:-30])
    assert {rule.span for rule in span_rules(plan, code)} == {(1, 2), (3, 4)}


def test_the_log_of_a_checkpoint_is_that_of_its_span() -> None:
    """Rounds 1 to 3 of four have one log; the last, alone, has none here."""
    plan = make_plan(rounds=4, compute={"rounds_per_job": 3}, dataset={"trials": [2]})
    logs = span_logs(plan, span_rules(plan, code))
    assert {(str(path), str(log)) for path, log in logs.items()} == {
        (
            f"results/tiny/{variant}/trial02/round0{round_}/checkpoint.pt",
            f"results/tiny/logs/rounds/{variant}-trial02-rounds01-03.log",
        )
        for variant in ("salcr", "dagl")
        for round_ in (1, 2, 3)
    }


def test_rounds_that_no_run_computes_alone() -> None:
    """A round is a span's alone where no variant and trial computes it by a job of its own."""
    plan = make_plan(
        rounds=7, evaluate_every=2, compute={"rounds_per_job": 3}, variants={"short": {"rounds": 2}}
    )
    rules = span_rules(plan, code)
    assert rounds_of_spans(plan, rules, evaluated=False) == {1, 2, 3, 4, 5, 6}  # 7 is alone
    assert rounds_of_spans(plan, rules, evaluated=True) == {2, 4, 6}  # 0 and 7 are alone
    # A span that goes beyond the rounds of its own run says nothing about other runs.
    beyond = [rule._replace(span=Span(1, 7)) for rule in rules if rule.variants == ["short"]]
    assert rounds_of_spans(plan, beyond, evaluated=False) == set()
    without_a_trial = [rule._replace(trials=rule.trials[1:]) for rule in rules]
    assert rounds_of_spans(plan, without_a_trial, evaluated=False) == set()
