"""Re-rankings of a gallery: CMFP at test time, AIM and CMRR.

The distance of a query and an image depends on the rest of the gallery and, in `cmfp` and `cmrr`,
on the other queries (transductive), so results with them are reported separately.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from salcr.pseudo_labels.propagation import propagate
from salcr.pseudo_labels.reciprocal import (
    average_encodings,
    expand_sets,
    reciprocal_neighbors,
    softmax_rows,
)
from salcr.pseudo_labels.vectors import squared_distance, unit_rows
from salcr.types import Floats, Integers

# Constants of CMRR's re-ranking within each modality, for any k (METHOD 4.3).
_WITHIN_K2 = 6
_WITHIN_WEIGHT = 0.3  # of the original distance


def cmfp(query: Floats, gallery: Floats, *, k: int) -> Floats:
    """Return the squared Euclidean distance of propagated features (CMFP, METHOD 4.3).

    Args:
        query: [Q, D], unit rows of one modality.
        gallery: [G, D], unit rows of the other.
        k: entries kept per row of a block of cosines (published: 30 SYSU-MM01, 8 RegDB).

    Returns:
        [Q, G] float32 in [0, 4], smaller is closer; transductive.
    """
    return _distance(*propagate(query, gallery, k=k))


def aim(query: Floats, gallery: Floats, *, k1: int, k2: int) -> Floats:
    """Return minus the cosine of features and that of their similarities to the gallery (AIM).

    A = query galleryᵀ and B = gallery galleryᵀ, where only the largest entries of each row are
    kept and B is averaged over neighbors. With rows of A and B normalized, the distance is
    -(A Bᵀ) - query galleryᵀ (METHOD 4.3).

    Args:
        query: [Q, D], unit rows.
        gallery: [G, D], unit rows.
        k1: entries kept per row, and ties with the last of them; all, if G is smaller.
        k2: neighbors, including the image itself, over which the rows of B are averaged.

    Returns:
        [Q, G] float32 in [-2, 2], smaller is closer; independent of the other queries.
    """
    similarity = query @ gallery.T
    within = gallery @ gallery.T
    neighbors = _nearest(-within, k2)
    mean = average_encodings(sparse.csr_matrix(_keep_largest(within, k1)), neighbors).toarray()
    shared = unit_rows(_keep_largest(similarity, k1)) @ unit_rows(mean).T
    return np.asarray(-shared - similarity, dtype=np.float32)


def cmrr(query: Floats, gallery: Floats, *, k: int, eta: float = 0.1) -> Floats:
    """Return the distance of cross-modality re-ranking (CMRR, METHOD 4.3).

    Each image is encoded by its k-reciprocal neighbors among the queries and in the gallery;
    the distance is (1 - eta) J + eta d, with the Jaccard distance J of two encodings and the
    squared Euclidean distance d.

    Args:
        query: [Q, D], unit rows of one modality.
        gallery: [G, D], unit rows of the other.
        k: neighbors (published: 15 SYSU-MM01, 8 RegDB); sets have k + 1 images, or all if there
            are fewer.
        eta: weight of the original distance, in [0, 1].

    Returns:
        [Q, G] float32 in [0, 1 + 3 eta], smaller is closer; transductive.
    """
    across = _distance(query, gallery)
    ranks = [
        _ranks_within(_divide_by_maxima(_distance(rows, rows)), k) for rows in (query, gallery)
    ]
    encodings = []
    for own, rows in enumerate((query, gallery)):
        blocks = []
        for other, columns in enumerate((query, gallery)):
            distance = _divide_by_maxima(_distance(rows, columns))
            if own == other:
                forward = backward = ranks[own][:, : k + 1]
            else:
                forward = _nearest(distance, k + 1)
                backward = _nearest(_divide_by_maxima(_distance(columns, rows)), k + 1)
            sets = reciprocal_neighbors(forward, backward)
            blocks.append(_encode(distance, sets, ranks[other], ranks[own][:, :k], k))
        encodings.append(_half(_normalize_sums(sparse.hstack(blocks, format="csr"))))
    jaccard = _half_jaccard(*encodings).astype(np.float32)
    return np.asarray((1 - eta) * jaccard + eta * across, dtype=np.float32)


def _ranks_within(distance: Floats, k: int) -> Integers:
    """Return [N, min(N, k + 1)] neighbors after a k-reciprocal re-ranking of one modality."""
    distance = _divide_by_maxima(distance).T
    ranks = _nearest(distance, k + 1)
    sets = reciprocal_neighbors(ranks, ranks)
    neighbors = _nearest(distance, _WITHIN_K2)
    encodings = _encode(distance, sets, ranks, neighbors, k)
    # float16 times a Python number is float16: the order of almost equal distances depends on it.
    jaccard = _half_jaccard(encodings, encodings) * (1 - _WITHIN_WEIGHT)
    return _nearest(jaccard + _WITHIN_WEIGHT * distance, k + 1)


def _encode(
    distance: Floats, sets: sparse.csr_matrix, ranks: Integers, neighbors: Integers, k: int
) -> sparse.csr_matrix:
    """Return the encodings of rows over columns, [X, Y], values of float16.

    Args:
        distance: [X, Y].
        sets: [X, Y], the mutual neighbors R.
        ranks: [Y, round(k / 2) + 1 or more, or all], the columns' neighbors among themselves.
        neighbors: [X, n], rows whose encodings are averaged.
        k: determines the size of the sets with which R is expanded.
    """
    half = ranks[:, : round(k / 2) + 1]
    pairs = expand_sets(sets, reciprocal_neighbors(half, half)).tocoo()
    weights = softmax_rows(pairs, distance[pairs.row, pairs.col])
    return _half(average_encodings(_half(weights), neighbors))


def _half_jaccard(encodings: sparse.csr_matrix, others: sparse.csr_matrix) -> NDArray[np.float16]:
    """Return 1 - m / (2 - m), [X, Y], m the sum of minima of two rows, in float16.

    As in the released code, minima are added column by column and each sum is rounded; the ranks
    of close neighbors depend on it. The loop is over columns, each with its few rows.
    """
    shared = np.zeros((encodings.shape[0], others.shape[0]), dtype=np.float16)
    first, second = encodings.tocsc(), others.tocsc()
    values = [side.data.astype(np.float16) for side in (first, second)]
    for column in range(first.shape[1]):
        in_first = slice(first.indptr[column], first.indptr[column + 1])
        in_second = slice(second.indptr[column], second.indptr[column + 1])
        block = np.ix_(first.indices[in_first], second.indices[in_second])
        shared[block] += np.minimum.outer(values[0][in_first], values[1][in_second])
    jaccard: NDArray[np.float16] = 1 - shared / (2 - shared)
    return jaccard


def _half(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return float32 values that are rounded to float16, for which SciPy has no products."""
    rounded = matrix.copy()
    rounded.data = matrix.data.astype(np.float16).astype(np.float32)
    return rounded


def _normalize_sums(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    totals = np.asarray(matrix.sum(axis=1)).ravel()
    return sparse.csr_matrix(sparse.diags(1 / totals) @ matrix, dtype=np.float32)


def _distance(rows: Floats, others: Floats) -> Floats:
    """Return squared Euclidean distances, [X, Y] float32, not negative."""
    return np.maximum(squared_distance(rows, others), 0).astype(np.float32)


def _divide_by_maxima(distance: Floats) -> Floats:
    """Return the distances divided by the largest of their column; a column of zeros remains 0."""
    largest = distance.max(axis=0)
    return distance / np.maximum(largest, np.finfo(np.float32).tiny)


def _nearest(distance: NDArray[np.floating], k: int) -> Integers:
    """Return the k nearest columns, or all, of each row, in order of distance."""
    return np.argsort(distance, axis=1, kind="stable")[:, :k]


def _keep_largest(similarity: Floats, k: int) -> Floats:
    """Return the matrix with entries below the k-th largest of their row set to 0."""
    position = max(0, similarity.shape[1] - k)
    threshold = np.partition(similarity, position, axis=1)[:, position, None]
    return np.where(similarity >= threshold, similarity, np.float32(0))
