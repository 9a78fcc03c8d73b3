"""Retrieval metrics and label quality, against the released code, loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salcr.evaluation.metrics import Retrieval, retrieval_metrics
from tests.support.helpers import close


def excluded_pairs(data: dict[str, np.ndarray], rules: str) -> np.ndarray | None:
    """Return which gallery images are excluded for each query."""
    if rules == "sysu":
        return (data["query_camera"][:, None] == 3) & (data["gallery_camera"] == 2)
    if rules == "llcm":
        same_camera = data["llcm_query_camera"][:, None] == data["gallery_camera"]
        return same_camera & (data["query_id"][:, None] == data["gallery_id"])
    return None


def slow_metrics(
    distance: np.ndarray,
    query: np.ndarray,
    gallery: np.ndarray,
    excluded: np.ndarray,
    identity_once: bool,
) -> tuple[list[float], float, float]:
    """Return CMC, mAP and mINP by walking down the list of each query."""
    limit = len(set(gallery.tolist())) if identity_once else len(gallery)
    ranks, precisions, penalties = [], [], []
    for row, identity, hidden in zip(distance, query, excluded, strict=True):
        seen = [g for g in range(len(gallery)) if not hidden[g]]
        names = [int(gallery[g]) for g in sorted(seen, key=lambda g: (row[g], g))]
        positions = [position for position, name in enumerate(names, 1) if name == identity]
        if not positions:
            continue
        before = names[: positions[0] - 1]
        ranks.append(1 + (len(set(before)) if identity_once else len(before)))
        precisions.append(np.mean([hit / position for hit, position in enumerate(positions, 1)]))
        penalties.append(len(positions) / positions[-1])
    cmc = [float(np.mean([rank <= r for rank in ranks])) for r in range(1, limit + 1)]
    return cmc[:20], float(np.mean(precisions)), float(np.mean(penalties))


@pytest.mark.parametrize("rules", ["regdb", "sysu", "llcm"])
def test_metrics_match_the_released_code(golden, rules):
    """CMC, mAP and mINP equal those of the released code under the rules of each data set."""
    data = golden("metrics")
    metrics = retrieval_metrics(
        data["distance"],
        data["query_id"],
        data["gallery_id"],
        excluded=excluded_pairs(data, rules),
        identity_once=rules != "regdb",
    )
    for key, value in metrics._asdict().items():
        close(value, data[f"{rules}_{key}"])


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.0, 0.3]), st.integers(2, 30))
def test_metrics_match_a_walk_down_the_list(seed, identity_once, share_excluded, size):
    """With ties, excluded images and queries without a match, the metrics equal the walk's."""
    rng = np.random.default_rng(seed)
    distance = rng.integers(0, 6, (8, size)) / 4  # few values: many ties
    query, gallery = rng.integers(0, 5, 8), rng.integers(0, 4, size)
    query[0], distance[0, 0], gallery[0] = 1, 0.5, 1
    excluded = rng.random((8, size)) < share_excluded
    excluded[0, 0] = False
    expected = slow_metrics(distance, query, gallery, excluded, identity_once)
    metrics = retrieval_metrics(
        distance, query, gallery, excluded=excluded, identity_once=identity_once
    )
    for value, expected_value in zip(metrics, expected, strict=True):
        close(value, expected_value, rtol=1e-9)


@pytest.mark.parametrize("identity_once", [False, True])
def test_a_perfect_ranking_scores_one(rng, identity_once):
    """If all matches come first, every metric is 1."""
    query, gallery = np.arange(4), np.repeat(np.arange(4), 3)
    distance = (query[:, None] != gallery) + 0.5 * rng.random((4, 12))
    metrics = retrieval_metrics(distance, query, gallery, identity_once=identity_once)
    assert metrics.cmc.tolist() == [1.0] * (4 if identity_once else 12)
    assert (metrics.map, metrics.minp) == (1.0, 1.0)


def test_the_worst_ranking_by_hand():
    """Two matches at the last two of four ranks: CMC from rank 3, mAP 5/12, mINP 1/2."""
    distance = np.array([[0.1, 0.2, 0.3, 0.4]])
    query, gallery = np.array([7]), np.array([1, 1, 7, 7])
    metrics = retrieval_metrics(distance, query, gallery)
    assert metrics.cmc.tolist() == [0, 0, 1, 1]
    close([metrics.map, metrics.minp], [(1 / 3 + 2 / 4) / 2, 0.5], rtol=1e-12)
    once = retrieval_metrics(distance, query, gallery, identity_once=True)
    assert once.cmc.tolist() == [0, 1]


def same(first: Retrieval, second: Retrieval) -> None:
    """Assert that two results agree, with the CMC compared up to the shorter length."""
    ranks = min(len(first.cmc), len(second.cmc))
    close(first.cmc[:ranks], second.cmc[:ranks], rtol=1e-12)
    close(first[1:], second[1:], rtol=1e-12)


@pytest.mark.parametrize("identity_once", [False, True])
def test_excluded_images_do_not_count(rng, identity_once):
    """Excluding images for all queries is the same as removing them from the gallery."""
    distance = rng.random((20, 30))
    query, gallery = rng.integers(0, 5, 20), np.arange(30) % 5
    hidden = np.arange(30) % 4 == 1
    excluded = np.broadcast_to(hidden, distance.shape)
    shortened = retrieval_metrics(
        distance[:, ~hidden], query, gallery[~hidden], identity_once=identity_once
    )
    metrics = retrieval_metrics(
        distance, query, gallery, excluded=excluded, identity_once=identity_once
    )
    same(metrics, shortened)
    assert metrics.map != retrieval_metrics(distance, query, gallery).map


def test_ties_go_to_the_smaller_gallery_index():
    """At equal distances the order of the gallery decides."""
    distance, query = np.zeros((1, 2)), np.array([1])
    assert retrieval_metrics(distance, query, np.array([1, 2])).cmc.tolist() == [1, 1]
    assert retrieval_metrics(distance, query, np.array([2, 1])).cmc.tolist() == [0, 1]


def test_queries_without_a_match_are_left_out(rng):
    """An identity missing in the gallery changes no metric; if no query is left, it is an error."""
    distance = rng.random((6, 9))
    query, gallery = np.array([0, 1, 2, 0, 1, 2]), np.arange(9) % 3
    extended = np.vstack([distance, rng.random((1, 9))])
    metrics = retrieval_metrics(extended, np.append(query, 99), gallery)
    same(metrics, retrieval_metrics(distance, query, gallery))
    with pytest.raises(ValueError, match="no query identity"):
        retrieval_metrics(distance, query + 100, gallery)
    with pytest.raises(ValueError, match="no query identity"):
        retrieval_metrics(distance, query, gallery, excluded=query[:, None] == gallery)
