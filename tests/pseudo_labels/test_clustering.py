"""Jaccard distance, DBSCAN and cluster means, against the specification and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.cluster import DBSCAN

from salcr.config.method import Clustering
from salcr.errors import SalcrError
from salcr.pseudo_labels import clustering
from salcr.pseudo_labels.clustering import cluster
from tests.support.helpers import canonical, close, groups, unit_rows

SETTINGS = Clustering(k1=10, k2=3, eps=0.5, min_samples=3)


def full(distance: sparse.csr_matrix) -> np.ndarray:
    """Return the dense matrix, with missing pairs at distance 1."""
    dense = np.ones(distance.shape, np.float64)
    pairs = distance.tocoo()
    dense[pairs.row, pairs.col] = pairs.data
    return dense


def stored(dense: np.ndarray, below: float) -> sparse.csr_matrix:
    """Return the sparse matrix of all entries less than `below`, including zeros."""
    rows, columns = np.nonzero(dense < below)
    return sparse.csr_matrix((dense[rows, columns], (rows, columns)), shape=dense.shape)


def slow_encodings(features: np.ndarray, k1: int) -> np.ndarray:
    """Return the weights of METHOD 2.2 on the expanded reciprocal sets, image by image."""
    cosine = features.astype(np.float64) @ features.T.astype(np.float64)
    ranking = np.argsort(-cosine, axis=1, kind="stable")

    def mutual(image: int, size: int) -> set[int]:
        return {c for c in ranking[image, :size].tolist() if image in ranking[c, :size]}

    encodings = np.zeros_like(cosine)
    for image in range(len(features)):
        reciprocal = mutual(image, k1)
        expanded = set(reciprocal)
        for candidate in reciprocal:
            half = mutual(candidate, round(k1 / 2) + 1)
            if 3 * len(half & reciprocal) > 2 * len(half):
                expanded |= half
        members = sorted(expanded)
        weights = np.exp(-(2 - 2 * cosine[image, members]))
        encodings[image, members] = weights / weights.sum()
    return encodings


def slow_jaccard(features: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """Return the distance of METHOD 2.2, pair by pair."""
    cosine = features.astype(np.float64) @ features.T.astype(np.float64)
    ranking = np.argsort(-cosine, axis=1, kind="stable")[:, :k2]
    encodings = slow_encodings(features, k1)
    averaged = np.stack([encodings[nearest].mean(axis=0) for nearest in ranking])
    distance = np.empty_like(cosine)
    for i, j in np.ndindex(*distance.shape):
        shared = np.minimum(averaged[i], averaged[j]).sum()
        distance[i, j] = 1 - shared / (2 - shared)
    return distance


def test_jaccard_matches_the_released_code(golden):
    """The distance equals that of the released code on clustered features."""
    data = golden("jaccard")
    distance = clustering.jaccard_distance(data["features"], k1=int(data["k1"]), k2=int(data["k2"]))
    close(full(distance), data["distance"])


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
    [(8, 10, 3), (8, 5, 2), (8, 7, 1), (6, 9, 6), (2, 30, 6), (1, 30, 9), (25, 8, 3)],
)
def test_jaccard_matches_a_loop_over_sets(rng, num_groups, k1, k2):
    """The sparse algebra equals the set definition, also with fewer images than k1 or k2."""
    features = groups(rng, num_groups, 6, 12, 0.8)
    distance = clustering.jaccard_distance(features, k1=k1, k2=k2)
    expected = slow_jaccard(features, k1, k2)
    close(full(distance), expected)
    assert num_groups <= 2 or (expected > 0.999).any(), "no pair without a shared neighbor"


@given(st.integers(0, 10**6), st.integers(5, 40), st.integers(2, 12), st.integers(1, 6))
def test_jaccard_is_a_symmetric_dissimilarity(seed, num_images, k1, k2):
    """Distances are in [0, 1], symmetric, 0 to oneself, and permuted with the images."""
    rng = np.random.default_rng(seed)
    features = unit_rows(rng, num_images, 6)
    distance = full(clustering.jaccard_distance(features, k1=k1, k2=k2))
    assert distance.min() >= 0 and distance.max() <= 1
    close(distance, distance.T)
    close(np.diag(distance), np.zeros(num_images))
    order = rng.permutation(num_images)
    permuted = full(clustering.jaccard_distance(features[order], k1=k1, k2=k2))
    close(permuted, distance[np.ix_(order, order)])


def test_ties_and_copies_match_a_loop_over_sets(rng):
    """With many equal cosines and duplicated images, neighborhoods prefer the smaller index."""
    signs = rng.choice(np.array([-0.25, 0.25], np.float32), (30, 16))
    features = np.concatenate([signs, signs])
    distance = clustering.jaccard_distance(features, k1=9, k2=3)
    close(full(distance), slow_jaccard(features, 9, 3))


def test_distances_beyond_the_largest_are_not_stored(rng):
    """A limit omits exactly the larger distances and changes no others."""
    features = groups(rng, 30, 9, 20, 0.5)
    complete = clustering.jaccard_distance(features, k1=12, k2=4).tocoo()
    distance = clustering.jaccard_distance(features, k1=12, k2=4, at_most=0.55)
    kept = complete.data <= np.float32(0.55)
    assert 0.1 < kept.mean() < 0.9
    expected = sparse.csr_matrix(
        (complete.data[kept], (complete.row[kept], complete.col[kept])), shape=complete.shape
    )
    assert distance.nnz == kept.sum() and (distance != expected).nnz == 0


def test_neighbors_may_be_given(rng):
    """Given neighbors, even more than needed, yield the same distance; too few are rejected."""
    features = groups(rng, 7, 6, 10, 0.7)
    cosine = features @ features.T
    given_ = np.argsort(-cosine, axis=1, kind="stable")
    distance = clustering.jaccard_distance(features, k1=8, k2=3, neighbors=given_[:, :20])
    close(full(distance), slow_jaccard(features, 8, 3))
    with pytest.raises(ValueError, match="7 neighbors of each image are fewer than k1 = 8"):
        clustering.jaccard_distance(features, k1=8, k2=3, neighbors=given_[:, :7])


@pytest.mark.parametrize("num_images", [1, 4, 10, 40])
def test_equal_images_are_one_cluster(rng, num_images):
    """Copies of one image have distance 0, whether fewer than k1 or more; four form a cluster."""
    features = np.repeat(unit_rows(rng, 1, 16), num_images, axis=0)
    distance = clustering.jaccard_distance(features, k1=15, k2=4)
    close(full(distance), np.zeros((num_images, num_images)))
    labels = clustering.dbscan(distance, eps=0.3, min_samples=4)
    assert set(labels) == ({0} if num_images >= 4 else {-1})


def test_copies_of_two_images_are_two_clusters():
    """Two groups of copies share no neighbor: the distance is 0 within and 1 between them."""
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
    """Labels are identical on random points, including border points and outliers."""
    rng = np.random.default_rng(seed)
    points = rng.random((80, 2)) * rng.uniform(0.5, 3)
    dense = np.linalg.norm(points[:, None] - points, axis=2)
    expected = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(dense).labels_
    labels = clustering.dbscan(stored(dense, 0.9), eps=eps, min_samples=min_samples)
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(1, [0, 0, 0, 0, 0, 1, 1, 1, 1, -1]), (-1, [-1, 0, 0, 0, 0, 1, 1, 1, 1, 0])],
)
def test_a_border_point_joins_the_first_cluster_that_reaches_it(step, expected):
    """A border point between two clusters joins the one with the smaller number."""
    points = np.array([5.0, 10, 9, 8, 7.5, 0, 1, 2, 2.5, 30])  # 5 is within 2.5 of only two
    dense = np.abs(points[::step, None] - points[::step])
    labels = clustering.dbscan(stored(dense, 20), eps=2.5, min_samples=4)
    assert labels.tolist() == expected


def test_dbscan_counts_the_radius_and_the_image_itself():
    """A distance equal to eps is within the radius, and min_samples counts the image itself."""
    dense = np.array([[0, 0.5, 0.9], [0.5, 0, 0.9], [0.9, 0.9, 0]])
    labels = clustering.dbscan(stored(dense, 1), eps=0.5, min_samples=2)
    assert labels.tolist() == [0, 0, -1]
    assert clustering.dbscan(stored(dense, 1), eps=0.5, min_samples=3).tolist() == [-1] * 3
    assert clustering.dbscan(stored(dense, 1), eps=0.49, min_samples=2).tolist() == [-1] * 3


def test_cluster_means_leave_out_outliers(rng):
    """Means are plain averages of the members; that of an empty cluster is 0."""
    features = rng.standard_normal((7, 4)).astype(np.float32)
    labels = np.array([0, -1, 2, 0, 2, 2, -1])
    expected = np.stack(
        [features[[0, 3]].mean(axis=0), np.zeros(4), features[[2, 4, 5]].mean(axis=0)]
    )
    close(clustering.cluster_means(features, labels), expected)
    padded = np.vstack([expected, np.zeros((1, 4))])
    close(clustering.cluster_means(features, labels, num_clusters=4), padded)


def test_all_outliers_have_no_means(rng):
    """If nothing is clustered, there are no means."""
    means = clustering.cluster_means(unit_rows(rng, 5, 3), np.full(5, -1))
    assert means.shape == (0, 3)


def test_more_equal_images_than_neighbors_are_one_cluster(rng):
    """All have the same k2 nearest images, the first ones: distance 0, and one cluster."""
    features = np.tile(unit_rows(rng, 1, 16), (400, 1))
    distance = clustering.jaccard_distance(features, k1=30, k2=6)
    close(full(distance), np.zeros((400, 400)))
    assert set(clustering.dbscan(distance, eps=0.6, min_samples=4)) == {0}


def test_without_averaging_only_the_first_equal_images_are_one_cluster():
    """With k2 = 1, images after the first k1 are neighbors of none: each has only itself."""
    features = np.tile(np.full(16, 0.25, np.float32), (60, 1))
    distance = clustering.jaccard_distance(features, k1=30, k2=1)
    close(distance.diagonal(), np.zeros(60))
    labels = clustering.dbscan(distance, eps=0.6, min_samples=4)
    assert labels.tolist() == [0] * 30 + [-1] * 30


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_have_no_distance(rng, value):
    """One non-finite number is rejected, because it would make the clusters meaningless."""
    features = unit_rows(rng, 8, 4)
    features[5, 2] = value
    with pytest.raises(ValueError, match="features must be finite"):
        clustering.jaccard_distance(features, k1=4, k2=2)


def test_clustering_no_images_is_refused(device):
    """A modality without images is named."""
    with pytest.raises(SalcrError, match="no infrared images"):
        cluster(torch.empty(0, 8, device=device), SETTINGS, "infrared")


def test_clusters_of_a_tensor_are_those_of_its_array(rng, device):
    """The labels do not depend on where the features are, or whether neighbors are precomputed."""
    features = groups(rng, 9, 8, 12, 0.5)
    distance = clustering.jaccard_distance(features, k1=10, k2=3, at_most=0.5)
    expected = clustering.dbscan(distance, eps=0.5, min_samples=3)
    tensor = torch.from_numpy(features).to(device)
    known = np.argsort(-(features @ features.T), axis=1, kind="stable")
    for neighbors in (None, known):
        labels = cluster(tensor, SETTINGS, "visible", neighbors=neighbors)
        np.testing.assert_array_equal(labels, expected)
    assert expected.max() > 3
