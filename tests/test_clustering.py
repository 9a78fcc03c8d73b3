"""Jaccard distance, DBSCAN and cluster means, against the specification and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import canonical, close, groups, unit_rows
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.cluster import DBSCAN

from salcr import clustering


def full(distance: sparse.csr_matrix) -> np.ndarray:
    """Return the dense matrix, absent pairs at distance 1."""
    dense = np.ones(distance.shape, np.float64)
    pairs = distance.tocoo()
    dense[pairs.row, pairs.col] = pairs.data
    return dense


def stored(dense: np.ndarray, below: float) -> sparse.csr_matrix:
    """Return the sparse matrix that holds, zeros included, all entries less than `below`."""
    rows, columns = np.nonzero(dense < below)
    return sparse.csr_matrix((dense[rows, columns], (rows, columns)), shape=dense.shape)


def slow_encodings(features: np.ndarray, k1: int) -> np.ndarray:
    """Return METHOD 2.2's weights on the expanded reciprocal sets, image by image."""
    cosine = features.astype(np.float64) @ features.T.astype(np.float64)
    ranking = np.argsort(-cosine, axis=1, kind="stable")

    def mutual(image: int, size: int) -> set[int]:
        return {c for c in ranking[image, :size].tolist() if image in ranking[c, :size]}

    encodings = np.zeros_like(cosine)
    for image in range(len(features)):
        near = mutual(image, k1)
        expanded = set(near)
        for candidate in near:
            half = mutual(candidate, round(k1 / 2) + 1)
            if 3 * len(half & near) > 2 * len(half):
                expanded |= half
        members = sorted(expanded)
        weights = np.exp(-(2 - 2 * cosine[image, members]))
        encodings[image, members] = weights / weights.sum()
    return encodings


def slow_jaccard(features: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """Return METHOD 2.2's distance, pair by pair."""
    cosine = features.astype(np.float64) @ features.T.astype(np.float64)
    ranking = np.argsort(-cosine, axis=1, kind="stable")[:, :k2]
    encodings = slow_encodings(features, k1)
    averaged = np.stack([encodings[near].mean(axis=0) for near in ranking])
    distance = np.empty_like(cosine)
    for i, j in np.ndindex(*distance.shape):
        shared = np.minimum(averaged[i], averaged[j]).sum()
        distance[i, j] = 1 - shared / (2 - shared)
    return distance


def test_jaccard_matches_the_released_code(golden):
    """The distance is that of the released code on clustered features."""
    data = golden("jaccard")
    found = clustering.jaccard_distance(data["features"], k1=int(data["k1"]), k2=int(data["k2"]))
    close(full(found), data["distance"])


@pytest.mark.parametrize(("eps", "name"), [(0.3, "labels_eps03"), (0.6, "labels_eps06")])
def test_clusters_match_the_released_code(golden, eps, name):
    """From features to clusters, both published radii give the released partition."""
    data = golden("jaccard")
    assert eps in data["dbscan_eps"]
    distance = clustering.jaccard_distance(data["features"], k1=30, k2=6)
    labels = clustering.dbscan(distance, eps=eps, min_samples=int(data["dbscan_min_samples"]))
    assert canonical(labels) == canonical(data[name])


@pytest.mark.parametrize(
    ("num_groups", "k1", "k2"),
    [(8, 10, 3), (8, 5, 2), (8, 7, 1), (6, 9, 6), (2, 30, 6), (1, 30, 9)],
)
def test_jaccard_matches_a_loop_over_sets(rng, num_groups, k1, k2):
    """The sparse algebra equals the set definition, also with fewer images than k1 or k2."""
    features = groups(rng, num_groups, 6, 12, 0.8)
    found = clustering.jaccard_distance(features, k1=k1, k2=k2)
    expected = slow_jaccard(features, k1, k2)
    close(full(found), expected)
    assert num_groups <= 2 or (expected > 0.999).any(), "no pair without a shared neighbour"


@given(st.integers(0, 10**6), st.integers(5, 40), st.integers(2, 12), st.integers(1, 6))
def test_jaccard_is_a_symmetric_dissimilarity(seed, num_images, k1, k2):
    """Distances lie in [0, 1], are symmetric and 0 to oneself, and a permutation carries over."""
    rng = np.random.default_rng(seed)
    features = unit_rows(rng, num_images, 6)
    distance = full(clustering.jaccard_distance(features, k1=k1, k2=k2))
    assert distance.min() >= 0 and distance.max() <= 1
    close(distance, distance.T)
    close(np.diag(distance), np.zeros(num_images))
    order = rng.permutation(num_images)
    permuted = full(clustering.jaccard_distance(features[order], k1=k1, k2=k2))
    close(permuted, distance[np.ix_(order, order)])


@pytest.mark.parametrize("elements", [1, 97, 1000])
def test_blocks_do_not_change_the_distance(monkeypatch, rng, elements):
    """The memory bound of the blocked loops has no effect on the result."""
    features = groups(rng, 7, 6, 10, 0.7)
    whole = full(clustering.jaccard_distance(features, k1=8, k2=3))
    monkeypatch.setattr(clustering, "_BLOCK_ELEMENTS", elements)
    close(full(clustering.jaccard_distance(features, k1=8, k2=3)), whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("num_images", [1, 4, 10, 40])
def test_equal_images_are_one_cluster(rng, num_images):
    """Copies of one image have distance 0, fewer than k1 or more; four of them are a cluster."""
    features = np.repeat(unit_rows(rng, 1, 16), num_images, axis=0)
    distance = clustering.jaccard_distance(features, k1=15, k2=4)
    close(full(distance), np.zeros((num_images, num_images)))
    labels = clustering.dbscan(distance, eps=0.3, min_samples=4)
    assert set(labels) == ({0} if num_images >= 4 else {-1})


def test_copies_of_two_images_are_two_clusters():
    """Two groups of copies share no neighbour: distance 0 inside and 1 across."""
    features = np.repeat(np.eye(2, 8, dtype=np.float32), 6, axis=0)
    distance = full(clustering.jaccard_distance(features, k1=6, k2=3))
    close(distance, 1 - np.kron(np.eye(2), np.ones((6, 6))))


def test_no_images_have_no_distances():
    """An empty modality gives an empty matrix and no labels."""
    distance = clustering.jaccard_distance(np.empty((0, 8), np.float32), k1=30, k2=6)
    assert distance.shape == (0, 0)
    assert clustering.dbscan(distance, eps=0.3, min_samples=4).shape == (0,)


@given(st.integers(0, 10**6), st.floats(0.05, 0.5), st.integers(1, 7))
def test_dbscan_labels_are_those_of_scikit_learn(seed, eps, min_samples):
    """Labels agree number by number on random points, border points and outliers included."""
    rng = np.random.default_rng(seed)
    points = rng.random((80, 2)) * rng.uniform(0.5, 3)
    dense = np.linalg.norm(points[:, None] - points, axis=2)
    expected = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(dense).labels_
    found = clustering.dbscan(stored(dense, 0.9), eps=eps, min_samples=min_samples)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(1, [0, 0, 0, 0, 0, 1, 1, 1, 1, -1]), (-1, [-1, 0, 0, 0, 0, 1, 1, 1, 1, 0])],
)
def test_a_border_point_joins_the_first_cluster_that_reaches_it(step, expected):
    """A border point between two clusters goes to the one with the smaller number."""
    points = np.array([5.0, 10, 9, 8, 7.5, 0, 1, 2, 2.5, 30])  # 5 is near 7.5 and 2.5 only
    dense = np.abs(points[::step, None] - points[::step])
    labels = clustering.dbscan(stored(dense, 20), eps=2.5, min_samples=4)
    assert labels.tolist() == expected


