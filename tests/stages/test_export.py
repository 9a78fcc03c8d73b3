"""`export`: the ONNX file computes the features used in evaluation, or is not written."""

from __future__ import annotations

import json
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from PIL import Image
from torch import Tensor

from salcr import files
from salcr.models import onnx_export
from salcr.stages import export as stage
from tests.support import tiny
from tests.support.helpers import close


@pytest.fixture(scope="module")
def indexed(stage_one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny data, a network after stage one and an index of all images."""
    folder = tmp_path_factory.mktemp("export")
    for name in ("raw", "round00"):
        (folder / name).symlink_to(stage_one / name)
    words = ["--checkpoint", folder / "round00/checkpoint.pt", "--out", folder / "index"]
    images = [folder / "raw/Visible", folder / "raw/Thermal"]
    modalities = ["--modality", "visible", "infrared"]
    assert tiny.run("embed", "--images", *images, *modalities, *words) == 0
    return folder


def export(indexed: Path, out: Path, modality: str = "visible") -> int:
    """Run the stage."""
    words = ["--checkpoint", indexed / "round00/checkpoint.pt", "--modality", modality]
    return tiny.run("export", *words, "--out", out)


@pytest.mark.parametrize("modality", ["visible", "infrared"])
def test_any_number_of_images_gives_the_features_of_embed(
    indexed: Path, tmp_path: Path, modality: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pixels as Pillow reads them, with onnxruntime alone, give the rows of the index."""
    assert export(indexed, tmp_path / "model.onnx", modality) == 0
    assert "onnxruntime's differ by" in capsys.readouterr().err
    lines = pd.read_csv(indexed / "index/files.csv")
    rows = np.flatnonzero(lines["modality"] == modality)[::7]
    folder = indexed / "raw" / {"visible": "Visible", "infrared": "Thermal"}[modality]
    images = np.stack([np.asarray(Image.open(folder / lines["file"][row])) for row in rows])
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    expected = np.load(indexed / "index/features.npy")[rows]
    for count in (1, 5, len(rows)):
        (features,) = session.run(["features"], {"images": images[:count]})
        close(features, expected[:count])
    (shown,) = session.get_outputs()
    assert shown.shape == ["batch", expected.shape[1]]
    assert session.get_inputs()[0].shape == ["batch", 64, 32, 3]


def test_the_file_says_where_it_comes_from(indexed: Path, tmp_path: Path) -> None:
    """Modality and the checkpoint's SHA-256 are among the properties of the file."""
    assert export(indexed, tmp_path / "model.onnx", "infrared") == 0
    model = onnx.load(str(tmp_path / "model.onnx"))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["modality"] == "infrared"
    digest = files.sha256(indexed / "round00/checkpoint.pt")
    assert json.loads(properties["checkpoint"]) == {"sha256": digest, "round": 0, "trial": 1}


def test_other_features_are_not_written(
    indexed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A file that computes something else, here without the mirror images, is rejected."""

    def unmirrored(self: onnx_export._Exported, images: Tensor) -> Tensor:
        views = ((images.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        return onnx_export.l2_normalize(self.network(views, self.modality)[0])

    monkeypatch.setattr(onnx_export._Exported, "forward", unmirrored)
    assert export(indexed, tmp_path / "new/model.onnx") == 1
    text = capsys.readouterr().err
    assert f"error: {tmp_path / 'new/model.onnx'}: not written" in text
    assert list((tmp_path / "new").iterdir()) == []


def test_a_missing_package_is_named(
    indexed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without onnxruntime, the message says what to install."""
    there = stage.importlib.util.find_spec

    def find_spec(name: str) -> ModuleSpec | None:
        return None if name == "onnxruntime" else there(name)

    monkeypatch.setattr(stage.importlib.util, "find_spec", find_spec)
    assert export(indexed, tmp_path / "model.onnx") == 1
    assert "error: onnxruntime is not installed; run: pip install onnx" in capsys.readouterr().err
