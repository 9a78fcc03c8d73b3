"""The benchmark: both sides of its rows compute the same, and its measurements are real."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__, clustering, growth, loading, search
from benchmarks import plain_clustering as plain
from benchmarks.row import measure_call
from salcr.pseudo_labels.neighbors import nearest_within


def test_dense_formulation_of_a_round_finds_the_same_labels() -> None:
    """Clusters and all labels of a round equal those of dense matrices, and clusters exist."""
    data = clustering.sample_images(500, 430, width=64)
    ours, theirs = clustering._ours_round(data), clustering._plain_round(data)
    assert ours[0].max() >= 9 and ours[1].max() >= 7
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_searches_of_the_benchmark_agree() -> None:
    """faiss, a dense ranking and our search return the same neighbors in the same order."""
    features = clustering.sample_images(400, 0, width=64).visible
    ours = nearest_within(features, 30).indices
    np.testing.assert_array_equal(ours, plain.search(features, 30))
    np.testing.assert_array_equal(ours, plain.ranking(features, 30))


def test_disagreement_is_detected() -> None:
    """Two merged clusters, a split one, or labels of too many images do not pass."""
    labels = np.repeat(np.arange(10), 50)
    clustering._same_partition(labels, (labels + 3) % 10)
    for other in (np.minimum(labels, 8), np.where(np.arange(500) < 20, -1, labels)):
        for pair in ((labels, other), (other, labels)):
            with pytest.raises(AssertionError):
                clustering._same_partition(*pair)
    with pytest.raises(AssertionError):
        clustering._same_labels((labels,), ((labels + 3) % 10,))


def test_pictures_of_the_benchmark_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are images, the same with two processes, and others do not pass."""
    monkeypatch.setattr(loading, "_PICTURES", 20)
    folder = loading._prepare_pictures()
    ours, plain = (loading._read(folder, processes=count) for count in (2, 1))
    loading._agree(ours, plain)
    with pytest.raises(AssertionError):
        loading._agree(ours[::-1], plain)
    folder.kept.cleanup()


def test_peak_memory_is_that_of_the_computation() -> None:
    """An array of 256 MB that is freed before the end is included in the peak."""
    result, seconds, peak = measure_call(lambda: float(np.ones(2**25).sum()))
    assert result == 2**25 and seconds > 0
    assert 0.2 < peak < 0.5


def test_a_size_is_measured() -> None:
    """Clustering some images takes measurable time, and less memory than a gigabyte."""
    measured = growth.measure_clustering(200)
    assert measured["images"] == 200 and measured["seconds"] > 0 and 0 <= measured["peak_gb"] < 1


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_an_index_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Of random clusters whose nearest neighbors are the same person; all numbers are there."""
    monkeypatch.chdir(tmp_path)
    rows = np.concatenate(list(search.make_blocks(3000, 64)))
    best = (rows[:1500] @ rows[1500:].T).argmax(axis=1) + 1500
    assert np.mean(best % 150 == np.arange(1500) % 150) > 0.99
    measured = search.measure_kind(kind, 3000, 1, width=64)
    assert measured["factory"] == {"flat": "Flat", "hnsw": "HNSW32"}[kind]
    assert measured["recall_at_1"] >= 0.95 and measured["recall_at_10"] >= 0.95
    assert measured["queries_per_second"] > 0 and measured["build_seconds"] > 0
    assert measured["disk_gb"] == pytest.approx(3000 * 64 * 4 / 2**30, rel=1.5)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_growth_joins_the_rows_in_the_file(tmp_path, monkeypatch, capsys) -> None:
    """Sizes are clustered in separate processes and added to the existing rows."""
    monkeypatch.setattr(__main__, "SIZES", (200, 300))
    out = tmp_path / "bench.json"
    out.write_text(json.dumps({"rows": [1]}))
    monkeypatch.setattr("sys.argv", ["benchmarks", "--growth", "--threads", "1", "--out", str(out)])
    assert __main__.main() == 0
    written = json.loads(out.read_text())
    assert written["rows"] == [1] and written["growth"]["threads"] == 1
    assert [one["images"] for one in written["growth"]["sizes"]] == [200, 300]
    assert all(one["seconds"] > 0 for one in written["growth"]["sizes"])


@pytest.mark.slow
def test_a_failed_size_is_named() -> None:
    """A number of images that cannot be clustered stops the table."""
    with pytest.raises(RuntimeError, match="clustering -1 images failed"):
        growth.measure_growth([-1], threads=1)
