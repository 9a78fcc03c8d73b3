"""A killed stage one resumes where it stopped and ends with the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from salcr.config.synthetic import SYNTHETIC_WEIGHTS
from tests.support import tiny
from tests.support.plans import REPOSITORY

EPOCHS = ["--pretrain-epochs", 4]


@pytest.fixture(scope="module")
def data(stage_one: Path) -> Path:
    """Return the folder written by preprocess."""
    return stage_one / "data"


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was not interrupted."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert tiny.pretrain(data, out, *EPOCHS) == 0
    return out / "round00"


def stopped(
    monkeypatch: pytest.MonkeyPatch, data: Path, out: Path, epochs: int, *words: object
) -> Path:
    """Run stage one until its state was saved this many times; return the folder it leaves."""
    from salcr.training.resume import Resume

    save, left = Resume.save, [epochs]

    def save_then_stop(self: Resume, state: dict[str, object]) -> None:
        save(self, state)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Resume, "save", save_then_stop)
        assert tiny.pretrain(data, out, *EPOCHS, *words) == 130
    assert not (out / "round00/checkpoint.pt").exists()
    return out / "round00"


@pytest.mark.parametrize("epochs", [1, 3, 4])
def test_it_resumes_after_the_last_complete_epoch(
    data: Path,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    epochs: int,
) -> None:
    """Stopped after any epoch, a second run trains only the rest: equal bytes, no state left."""
    folder = stopped(monkeypatch, data, tmp_path, epochs)
    capsys.readouterr()
    assert tiny.pretrain(data, tmp_path, *EPOCHS) == 0
    text = capsys.readouterr().err
    assert f"resuming after epoch {epochs}" in text
    assert [f"epoch {n}/4" in text for n in range(1, 5)] == [n > epochs for n in range(1, 5)]
    for name in ("checkpoint.pt", "losses.csv"):
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes()
    assert {path.name for path in folder.iterdir()} == {"checkpoint.pt", "losses.csv"}


@pytest.mark.parametrize("change", ["settings", "damage", "seed"])
def test_a_state_that_does_not_belong_is_not_used(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: str,
) -> None:
    """With other settings, another seed or a damaged file, it starts over, like a fresh run."""
    state = stopped(monkeypatch, data, tmp_path / "out", 2) / "resume.pt"
    words = {"settings": ["--memory-momentum", 0.2], "seed": ["--seed", 9]}.get(change, [])
    if change == "damage":
        state.write_bytes(state.read_bytes()[:-200])
    assert tiny.pretrain(data, tmp_path / "out", *EPOCHS, *words) == 0
    text = capsys.readouterr().err
    assert "starting from the beginning" in text and str(state) in text
    assert tiny.pretrain(data, tmp_path / "fresh", *EPOCHS, *words) == 0
    resumed, fresh = (
        torch.load(tmp_path / name / "round00/checkpoint.pt", weights_only=True)["state"]
        for name in ("out", "fresh")
    )
    assert all(torch.equal(resumed[key], fresh[key]) for key in fresh)


def test_a_state_from_other_weights_is_not_used(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another file to start from, under the same name: it starts over."""
    weights = tmp_path / "weights.pth"
    words = ["--model-width", 16, "--model-weights", weights, "--weights-file", weights]
    saved = torch.load(SYNTHETIC_WEIGHTS, weights_only=True)["state_dict"]
    torch.save(saved, weights)
    state = stopped(monkeypatch, data, tmp_path / "out", 1, *words) / "resume.pt"
    torch.save({**saved, "conv1.weight": -saved["conv1.weight"]}, weights)
    assert tiny.pretrain(data, tmp_path / "out", *EPOCHS, *words) == 0
    text = capsys.readouterr().err
    assert "starting from the beginning" in text and str(state) in text


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_loses_an_epoch_at_most(
    data: Path,
    undisturbed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    """Stopped once the first state exists, a second run resumes and ends with equal bytes."""
    words = [sys.executable, "-m", "salcr", *tiny.pretrain_words(data, tmp_path), *EPOCHS]
    command = [str(word) for word in words]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE) as job:
        while not (tmp_path / "round00/resume.pt").exists():
            assert job.poll() is None
            time.sleep(0.01)
        job.send_signal(number)
        job.communicate()
    assert job.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143}[number]
    assert tiny.pretrain(data, tmp_path, *EPOCHS) == 0
    assert "resuming after epoch" in capsys.readouterr().err
    for name in ("checkpoint.pt", "losses.csv"):
        content = (tmp_path / "round00" / name).read_bytes()
        assert content == (undisturbed / name).read_bytes()
