"""K-reciprocal neighbors and their encodings, for the clustering and the re-rankings."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from salcr.types import Floats, Integers


def mutual_neighbors(neighbors: Integers) -> sparse.csr_matrix:
    """Return the 0/1 matrix of mutual neighbors within a set, [N, N], with ones on the diagonal.

    Among many equal images a search may leave out the query itself, hence the diagonal.

    Args:
        neighbors: [N, k], the neighbors of each image.
    """
    itself = sparse.identity(len(neighbors), dtype=np.float32)
    return sparse.csr_matrix(reciprocal_neighbors(neighbors, neighbors).maximum(itself))


def reciprocal_neighbors(forward: Integers, backward: Integers) -> sparse.csr_matrix:
    """Return the 0/1 matrix of mutual neighbors between two sets.

    Args:
        forward: [N, k], the neighbors of each of N rows among M others, without repeats.
        backward: [M, k'], the neighbors of each of these among the N rows.

    Returns:
        [N, M], 1 where each is among the other's neighbors.
    """
    forward_pairs = _membership(forward, len(backward))
    backward_pairs = _membership(backward, len(forward))
    return sparse.csr_matrix(forward_pairs.multiply(backward_pairs.T))


def expand_sets(sets: sparse.csr_matrix, half: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the expanded k-reciprocal sets R* as a pattern.

    R*(i) is the union of R(i) and of R_half(c) for every c in R(i) with more than two thirds of
    R_half(c) in R(i).

    Args:
        sets: [N, M], the sets R as `reciprocal_neighbors` returns them.
        half: [M, M], the sets R_half of the columns among themselves.

    Returns:
        [N, M], positive inside the sets, not stored elsewhere.
    """
    common = sparse.coo_matrix((sets @ half.T).multiply(sets))
    half_size = np.asarray(half.sum(axis=1)).ravel()
    joins = common.data > 2 / 3 * half_size[common.col]
    candidates = sparse.csr_matrix(
        (np.ones(joins.sum(), np.float32), (common.row[joins], common.col[joins])),
        shape=sets.shape,
    )
    return sparse.csr_matrix(sets + candidates @ half)


def softmax_rows(pairs: sparse.coo_matrix, distance: Floats) -> sparse.csr_matrix:
    """Return softmax(-distance) over each row's stored pairs, a float32 matrix.

    Args:
        pairs: [N, M], each pair stored once; a row may be empty.
        distance: of each stored pair, in their order.

    Returns:
        [N, M], rows of sum 1; empty rows remain empty.
    """
    weights = np.exp(-distance)
    totals = np.bincount(pairs.row, weights, minlength=pairs.shape[0])
    normalized = (weights / totals[pairs.row]).astype(np.float32)
    return sparse.csr_matrix((normalized, (pairs.row, pairs.col)), shape=pairs.shape)


def average_encodings(encodings: sparse.csr_matrix, neighbors: Integers) -> sparse.csr_matrix:
    """Return the mean encoding of each row's neighbors, [N, M].

    Args:
        encodings: [N, M].
        neighbors: [N, k], rows of `encodings`.
    """
    total = _membership(neighbors, len(neighbors)) @ encodings
    return sparse.csr_matrix(total / neighbors.shape[1], dtype=np.float32)


def _membership(neighbors: Integers, num_columns: int) -> sparse.csr_matrix:
    """Return the [N, M] 0/1 matrix with a 1 where column j is among row i's neighbors."""
    num_rows, k = neighbors.shape
    start = np.arange(0, num_rows * k + 1, k)
    ones = np.ones(neighbors.size, dtype=np.float32)
    return sparse.csr_matrix((ones, neighbors.ravel(), start), shape=(num_rows, num_columns))
