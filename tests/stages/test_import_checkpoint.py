"""`import-checkpoint`: a released file is converted and can be used by configuration alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from salcr.models.network import Network
from salcr.models.released import rename_parameters
from salcr.verification.training import sample_parameter
from tests.support import tiny
from tests.support.helpers import golden_shapes
from tests.support.released import released_like


@pytest.fixture(scope="module")
def released() -> dict[str, Tensor]:
    """Return a state dict as released, with a smaller backbone and an entry that is never used."""
    torch.manual_seed(1)
    network = Network(backbone="resnet18", width=64, num_parts=3)
    return {**released_like(network), "gem.p": torch.tensor([3.0])}


def import_checkpoint(source: Path, out: Path, *extra: object) -> int:
    """Run the command."""
    return tiny.run("import-checkpoint", source, out, *extra)


def test_every_used_parameter_arrives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All parameters of the network equal those of the file; the rest is named as ignored."""
    source, out = tmp_path / "best.pth.tar", tmp_path / "ours.pt"
    released = {name: sample_parameter(name, shape, 5) for name, shape in golden_shapes().items()}
    state = {f"module.{name}": value for name, value in released.items()}
    torch.save({"state_dict": state, "epoch": 79, "best_mAP": np.float64(0.83)}, source)
    assert import_checkpoint(source, out, "--trial", 4) == 0
    checkpoint = torch.load(out, weights_only=True)
    assert checkpoint["model"] == {"backbone": "resnet50", "width": 64, "num_parts": 3}
    assert (checkpoint["trial"], checkpoint["round"], checkpoint["data_hash"]) == (4, 0, None)
    assert checkpoint["image_size"] == [288, 144]  # of the published configuration
    expected, _ = rename_parameters(released)
    assert checkpoint["state"].keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in checkpoint["state"].items())
    text = capsys.readouterr().err
    for part in ("entry epoch (79)", "entry best_mAP (0.83", "visible_module.visible.layer1", "gem",
                 "disnet", "pos_embeding", "pretrain.checkpoint"):  # fmt: skip
        assert part in text, part


def test_a_bare_state_dict_is_accepted(released: dict[str, Tensor], tmp_path: Path) -> None:
    """The entry `state_dict` and the prefix `module.` are optional: names and tensors suffice."""
    torch.save(released, tmp_path / "bare.pth")
    assert import_checkpoint(tmp_path / "bare.pth", tmp_path / "ours.pt") == 0


def test_the_size_of_the_images_can_be_given(
    released: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network for other image sizes is imported with its size; invalid sizes are rejected."""
    torch.save(released, tmp_path / "in.pth")
    words = (tmp_path / "in.pth", tmp_path / "ours.pt", "--image-size")
    assert import_checkpoint(*words, 384, 128) == 0
    checkpoint = torch.load(tmp_path / "ours.pt", weights_only=True)
    assert checkpoint["image_size"] == [384, 128]
    assert import_checkpoint(*words, 384, 0) == 1
    assert (
        "error: --image-size 0: must be a whole number from 32 to 1024" in capsys.readouterr().err
    )


def test_ignored_entries_are_named_in_one_line(
    released: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An optimizer state next to that of the network does not fill the screen."""
    moments = {index: {"exp_avg": torch.zeros(300, 300)} for index in range(60)}
    torch.save({"state_dict": released, "optimizer": {"state": moments}}, tmp_path / "in.pth")
    assert import_checkpoint(tmp_path / "in.pth", tmp_path / "ours.pt") == 0
    (line,) = (one for one in capsys.readouterr().err.splitlines() if "entry optimizer" in one)
    assert "exp_avg" in line and len(line) < 120


@pytest.mark.parametrize("scalar", [np.float32(1.5), np.int64(3), np.float64(2), np.bool_(True)])
def test_numpy_scalars_are_plain_data(
    released: dict[str, Tensor], tmp_path: Path, scalar: np.generic
) -> None:
    """NumPy scalars next to the state dict do not prevent loading."""
    torch.save({"state_dict": released, "score": scalar}, tmp_path / "in.pth")
    assert import_checkpoint(tmp_path / "in.pth", tmp_path / "ours.pt") == 0


def test_scalars_of_older_numpy_are_plain_data(released: dict[str, Tensor], tmp_path: Path) -> None:
    """NumPy 1 pickled scalars under another module path, which occurs in released files."""
    source = tmp_path / "in.pth"
    torch.save({"state_dict": released, "score": np.float64(2)}, source, pickle_protocol=2,
               _use_new_zipfile_serialization=False)  # fmt: skip
    content = source.read_bytes()
    assert content.count(b"numpy._core.multiarray\nscalar") == 1
    # The old format is one pickle with length-free names: the longer path can be cut in place.
    source.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert import_checkpoint(source, tmp_path / "ours.pt") == 0


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("gone", "no such file"),
        ("truncated", "is damaged or not a state dict"),
        ("text", "is damaged or not a state dict"),
        ("evil", "is damaged or not a state dict"),
        ("other network", "not a checkpoint of the released SALCR code"),
        ("empty", "does not hold a state dict"),
        ("numbered", "does not hold a state dict"),
        ("layer missing", "for the closest, resnet18, 1 parameters are missing, unknown or of"),
        ("other shape", "trunk.layer4.0.conv1.weight"),
    ],
)
def test_other_files_are_refused(
    released: dict[str, Tensor],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: str,
    complaint: str,
) -> None:
    """A damaged or unrelated file is named; nothing is written, no code is executed."""
    source, out, hacked = tmp_path / "in.pth.tar", tmp_path / "out" / "ours.pt", tmp_path / "hacked"
    name = "base_resnet.base.layer4.0.conv1.weight"
    content: Any = {"state_dict": dict(released)}
    if damage == "evil":
        content["extra"] = Evil(hacked)
    elif damage == "other network":
        content = {"conv1.weight": torch.zeros(64, 3, 7, 7)}
    elif damage == "empty":
        content = {"state_dict": {}}
    elif damage == "numbered":
        content["state_dict"][3] = torch.zeros(1)
    elif damage == "layer missing":
        del content["state_dict"][name]
    elif damage == "other shape":
        content["state_dict"][name] = torch.zeros(3)
    torch.save(content, source)
    if damage == "truncated":
        source.write_bytes(source.read_bytes()[:-1000])
    elif damage == "text":
        source.write_text("<html>not found</html>")
    elif damage == "gone":
        source.unlink()
    assert import_checkpoint(source, out) == 1
    error = capsys.readouterr().err
    assert f"error: {source}: " in error and complaint in error and "Traceback" not in error
    assert not out.parent.exists() and not hacked.exists()


