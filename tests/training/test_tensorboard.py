"""Curves in TensorBoard: the points of the files that contain the results."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from salcr.training.tensorboard import curve_writer
from tests.support import tiny


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard itself reads from a folder: tag -> step and value."""
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(scalar.step, scalar.value) for scalar in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_losses_and_metrics_are_written(stage_one: Path, tmp_path: Path) -> None:
    """There is a point per epoch for each loss of stage one, and one for each score after it."""
    data = stage_one / "data"
    assert tiny.pretrain(data, tmp_path, "--curves", tmp_path / "pretrain") == 0
    losses = pd.read_csv(tmp_path / "round00/losses.csv")
    curves = points(tmp_path / "pretrain")
    assert curves.keys() == {"plain", "augmented", "infrared", "total"}
    for name, curve in curves.items():
        assert [step for step, _ in curve] == list(losses["epoch"])
        assert [value for _, value in curve] == pytest.approx(list(losses[name]), rel=1e-6)
    assert tiny.evaluate(data, tmp_path, 0, "--curves", tmp_path / "evaluate") == 0
    settings = json.loads((tmp_path / "round00/metrics.json").read_text())["settings"]
    curves = points(tmp_path / "evaluate")
    for setting, rankings in settings.items():
        (scores,) = rankings["none"]
        assert curves[f"mAP/{setting} none"] == [(0, pytest.approx(scores["map"]))]
        assert curves[f"rank-1/{setting} none"] == [(0, pytest.approx(scores["cmc"][0]))]


def test_points_of_a_stopped_job_are_hidden_where_the_next_resumes(tmp_path: Path) -> None:
    """Epochs 0 to 2, then again from 2: one value per step, the newer one."""
    for first, last, value in ((0, 3, 1.0), (2, 4, 5.0)):
        with curve_writer(tmp_path, first=first) as add_points:
            for step in range(first, last):
                add_points(step, {"total": value})
    assert points(tmp_path)["total"] == [(0, 1.0), (1, 1.0), (2, 5.0), (3, 5.0)]


def test_without_a_folder_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage run by hand writes no files that were not requested."""
    monkeypatch.chdir(tmp_path)
    with curve_writer(None) as add_points:
        add_points(0, {"total": 1.0})
    assert list(tmp_path.iterdir()) == []
