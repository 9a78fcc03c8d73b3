"""A network of this project as the start of another training (`model.weights: FILE`)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from salcr.models import tensor_files
from tests.support import tiny

_STARTED = ("visible_stem.", "infrared_stem.", "trunk.", "global_neck.")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a round on the tiny people, with parts; `data` is beside it."""
    folder = tmp_path_factory.mktemp("trained")
    data = tiny.make_data(folder)
    assert tiny.pretrain(data, folder) == 0
    assert tiny.associate(data, folder, 1) == 0 and tiny.train(data, folder, 1) == 0
    return tiny.folder(folder, 1) / "checkpoint.pt"


@pytest.fixture(scope="module")
def other_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prepared data set of other people."""
    folder = tmp_path_factory.mktemp("other")
    words = ["--out", folder / "raw", "--seed", 4, *tiny.SYNTHESIZE]
    assert tiny.run("synthesize", *words) == 0
    words = ["--root", folder / "raw", "--layout", "regdb", "--out", folder / "data"]
    assert tiny.run("preprocess", *words, *tiny.PREPROCESS) == 0
    return folder / "data"


def start_from(weights: Path, data: Path, out: Path, *extra: object, trial: int = 1) -> int:
    """Run stage one with a file as its start."""
    words = ["--weights-file", weights, "--model-weights", weights]
    return tiny.pretrain(data, out, *words, *extra, trial=trial)


def state_of(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint."""
    state: dict[str, torch.Tensor] = tensor_files.read_checkpoint(path)["state"]
    return state


def test_training_continues_from_the_network(
    trained: Path, other_data: Path, tmp_path: Path
) -> None:
    """With a learning rate of almost 0, each weight of stage one is still that of the file."""
    still = ("--pretrain-learning-rate", "1e-12", "--pretrain-epochs", "1")
    assert start_from(trained, other_data, tmp_path, *still) == 0
    after, before = state_of(tmp_path / "round00/checkpoint.pt"), state_of(trained)
    names = [name for name in before if name.startswith(_STARTED) and "running_" not in name]
    names = [name for name in names if "num_batches" not in name]
    assert any(name.startswith("global_neck.") for name in names)
    for name in names:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-8)
    stems = [f"{side}_stem.conv1.weight" for side in ("visible", "infrared")]
    assert not torch.equal(*(after[name] for name in stems)), "each stem keeps its own weights"
    assert not torch.equal(after["part_tokens"][:1], before["part_tokens"][:1]), "parts start again"


def test_the_same_trial_is_trained_further(trained: Path, tmp_path: Path) -> None:
    """A network of the same images of the same trial has seen no test person."""
    assert start_from(trained, trained.parents[1] / "data", tmp_path) == 0


def test_another_trial_of_the_data_set_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was trained on people who are tested here."""
    assert start_from(trained, trained.parents[1] / "data", tmp_path, trial=2) == 1
    assert f"{trained}: was trained on trial 1, not on 2" in capsys.readouterr().err


def test_another_backbone_is_refused(
    trained: Path, other_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the keys, and what the file holds."""
    assert start_from(trained, other_data, tmp_path, "--model-width", "16") == 1
    error = capsys.readouterr().err
    assert f"{trained}: is a resnet18 of width 8; set model.backbone and model.width" in error


@pytest.mark.parametrize("content", ["cut", "text", "optimizer"])
def test_a_file_of_another_kind_is_refused(
    content: str,
    trained: Path,
    other_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A damaged file, a text, and an optimizer's state are each refused by name."""
    path = tmp_path / "weights.pt"
    if content == "optimizer":
        shutil.copy(trained.with_name("optimizer.pt"), path)
    else:
        path.write_bytes(trained.read_bytes()[:5000] if content == "cut" else b"no network")
    assert start_from(path, other_data, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: ") or f"\nerror: {path}: " in error
    assert not (tmp_path / "out/round00/checkpoint.pt").exists()
