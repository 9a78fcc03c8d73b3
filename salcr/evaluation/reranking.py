"""Re-rankings of a gallery: CMFP at test, AIM and CMRR.

The distance of a query and an image depends on the rest of the gallery and, in `cmfp` and `cmrr`,
on the other queries (transductive), so figures with them are reported apart from plain ones.
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

# CMRR re-ranks each modality by itself with these, whatever its k (METHOD 4.3).
_WITHIN_K2 = 6
_WITHIN_WEIGHT = 0.3  # of the original distance


def cmfp(query: Floats, gallery: Floats, *, k: int) -> Floats:
    """Return the squared Euclidean distance of features that were propagated (CMFP, METHOD 4.3).

    Args:
        query: [Q, D], unit rows of one modality.
        gallery: [G, D], unit rows of the other.
        k: entries kept in a row of a block of cosines (published: 30 SYSU-MM01, 8 RegDB).

    Returns:
        [Q, G] float32 in [0, 4], smaller is closer; transductive.
    """
    return _distance(*propagate(query, gallery, k=k))


def aim(query: Floats, gallery: Floats, *, k1: int, k2: int) -> Floats:
    """Return minus the cosine of two images' similarities to the gallery, minus their own (AIM).

    With A = query galleryᵀ and B = gallery galleryᵀ, each row cut to its largest entries, and B
    averaged over neighbors, the distance is -(A Bᵀ) - query galleryᵀ, rows of A and B of length
    1 (METHOD 4.3).

    Args:
        query: [Q, D], unit rows.
        gallery: [G, D], unit rows.
        k1: entries of a row that stay, ties with the last of them too; all, where G is smaller.
        k2: gallery images, the image itself included, over whose rows of B is averaged.

    Returns:
        [Q, G] float32 in [-2, 2], smaller is closer. Queries do not depend on each other.
    """
    similarity = query @ gallery.T
    within = gallery @ gallery.T
    neighbors = _nearest(-within, k2)
    mean = average_encodings(sparse.csr_matrix(_largest(within, k1)), neighbors).toarray()
    shared = unit_rows(_largest(similarity, k1)) @ unit_rows(mean).T
    return np.asarray(-shared - similarity, dtype=np.float32)


def cmrr(query: Floats, gallery: Floats, *, k: int, eta: float = 0.1) -> Floats:
    """Return the cross-modality re-ranking's distance (CMRR, METHOD 4.3).

    Each image is encoded by its k-reciprocal neighbors among the queries and in the gallery;
    the distance is (1 - eta) J + eta d, with J the Jaccard distance of two encodings and d the
    squared Euclidean distance.

    Args:
        query: [Q, D], unit rows of one modality.
        gallery: [G, D], unit rows of the other.
        k: neighbors (published: 15 SYSU-MM01, 8 RegDB); sets hold k + 1, all where there are
            fewer images.
        eta: weight of the distance that is not re-ranked, 0 .. 1.

    Returns:
        [Q, G] float32 in [0, 1 + 3 eta], smaller is closer; transductive.
    """
    across = _distance(query, gallery)
    ranks = [_ranks_within(_scaled(_distance(rows, rows)), k) for rows in (query, gallery)]
    encodings = []
    for own, rows in enumerate((query, gallery)):
        toward = []
        for other, columns in enumerate((query, gallery)):
            distance = _scaled(_distance(rows, columns))
            if own == other:
                forward = backward = ranks[own][:, : k + 1]
            else:
                forward = _nearest(distance, k + 1)
                backward = _nearest(_scaled(_distance(columns, rows)), k + 1)
            near = reciprocal_neighbors(forward, backward)
            toward.append(_encoded(distance, near, ranks[other], ranks[own][:, :k], k))
        encodings.append(_half(_rows_of_sum_one(sparse.hstack(toward, format="csr"))))
    jaccard = _half_jaccard(*encodings).astype(np.float32)
    return np.asarray((1 - eta) * jaccard + eta * across, dtype=np.float32)


def _ranks_within(distance: Floats, k: int) -> Integers:
    """Return [N, min(N, k + 1)] neighbors after a k-reciprocal re-ranking of one modality."""
    distance = _scaled(distance).T
    ranks = _nearest(distance, k + 1)
    near = reciprocal_neighbors(ranks, ranks)
    averaged_over = _nearest(distance, _WITHIN_K2)
    encodings = _encoded(distance, near, ranks, averaged_over, k)
    # float16 times a Python number stays float16: near ties in D' depend on it.
    jaccard = _half_jaccard(encodings, encodings) * (1 - _WITHIN_WEIGHT)
    return _nearest(jaccard + _WITHIN_WEIGHT * distance, k + 1)


def _encoded(
    distance: Floats, near: sparse.csr_matrix, ranks: Integers, averaged_over: Integers, k: int
) -> sparse.csr_matrix:
    """Return the encodings of rows over columns, [X, Y], values of float16.

    Args:
        distance: [X, Y].
        near: [X, Y], the mutual neighbors R.
        ranks: [Y, at least round(k / 2) + 1 or all], the columns' neighbors among themselves.
        averaged_over: [X, n], rows whose encodings are averaged.
        k: decides the size of the sets that may join.
    """
    first = ranks[:, : round(k / 2) + 1]
    pairs = expand_sets(near, reciprocal_neighbors(first, first)).tocoo()
    weights = softmax_rows(pairs, distance[pairs.row, pairs.col])
    return _half(average_encodings(_half(weights), averaged_over))


def _half_jaccard(encodings: sparse.csr_matrix, others: sparse.csr_matrix) -> NDArray[np.float16]:
    """Return 1 - m / (2 - m), [X, Y], m the sum of minima of two rows, in float16.

    Column after column and with each sum rounded, as released: the ranks of near neighbors
    differ otherwise. The loop is over columns, each with its few rows.
    """
    shared = np.zeros((encodings.shape[0], others.shape[0]), dtype=np.float16)
    first, second = encodings.tocsc(), others.tocsc()
    values = [side.data.astype(np.float16) for side in (first, second)]
    for column in range(first.shape[1]):
        one = slice(first.indptr[column], first.indptr[column + 1])
        two = slice(second.indptr[column], second.indptr[column + 1])
        block = np.ix_(first.indices[one], second.indices[two])
        shared[block] += np.minimum.outer(values[0][one], values[1][two])
    jaccard: NDArray[np.float16] = 1 - shared / (2 - shared)
    return jaccard


def _half(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return float32 values rounded to float16, in which scipy's products do not work."""
    rounded = matrix.copy()
    rounded.data = matrix.data.astype(np.float16).astype(np.float32)
    return rounded


def _rows_of_sum_one(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    totals = np.asarray(matrix.sum(axis=1)).ravel()
    return sparse.csr_matrix(sparse.diags(1 / totals) @ matrix, dtype=np.float32)


def _distance(rows: Floats, others: Floats) -> Floats:
    """Return squared Euclidean distances, [X, Y] float32, none below 0."""
    return np.maximum(squared_distance(rows, others), 0).astype(np.float32)


def _scaled(distance: Floats) -> Floats:
    """Return the distances divided by the largest of their column; a column of zeros stays."""
    largest = distance.max(axis=0)
    return distance / np.maximum(largest, np.finfo(np.float32).tiny)


def _nearest(distance: NDArray[np.floating], k: int) -> Integers:
    """Return the first k columns, or all, of each row in order of distance."""
    return np.argsort(distance, axis=1, kind="stable")[:, :k]


def _largest(similarity: Floats, k: int) -> Floats:
    """Return the matrix with 0 for entries below the k-th largest of their row."""
    place = max(0, similarity.shape[1] - k)
    threshold = np.partition(similarity, place, axis=1)[:, place, None]
    return np.where(similarity >= threshold, similarity, np.float32(0))
