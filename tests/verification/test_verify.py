"""`python -m salcr verify`: agrees with the project's golden values, and detects deviations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from salcr.verification.clustering import CHECKS
from salcr.verification.comparison import Comparison
from tests.support import tiny
from tests.support.helpers import GOLDEN

# file -> an array in which its check must detect a change
RESULTS = {
    "jaccard": "distance",
    "sinkhorn": "plan",
    "cmfp": "propagated",
    "association": "plain_visible_to_infrared",
    "other_associations": "pgm_visible_to_infrared",
    "memory": "updated",
    "losses": "released_grad_part_pg2_visible",
    "metrics": "sysu_minp",
    "rerank": "aim_k1_8_k2_2",
    "stage_one": "grad_v",
    "network": "train_global_visible",
}


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """Return a copy of the golden folder that a test may damage."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


def verify(golden: Path, device: str = "cpu") -> int:
    """Run the command."""
    return tiny.run("verify", "--golden", golden, "--device", device)


def test_every_module_agrees(
    golden: Path, capsys: pytest.CaptureFixture[str], device: torch.device
) -> None:
    """All eleven modules pass on the project's values, wherever the folder is: exit status 0."""
    assert verify(golden, device.type) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(CHECKS)
    assert all(line.endswith("  yes") for line in lines) and len(lines) == 11


def test_a_gpu_compares_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's default of TF32 convolutions, a thousand times coarser, is off in the comparison."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr("salcr.stages.verify.CHECKS", {"sinkhorn": CHECKS["sinkhorn"]})
    assert verify(GOLDEN) == 0
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("name", RESULTS)
def test_a_changed_reference_fails(
    golden: Path, capsys: pytest.CaptureFixture[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One entry off by a hundredth, or a label by one: exit 1, and the module is named."""
    monkeypatch.setattr("salcr.stages.verify.CHECKS", {name: CHECKS[name]})
    with np.load(golden / f"{name}.npz") as archive:
        arrays = {key: archive[key].copy() for key in archive.files}
    changed = arrays[RESULTS[name]]
    changed.flat[0] += 1 if changed.dtype.kind == "i" else 0.01
    np.savez(golden / f"{name}.npz", **arrays)
    assert verify(golden) == 1
    captured = capsys.readouterr()
    assert "NO" in captured.out and f"{name}: " in captured.err


def test_a_missing_or_damaged_file_is_named(
    golden: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is missing, truncated or without an array is named; no traceback."""
    monkeypatch.setattr("salcr.stages.verify.CHECKS", {"jaccard": CHECKS["jaccard"]})
    path = golden / "jaccard.npz"
    content = path.read_bytes()
    path.unlink()
    assert verify(golden) == 1
    assert f"{path}: no such file" in capsys.readouterr().err
    path.write_bytes(content[:1000])
    assert verify(golden) == 1
    assert f"{path}: is damaged" in capsys.readouterr().err
    np.savez(path, features=np.eye(3))
    assert verify(golden) == 1
    assert f"{path}: holds no 'k1'" in capsys.readouterr().err


def without_a_parameter(golden: Path) -> None:
    """Remove a name from the reference state dict."""
    path = golden / "reference_state_dict.json"
    shapes = json.loads(path.read_text())
    del shapes["bottleneck.weight"]
    path.write_text(json.dumps(shapes))


def with_narrow_features(golden: Path) -> None:
    """Cut the visible features of cmfp.npz to half their width."""
    with np.load(golden / "cmfp.npz") as archive:
        arrays = dict(archive)
    np.savez(golden / "cmfp.npz", **{**arrays, "visible": arrays["visible"][:, :32]})


@pytest.mark.parametrize(
    ("damage", "name", "complaint"),
    [
        (lambda g: (g / "reference_state_dict.json").unlink(), "network", "no such file"),
        (lambda g: (g / "reference_state_dict.json").write_text("{"), "network", "not valid JSON"),
        (without_a_parameter, "network", "network.npz: its arrays do not fit together"),
        (with_narrow_features, "cmfp", "cmfp.npz: its arrays do not fit together"),
    ],
)
def test_files_that_do_not_fit_are_named_and_the_rest_compared(
    golden: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], None],
    name: str,
    complaint: str,
) -> None:
    """A damaged state dict or an array of another size fails only its module, with the file."""
    damage(golden)
    chosen = {key: CHECKS[key] for key in (name, "memory")}
    monkeypatch.setattr("salcr.stages.verify.CHECKS", chosen)
    assert verify(golden) == 1
    captured = capsys.readouterr()
    assert complaint in captured.err and "Traceback" not in captured.err
    ends = {line.split()[0]: line.split()[-1] for line in captured.out.splitlines()[1:]}
    assert ends == {name: "NO", "memory": "yes"}


@pytest.mark.parametrize(
    ("actual", "atol", "passes"),
    [
        ([1.0, 2.0], 1e-5, True),
        ([1.0, 2.0001], 1e-5, True),
        ([1.0, 2.001], 1e-5, False),
        ([1.0, np.nan], 1e-5, False),
        ([1.0], 1e-5, False),
        ([1.0, 2.0001], 0, False),
    ],
)
def test_comparison_is_strict(actual: list[float], atol: float, passes: bool) -> None:
    """Within atol + 1e-4 of the size; NaNs and other shapes fail; labels must be equal."""
    compared = Comparison("x", np.array(actual), np.array([1.0, 2.0]), atol)
    assert compared.passes is passes
