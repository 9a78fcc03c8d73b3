"""The association says what is wrong with its labels, and ends where going on is hopeless."""

from __future__ import annotations

from pathlib import Path

import pytest

from salcr.files import read_json
from tests.support import tiny

ONE_CLUSTER = ["--clustering-eps", "0.99"]


@pytest.fixture
def folders(stage_one: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return the data and a separate folder that continues stage one."""
    (tmp_path / "round00").symlink_to(stage_one / "round00")
    return stage_one / "data", tmp_path


def test_one_cluster_of_all_images_ends_the_training(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The message has the key to change and the one to go on; no labels are written."""
    data, out = folders
    words = [*ONE_CLUSTER, "--associate-stop-on-collapse", "true"]
    assert tiny.associate(data, out, 1, *words) == 1
    text = capsys.readouterr().err
    assert "error: one cluster has 100% of the visible images" in text
    assert "lower clustering.eps" in text and "associate.stop_on_collapse: false" in text
    assert not (out / "round01/labels.csv").exists() and "Traceback" not in text


def test_the_record_of_a_job_has_the_numbers(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it may go on, the diagnosis is a warning, and the job's record has its numbers."""
    data, out = folders
    job = out / "associate.json"
    assert tiny.associate(data, out, 1, *ONE_CLUSTER, "--job", job) == 0
    assert "warning: one cluster has 100% of the visible images" in capsys.readouterr().err
    labels = read_json(job)["labels"]
    assert labels["clusters_visible"] == labels["largest_visible"] == 1
    assert 0 < labels["spread_visible"] < 1 and labels["agreement"] == 1
