"""Another data set's network: evaluated by a stage that says so, rejected by all others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.support import tiny


@pytest.fixture(scope="module")
def source(stage_one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with synthetic people in two layouts, and a network trained on RegDB."""
    folder = tmp_path_factory.mktemp("transfer")
    for name in ("data", "round00"):
        (folder / name).symlink_to(stage_one / name)
    words = ["--out", folder / "sysu_raw", "--layout", "sysu", "--seed", 4, *tiny.SYNTHESIZE]
    assert tiny.run("synthesize", *words) == 0
    words = ["--root", folder / "sysu_raw", "--layout", "sysu", "--out", folder / "sysu"]
    assert tiny.run("preprocess", *words, *tiny.PREPROCESS) == 0
    return folder


def transfer(source: Path, out: Path, *, to: str, other: str = "data") -> int:
    """Evaluate RegDB's network on another data set."""
    words = ["--data", source / to, "--trial", 1, "--identities", source / to / "identities.csv"]
    words += ["--other", source / other, "--checkpoint", source / "round00/checkpoint.pt"]
    return tiny.run("transfer", *words, "--metrics", out / "metrics.json")


def test_figures_are_those_of_the_same_network_evaluated(source: Path, tmp_path: Path) -> None:
    """Forged to be from the other data set, its checkpoint passes evaluation with equal metrics."""
    assert transfer(source, tmp_path, to="sysu") == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["trained_on"] == {"layout": "regdb", "published": False, "trial": 1, "round": 0}
    checkpoint = torch.load(source / "round00/checkpoint.pt", weights_only=True)
    summary = json.loads((source / "sysu/preprocess.json").read_text())
    assert checkpoint["data_hash"] != summary["data_hash"]
    (tmp_path / "round00").mkdir()
    torch.save(
        {**checkpoint, "data_hash": summary["data_hash"]}, tmp_path / "round00/checkpoint.pt"
    )
    assert tiny.evaluate(source / "sysu", tmp_path, 0) == 0
    expected = json.loads((tmp_path / "round00/metrics.json").read_text())["settings"]
    assert metrics["settings"] == expected
    assert set(expected) == {"all", "indoor", "all multi-shot", "indoor multi-shot"}


def test_evaluation_refuses_it(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing but `transfer` crosses data sets."""
    (tmp_path / "round00").symlink_to(source / "round00")
    assert tiny.evaluate(source / "sysu", tmp_path, 0) == 1
    assert "was trained on data_hash" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("to", "other", "said"),
    [
        ("data", "data", "has the layout regdb of the test images"),
        ("data", "sysu", "was trained on data_hash"),
    ],
)
def test_a_wrong_data_set_is_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], to: str, other: str, said: str
) -> None:
    """This covers the data set's own network, and one not trained on the named data set."""
    assert transfer(source, tmp_path, to=to, other=other) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "metrics.json").exists()