@pytest.fixture(scope="module")
def start(released: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny data and an imported ResNet-18 of trial 1."""
    folder = tmp_path_factory.mktemp("start")
    tiny.make_data(folder)
    torch.save({"state_dict": released}, folder / "released.pth.tar")
    assert import_checkpoint(folder / "released.pth.tar", folder / "imported1.pt") == 0
    return folder


def taken(start: Path, out: Path, *extra: object, trial: int = 1, width: int = 64) -> int:
    """Run pretrain with the imported checkpoint in place of stage one."""
    path = start / "imported1.pt"
    words = ["--pretrain-checkpoint", path, "--from-checkpoint", path, "--model-width", width]
    return tiny.pretrain(start / "data", out, *words, *extra, trial=trial)


def test_evaluation_and_stage_two_start_from_it(start: Path, tmp_path: Path) -> None:
    """Round 0 is the imported network on this data, untrained; round 1 continues from there."""
    assert taken(start, tmp_path) == 0
    imported = torch.load(start / "imported1.pt", weights_only=True)
    ours = torch.load(tmp_path / "round00/checkpoint.pt", weights_only=True)
    summary = json.loads((start / "data/preprocess.json").read_text())
    assert ours["data_hash"] == summary["data_hash"] and ours["round"] == 0
    assert all(torch.equal(value, imported["state"][k]) for k, value in ours["state"].items())
    assert (tmp_path / "round00/losses.csv").read_text().count("\n") == 1
    assert tiny.evaluate(start / "data", tmp_path, 0) == 0
    assert tiny.associate(start / "data", tmp_path, 1) == 0
    assert tiny.train(start / "data", tmp_path, 1) == 0


def test_it_is_bound_to_its_trial_and_backbone(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another trial, or the configuration of another network, is rejected; nothing is written."""
    assert taken(start, tmp_path, trial=2) == 1
    assert "was trained on trial 1, not on 2" in capsys.readouterr().err
    assert taken(start, tmp_path, width=8) == 1
    assert "is a resnet18 of width 64; set model.backbone" in capsys.readouterr().err
    assert not (tmp_path / "round00").exists()


def test_a_released_file_itself_is_refused_with_the_command(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the configuration names the released file itself, the message says what to run first."""
    source = start / "released.pth.tar"
    words = ["--pretrain-checkpoint", source, "--from-checkpoint", source, "--model-width", 64]
    assert tiny.pretrain(start / "data", tmp_path, *words) == 1
    error = capsys.readouterr().err
    assert str(source) in error and "python -m salcr import-checkpoint" in error
    assert source.exists()
