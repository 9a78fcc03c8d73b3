"""The plan of a configuration: which files it lists, against expectations written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from salcr.config.loading import DEFAULT_CONFIG, merge
from salcr.config.plan import NamedFile, Plan
from salcr.errors import SalcrError
from salcr.files import read_yaml

ROOT = "results/regdb"


def plan(**overlay: Any) -> Plan:
    """Return the plan of default.yaml with an overlay: two trials, three rounds."""
    small = {"rounds": 3, "dataset": {"trials": [1, 12]}}
    return Plan.from_values(merge(merge(read_yaml(DEFAULT_CONFIG), small), overlay))


SHARED: dict[str, Any] = {
    "evaluate_every": 2,
    "variants": {"salcr": {}, "dagl": {"gpcr": {"mode": "none"}, "rounds": 1}},
}


def test_runs_hold_owner_and_rounds_of_each_variant() -> None:
    """The plain method comes first; `dagl` continues its stage one; another one trains its own."""
    other = {"pretrain": {"epochs": 50}, "rounds": 0}
    runs = plan(variants={**SHARED["variants"], "other": other}).runs
    assert [str(run) for run in runs.values()] == ["salcr:salcr:3", "dagl:salcr:1", "other:other:0"]
    assert list(runs) == ["salcr", "dagl", "other"]


def test_a_variant_without_changes_comes_first() -> None:
    """Figures of a single network show the plain method, whatever its name."""
    assert plan(variants={"salcr": {"gpcr": {"k": 5}}, "z": {}}).first.variant == "z"


def test_files_of_stages_are_listed_once_over_variants_and_trials() -> None:
    """A shared stage one counts once; evaluation covers every second round and the last."""
    ours = plan(**SHARED)
    assert ours.stage_one("a.json") == [
        f"{ROOT}/salcr/trial01/round00/a.json",
        f"{ROOT}/salcr/trial12/round00/a.json",
    ]
    second_stage = [
        *(f"dagl/trial{trial}/round01" for trial in ("01", "12")),
        *(f"salcr/trial{trial}/round0{round_}" for trial in ("01", "12") for round_ in (1, 2, 3)),
    ]
    assert ours.stage_two("a.json") == [f"{ROOT}/{folder}/a.json" for folder in second_stage]
    assert ours.every_round("a.json") == sorted(ours.stage_one("a.json") + ours.stage_two("a.json"))
    first_trial = [path for path in ours.evaluated("a.json") if "trial01" in path]
    assert first_trial == [
        f"{ROOT}/dagl/trial01/round01/a.json",
        f"{ROOT}/salcr/trial01/round00/a.json",
        f"{ROOT}/salcr/trial01/round02/a.json",
        f"{ROOT}/salcr/trial01/round03/a.json",
    ]


def test_files_of_trials_keep_the_order_of_the_variants() -> None:
    """There is one file per variant and trial, even where stage one belongs to another variant."""
    folders = ("salcr/trial01", "salcr/trial12", "dagl/trial01", "dagl/trial12")
    assert plan(**SHARED).trial_files("a.json") == [f"{ROOT}/{name}/a.json" for name in folders]


def test_a_chain_of_rounds_starts_at_the_owner() -> None:
    """Round 1 continues the owner's stage one; round 2 continues the variant's own round 1."""
    ours = plan(**SHARED)
    assert ours.previous("dagl", 12, 1, "a.pt") == f"{ROOT}/salcr/trial12/round00/a.pt"
    assert ours.previous("dagl", 12, 2, "a.pt") == f"{ROOT}/dagl/trial12/round01/a.pt"


def test_each_checkpoint_has_the_log_of_its_job() -> None:
    """The log of stage one is named without a round, as in its rule."""
    logs = plan(rounds=1, dataset={"trials": [3]}).training_logs()
    assert logs == {
        Path(f"{ROOT}/salcr/trial03/round00/checkpoint.pt"): Path(
            f"{ROOT}/logs/pretrain/salcr-trial03.log"
        ),
        Path(f"{ROOT}/salcr/trial03/round01/checkpoint.pt"): Path(
            f"{ROOT}/logs/train/salcr-trial03-round01.log"
        ),
    }


@pytest.mark.parametrize(
    ("overlay", "wanted"),
    [
        ({}, "data/weights/resnet50.pth"),
        ({"model": {"backbone": "resnet18"}}, "data/weights/resnet18.pth"),
        ({"model": {"weights": "own/net.pth"}}, "own/net.pth"),
        ({"model": {"weights": "random"}}, None),
        ({"model": {"weights": "synthetic", "backbone": "resnet18", "width": 16}}, None),
        ({"pretrain": {"checkpoint": "given.pt"}}, None),
    ],
)
def test_initial_weights(overlay: dict[str, Any], wanted: str | None) -> None:
    """They are downloaded, the user's, or None: random, packaged, or if a checkpoint is given."""
    assert plan(**overlay).initial_weights("salcr") == wanted


def test_a_given_checkpoint_may_name_the_trial() -> None:
    """{trial} is replaced by the number of the trial, without leading zeros."""
    ours = plan(variants={"salcr": {}, "given": {"pretrain": {"checkpoint": "at/{trial}.pt"}}})
    assert ours.given_checkpoint("given", 12) == "at/12.pt"
    assert ours.given_checkpoint("salcr", 12) is None


def test_named_files_are_those_that_the_user_provides() -> None:
    """Checkpoints per trial, another data set's network and a state dict; none by default."""
    assert list(plan().named_files()) == []
    ours = plan(
        transfer={"results": "sysu", "checkpoint": "sysu.pt"},
        model={"weights": "net.pth"},
        pretrain={"checkpoint": "at/{trial}.pt"},
    )
    assert [(file.key, file.path) for file in ours.named_files()] == [
        ("transfer.checkpoint", "sysu.pt"),
        ("model.weights", "net.pth"),
        ("pretrain.checkpoint", "at/1.pt"),
        ("pretrain.checkpoint", "at/12.pt"),
    ]


def test_the_first_missing_named_file_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the key, the path and what to do; there is none once all files exist."""
    monkeypatch.chdir(tmp_path)
    ours = plan(pretrain={"checkpoint": "{trial}.pt"})
    Path("1.pt").touch()
    missing = NamedFile("pretrain.checkpoint", "12.pt", "make it with `import-checkpoint`")
    with pytest.raises(SalcrError) as caught:
        ours.check_named_files()
    assert str(caught.value) == f"{missing.key}: {missing.path}: no such file; {missing.remedy}"
    Path("12.pt").touch()
    ours.check_named_files()