def test_dbscan_counts_the_radius_and_the_image_itself():
    """A distance equal to eps is near, and min_samples counts the image itself."""
    dense = np.array([[0, 0.5, 0.9], [0.5, 0, 0.9], [0.9, 0.9, 0]])
    labels = clustering.dbscan(stored(dense, 1), eps=0.5, min_samples=2)
    assert labels.tolist() == [0, 0, -1]
    assert clustering.dbscan(stored(dense, 1), eps=0.5, min_samples=3).tolist() == [-1] * 3
    assert clustering.dbscan(stored(dense, 1), eps=0.49, min_samples=2).tolist() == [-1] * 3


def test_nearest_neighbours_are_the_largest_inner_products(rng):
    """Neighbours equal a full sort of the inner products, capped at the database's size."""
    queries, database = unit_rows(rng, 9, 5), unit_rows(rng, 7, 5)
    products = queries @ database.T
    for k, kept in ((3, 3), (100, 7)):
        indices, similarities = clustering.nearest_neighbours(queries, database, k)
        np.testing.assert_array_equal(indices, np.argsort(-products, axis=1)[:, :kept])
        close(similarities, -np.sort(-products, axis=1)[:, :kept])


def test_cluster_means_leave_out_outliers(rng):
    """Means are plain averages of the members; an empty cluster's is 0."""
    features = rng.standard_normal((7, 4)).astype(np.float32)
    labels = np.array([0, -1, 2, 0, 2, 2, -1])
    expected = np.stack(
        [features[[0, 3]].mean(axis=0), np.zeros(4), features[[2, 4, 5]].mean(axis=0)]
    )
    close(clustering.cluster_means(features, labels), expected)
    padded = np.vstack([expected, np.zeros((1, 4))])
    close(clustering.cluster_means(features, labels, num_clusters=4), padded)


def test_all_outliers_have_no_means(rng):
    """Where nothing clusters there is no mean."""
    means = clustering.cluster_means(unit_rows(rng, 5, 3), np.full(5, -1))
    assert means.shape == (0, 3)


def test_many_equal_images_are_one_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """More duplicates than k1, in blocks of any size: distance 0 to itself, one cluster."""
    monkeypatch.setattr(clustering, "_BLOCK_ELEMENTS", 100)
    features = np.tile(np.eye(4, dtype=np.float32)[:1], (60, 1))
    for k2 in (1, 6):
        distance = clustering.jaccard_distance(features, k1=30, k2=k2)
        close(distance.diagonal(), np.zeros(60))
    assert (clustering.dbscan(distance, eps=0.6, min_samples=4) >= 0).any()
