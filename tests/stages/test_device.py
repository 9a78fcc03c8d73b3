"""The chain of the workflow's commands on each device, without Snakemake."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from salcr.files import read_json
from salcr.models.tensor_files import read_checkpoint
from salcr.training import devices
from tests.support import tiny


def state_of(out: Path, round_: int) -> dict[str, torch.Tensor]:
    """Return the parameters of a round's network."""
    return read_checkpoint(tiny.folder(out, round_) / "checkpoint.pt")["state"]


def mean_average_precisions(out: Path, round_: int) -> list[float]:
    """Return the mAP of all directions and re-rankings of a round."""
    settings = read_json(tiny.folder(out, round_) / "metrics.json")["settings"]
    return [one["map"] for ways in settings.values() for ones in ways.values() for one in ones]


def test_every_stage_computes_on_the_device(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preprocess to evaluate run on it, a CPU reads what they wrote, and measures the same."""
    monkeypatch.setattr(devices, "_claims", {})  # a GPU that is claimed here is free again after it
    data, on = tiny.make_data(tmp_path), ("--device", device.type)
    job = tmp_path / "job.json"
    assert tiny.pretrain(data, tmp_path, *on, "--job", job) == 0
    assert device.type in read_json(job)["device"].lower()
    assert tiny.associate(data, tmp_path, 1, *on) == 0
    assert tiny.train(data, tmp_path, 1, *on) == 0
    assert tiny.rounds(data, tmp_path, 2, 2, *on) == 0
    trained, before = state_of(tmp_path, 2), state_of(tmp_path, 1)
    assert all(value.isfinite().all() for value in trained.values())
    moved = [name for name in before if not torch.equal(trained[name], before[name])]
    assert any("trunk" in name for name in moved) and "part_tokens" in moved
    assert tiny.evaluate(data, tmp_path, 2, *on, "--numerics-autocast", "never") == 0
    measured = mean_average_precisions(tmp_path, 2)
    assert tiny.evaluate(data, tmp_path, 2, "--device", "cpu") == 0
    assert mean_average_precisions(tmp_path, 2) == pytest.approx(measured, abs=0.02)
