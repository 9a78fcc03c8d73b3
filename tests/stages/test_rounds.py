"""Several rounds in one job: the files of single jobs, and what a job that was stopped leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from salcr.stages import train
from tests.support import tiny

FILES = ["labels.csv", "checkpoint.pt", "losses.csv", "optimizer.pt"]


class Killed(BaseException):
    """Ends a job in the middle, as a signal would."""


@pytest.fixture(scope="module")
def data(stage_one: Path) -> Path:
    """Return the folder written by preprocess."""
    return stage_one / "data"


@pytest.fixture(scope="module")
def single(stage_one: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trial with stage one and three rounds, each by jobs of its own."""
    out = tmp_path_factory.mktemp("single")
    shutil.copytree(stage_one / "round00", out / "round00")
    for round_ in (1, 2, 3):
        assert tiny.associate(data, out, round_) == 0
        assert tiny.train(data, out, round_) == 0
    return out


@pytest.fixture
def out(stage_one: Path, tmp_path: Path) -> Path:
    """Return a trial with stage one only."""
    shutil.copytree(stage_one / "round00", tmp_path / "round00")
    return tmp_path


def contents(out: Path, first: int = 1, names: list[str] = FILES) -> dict[str, bytes]:
    """Return the files of rounds first to 3."""
    paths = [tiny.folder(out, round_) / name for round_ in range(first, 4) for name in names]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def kill_in_round(monkeypatch: pytest.MonkeyPatch, killed: int | None) -> list[int]:
    """Let training end in the middle of a round, or never; return the rounds that are trained."""
    trained: list[int] = []
    original = train.train_round

    def train_round(*arguments, round_: int, **named):
        if round_ == killed:
            raise Killed
        trained.append(round_)
        return original(*arguments, round_=round_, **named)

    monkeypatch.setattr(train, "train_round", train_round)
    return trained


def stop_in_the_third_round(
    data: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *extra: object
) -> None:
    """Run a job of three rounds that is killed, and delete its outputs, as Snakemake does."""
    with monkeypatch.context() as patch:
        kill_in_round(patch, 3)
        with pytest.raises(Killed):
            tiny.rounds(data, out, 1, 3, *extra)
    for round_ in (1, 2, 3):
        shutil.rmtree(tiny.folder(out, round_), ignore_errors=True)


def test_rounds_in_one_job_equal_single_jobs(data: Path, single: Path, out: Path) -> None:
    """Labels, checkpoints, losses and optimizer states of all rounds are equal, byte for byte."""
    assert tiny.rounds(data, out, 1, 3) == 0
    assert contents(out) == contents(single)


def test_a_span_continues_a_single_round(data: Path, single: Path, out: Path) -> None:
    """Rounds 2 and 3 in one job, after a round 1 by jobs of its own, are equal as well."""
    shutil.copytree(single / "round01", out / "round01")
    assert tiny.rounds(data, out, 2, 3) == 0
    assert contents(out, first=2) == contents(single, first=2)


def test_only_the_last_optimizer_state_where_no_other_is_wanted(data: Path, out: Path) -> None:
    """With --optimizer-states last, the states between are deleted as soon as they can be."""
    assert tiny.rounds(data, out, 1, 3, "--optimizer-states", "last") == 0
    states = sorted(path.parent.name for path in out.rglob("optimizer.pt"))
    assert states == ["round03"]


@pytest.mark.parametrize("states", ["all", "last"])
def test_a_killed_job_continues_after_its_last_whole_round(
    data: Path, single: Path, out: Path, monkeypatch: pytest.MonkeyPatch, states: str
) -> None:
    """Killed in round 3 and without its outputs, it trains round 3 alone, with equal bytes."""
    stop_in_the_third_round(data, out, monkeypatch, "--optimizer-states", states)
    trained = kill_in_round(monkeypatch, None)
    assert tiny.rounds(data, out, 1, 3, "--optimizer-states", states) == 0
    assert trained == [3]
    assert contents(out, names=FILES[:3]) == contents(single, names=FILES[:3])
    assert not (out / "kept").exists()


@pytest.mark.parametrize(
    "change",
    [
        "a byte of a kept file",
        "a kept file deleted",
        "the index cut",
        "other settings",
        "fewer rounds",
    ],
)
def test_kept_rounds_that_do_not_fit_are_not_used(
    data: Path, single: Path, out: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Damaged ones, and those of other settings or numbers: all rounds are computed again."""
    stop_in_the_third_round(data, out, monkeypatch)
    last, settings = 3, []
    if change == "a byte of a kept file":
        labels = out / "kept/round01/labels.csv"
        labels.write_bytes(labels.read_bytes().replace(b"visible", b"Visible", 1))
    elif change == "a kept file deleted":
        (out / "kept/round02/checkpoint.pt").unlink()
    elif change == "the index cut":
        index = out / "kept/kept.json"
        index.write_text(index.read_text()[:40])
    elif change == "other settings":
        settings = ["--train-learning-rate", "2e-3"]
    else:
        last = 1
    trained = kill_in_round(monkeypatch, None)
    assert tiny.rounds(data, out, 1, last, *settings) == 0
    assert trained == list(range(1, last + 1))
    if last == 3 and not settings:
        assert contents(out) == contents(single)


def test_evaluation_of_several_networks_equals_that_of_each(
    data: Path, single: Path, tmp_path: Path
) -> None:
    """Metrics and rankings of two networks by one job are those by two jobs, byte for byte."""
    names = ("metrics.json", "rankings.json")
    for round_ in (2, 3):
        assert tiny.evaluate(data, single, round_) == 0
    words: list[object] = ["evaluate", "--data", data, "--trial", 1]
    words += ["--identities", data / "identities.csv"]
    words += ["--checkpoint", *(tiny.folder(single, r) / "checkpoint.pt" for r in (2, 3))]
    for name in names:
        flag = f"--{name.partition('.')[0]}"
        words += [flag, *(tmp_path / f"round0{r}" / name for r in (2, 3))]
    assert tiny.run(*words) == 0
    for round_ in (2, 3):
        for name in names:
            one, other = (tiny.folder(folder, round_) / name for folder in (single, tmp_path))
            assert one.read_bytes() == other.read_bytes()
