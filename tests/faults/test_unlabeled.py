"""Training images whose person is unknown: label -1. They train; what needs identities says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from salcr import files
from salcr.data.store import read_summary
from tests.support import faults, tiny


def forget(directory: Path, words: list[str], *, every: int) -> None:
    """Take the label from every n-th line of training lists, and preprocess again."""
    for word in words:
        for path in directory.glob(f"raw/idx/train_{word}_?.txt"):
            lines = [line.rsplit(" ", 1) for line in path.read_text().splitlines()]
            new = [
                "-1" if number % every == 0 else label for number, (_, label) in enumerate(lines)
            ]
            text = [f"{name} {label}\n" for (name, _), label in zip(lines, new, strict=True)]
            path.write_text("".join(text))
    assert tiny.run(*faults.words("preprocess", directory)) == 0


@pytest.fixture
def run_copy(complete_run: Path, tmp_path: Path) -> Path:
    """Return a copy of a run, whose networks do not depend on labels, that a test may change."""
    return faults.copy_run(complete_run, tmp_path / "copy")


def read_quality(directory: Path) -> dict[str, Any]:
    """Return the scores of the only round: label space -> scores."""
    (quality,) = files.read_json(directory / faults.OUT / "label_quality.json")["rounds"]
    return dict(quality)


def measure(directory: Path) -> None:
    """Run what compares pseudo-labels with identities, and the figures of it."""
    for stage in ("label_quality", "cluster_centers", "aggregate"):
        assert tiny.run(*faults.words(stage, directory)) == 0, stage
    sources = {
        "label_quality": directory / faults.TABLES / "label_quality.csv",
        "cluster_centers": directory / faults.OUT / "round01/cluster_centers.csv",
    }
    for figure, source in sources.items():
        words = ["--figure", figure, "--sources", source, "--data", directory / "data"]
        paths = ["--png", directory / f"{figure}.png", "--pdf", directory / f"{figure}.pdf"]
        assert tiny.run("plot", *words, *paths) == 0, figure


def test_images_are_stored_as_with_labels(complete_run: Path, run_copy: Path) -> None:
    """Arrays, manifest and the hash that ties networks to them are equal; the summary counts."""
    forget(run_copy, ["visible"], every=1)
    for name in ("visible.npy", "infrared.npy", "manifest.csv"):
        same = (run_copy / "data" / name).read_bytes()
        assert same == (complete_run / "data" / name).read_bytes()
    hashes = {read_summary(run / "data")["data_hash"] for run in (run_copy, complete_run)}
    assert len(hashes) == 1
    table = pd.read_csv(run_copy / "data/identities.csv")
    unknown = (table["split"] == "train") & (table["modality"] == "visible")
    assert (table["identity"] == -1).equals(unknown)
    images = pd.read_csv(run_copy / "data/manifest.csv")[unknown]["file"].nunique()
    summary = files.read_json(run_copy / "data/preprocess.json")
    assert summary["unlabeled"] == {"visible": images, "infrared": 0}
    assert "unlabeled" not in files.read_json(complete_run / "data/preprocess.json")


def test_without_any_label_nothing_is_compared(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers of clusters and outliers remain, log, table and figures say why; no score is left."""
    before = read_quality(run_copy)
    forget(run_copy, ["visible", "thermal"], every=1)
    measure(run_copy)
    after = read_quality(run_copy)
    for space, scores in after.items():
        kept = {name: before[space][name] for name in ("num_clusters", "outliers")}
        assert scores == {**kept, "known": 0}
    table = pd.read_csv(run_copy / faults.TABLES / "label_quality.csv")
    columns = ["variant", "round", "trial", "space", "num_clusters", "outliers", "known"]
    assert list(table) == columns and (table["known"] == 0).all()
    centers = pd.read_csv(run_copy / faults.OUT / "round01/cluster_centers.csv")
    assert (centers[["identity", "nearest_identity"]] == -1).all(axis=None)
    text = capsys.readouterr().err
    assert "the identity of 0.0% of the training images is known: there is nothing to" in text
    assert "before CMFP: the people of the centers and of the nearest ones are unknown" in text


def test_with_some_labels_these_are_compared(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two thirds are known: the share is in log and table, and scores are there."""
    forget(run_copy, ["visible", "thermal"], every=3)
    measure(run_copy)
    table = pd.read_csv(run_copy / faults.TABLES / "label_quality.csv")
    assert table["known"].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert table[["ari", "pair_recall"]].notna().all(axis=None)
    assert "66.7% of the training images is known: scores are of these" in capsys.readouterr().err
