"""Clusters of one modality: Jaccard distance on k-reciprocal neighbours, then DBSCAN.

The method is that of docs/METHOD.md, sections 2.2 and 2.3. Everything is sparse: distances that
DBSCAN does not look at are not stored, so memory grows with the number of images, not with its
square.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from salcr.pseudo_labels.neighbors import nearest_within
from salcr.types import Floats, Integers


def jaccard_distance(
    features: Floats,
    *,
    k1: int,
    k2: int,
    at_most: float = 1.0,
    neighbours: Integers | None = None,
) -> sparse.csr_matrix:
    """Return the Jaccard distance of k-reciprocal encodings (Zhong et al., CVPR 2017).

    With V the encodings, d(i, j) = 1 - m / (2 - m) and m = sum_c min(V_ic, V_jc).

    Args:
        features: [N, D], unit rows.
        k1: size of the neighbourhoods, the image itself included.
        k2: neighbours whose encodings are averaged; 1 averages nothing.
        at_most: larger distances are not stored; DBSCAN needs none above its eps, and without
            them memory grows with the number of images.
        neighbours: [N, at least min(k1, N)] indices as `neighbours.nearest_within` returns them;
            None searches.

    Returns:
        [N, N] float32 in [0, 1], symmetric; pairs that share no neighbour, whose distance is 1,
        are not stored. With fewer than k1 images the neighbourhoods are all images.

    Raises:
        ValueError: a feature is not finite, or there are too few neighbours.
    """
    if len(features) == 0:
        return sparse.csr_matrix((0, 0), dtype=np.float32)
    if neighbours is None:
        neighbours = nearest_within(features, k1).indices
    if neighbours.shape[1] < min(k1, len(features)):
        raise ValueError(f"{neighbours.shape[1]} neighbours of each image are fewer than k1 = {k1}")
    neighbours = neighbours[:, :k1]
    near = neighbours[:, : round(k1 / 2) + 1]
    sets = expanded_sets(_mutual(neighbours), _mutual(near))
    pairs = sets.tocoo()
    encodings = softmax_rows(pairs, _squared_distance_of_pairs(features, pairs))
    if k2 > 1:
        encodings = averaged(encodings, neighbours[:, :k2])
    return _distance_of_encodings(encodings, at_most)


def dbscan(distance: sparse.csr_matrix, *, eps: float, min_samples: int) -> Integers:
    """Return DBSCAN's labels, numbered as scikit-learn numbers them; -1 marks an outlier.

    A connected-components formulation: clusters are the components of the core points, and a
    border point joins the first cluster that reaches it.

    Args:
        distance: [N, N] symmetric, as `jaccard_distance` returns it; absent entries are far.
        eps: largest distance of a neighbour.
        min_samples: neighbours, itself included, that make a core point.

    Returns:
        [N] labels, -1 or 0 .. K-1.
    """
    num_images = distance.shape[0]
    pairs = distance.tocoo()
    near = pairs.data <= eps
    rows, columns = pairs.row[near], pairs.col[near]
    is_core = np.bincount(rows, minlength=num_images) >= min_samples
    between_cores = is_core[rows] & is_core[columns]
    edges = (np.ones(between_cores.sum(), bool), (rows[between_cores], columns[between_cores]))
    graph = sparse.csr_matrix(edges, shape=(num_images, num_images))
    _, component = csgraph.connected_components(graph, directed=False)

    labels = np.full(num_images, num_images, dtype=np.int64)
    cores = np.flatnonzero(is_core)
    _, first, inverse = np.unique(component[cores], return_index=True, return_inverse=True)
    labels[cores] = np.argsort(np.argsort(first))[inverse]  # numbered by their first core point
    reaches = is_core[columns] & ~is_core[rows]
    np.minimum.at(labels, rows[reaches], labels[columns[reaches]])
    labels[labels == num_images] = -1
    return labels


def cluster_means(features: Floats, labels: Integers, num_clusters: int | None = None) -> Floats:
    """Return the mean feature of each cluster, [K, D], not normalised; outliers are left out.

    Clusters without a member have a mean of 0.
    """
    kept = labels >= 0
    size = int(labels.max(initial=-1)) + 1 if num_clusters is None else num_clusters
    members = sparse.csr_matrix(
        (np.ones(kept.sum(), np.float32), (labels[kept], np.flatnonzero(kept))),
        shape=(size, len(labels)),
    )
    counts = np.maximum(np.bincount(labels[kept], minlength=size), 1)
    means: Floats = (members @ features / counts[:, None]).astype(np.float32)
    return means


def squared_distance(rows: Floats, others: Floats) -> Floats:
    """Return all squared Euclidean distances, [N, M]; rounding can leave one just below 0.

    Args:
        rows: [N, D].
        others: [M, D].
    """
    squared: Floats = rows @ others.T
    squared *= -2
    squared += np.vecdot(rows, rows)[:, None]
    squared += np.vecdot(others, others)
    return squared


def unit_rows(rows: Floats) -> Floats:
    """Return rows scaled to length 1; a row of zeros stays."""
    unit: Floats = rows / lengths(rows)
    return unit


def lengths(rows: Floats) -> Floats:
    """Return the Euclidean length of each row, [N, 1], not quite 0 for a row of zeros."""
    norms = np.sqrt(np.vecdot(rows, rows))[:, None]
    return np.maximum(norms, np.finfo(np.float32).tiny)


def _mutual(neighbours: Integers) -> sparse.csr_matrix:
    """Return the 0/1 matrix of mutual neighbours, of which each image is one of its own.

    Among many equal images the search may leave out the very one that asks.
    """
    itself = sparse.identity(len(neighbours), dtype=np.float32)
    return sparse.csr_matrix(reciprocal(neighbours, neighbours).maximum(itself))


def reciprocal(forward: Integers, backward: Integers) -> sparse.csr_matrix:
    """Return the 0/1 matrix of mutual neighbours.

    Args:
        forward: [N, k], the neighbours of each of N rows among M others, without repeats.
        backward: [M, k'], the neighbours of each of those among the N rows.

    Returns:
        [N, M], 1 where each is among the other's neighbours.
    """
    there = _membership(forward, len(backward))
    back = _membership(backward, len(forward))
    return sparse.csr_matrix(there.multiply(back.T))


def expanded_sets(near: sparse.csr_matrix, half: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the expanded k-reciprocal sets R* as a pattern.

    R_half(c) joins R(i) for every c in R(i) of which more than two thirds lie in R(i).

    Args:
        near: [N, M], the sets R as `reciprocal` returns them.
        half: [M, M], the sets R_half of the columns among themselves.

    Returns:
        [N, M], positive inside the sets, not stored elsewhere.
    """
    common = sparse.coo_matrix((near @ half.T).multiply(near))
    half_size = np.asarray(half.sum(axis=1)).ravel()
    joins = common.data > 2 / 3 * half_size[common.col]
    candidates = sparse.csr_matrix(
        (np.ones(joins.sum(), np.float32), (common.row[joins], common.col[joins])),
        shape=near.shape,
    )
    return sparse.csr_matrix(near + candidates @ half)


def softmax_rows(pairs: sparse.coo_matrix, distance: Floats) -> sparse.csr_matrix:
    """Return softmax(-distance) over each row's stored pairs, a float32 matrix.

    Args:
        pairs: [N, M], each pair stored once; a row may be empty and stays so.
        distance: of each stored pair, in their order.
    """
    weights = np.exp(-distance)
    totals = np.bincount(pairs.row, weights, minlength=pairs.shape[0])
    normalised = (weights / totals[pairs.row]).astype(np.float32)
    return sparse.csr_matrix((normalised, (pairs.row, pairs.col)), shape=pairs.shape)


def averaged(encodings: sparse.csr_matrix, neighbours: Integers) -> sparse.csr_matrix:
    """Return each row's mean encoding over its neighbours.

    Args:
        encodings: [N, M].
        neighbours: [N, k], rows of `encodings`.
    """
    total = _membership(neighbours, len(neighbours)) @ encodings
    return sparse.csr_matrix(total / neighbours.shape[1], dtype=np.float32)


def _membership(neighbours: Integers, num_columns: int) -> sparse.csr_matrix:
    """Return the [N, M] 0/1 matrix with a 1 where column j is among row i's neighbours."""
    num_rows, k = neighbours.shape
    start = np.arange(0, num_rows * k + 1, k)
    ones = np.ones(neighbours.size, dtype=np.float32)
    return sparse.csr_matrix((ones, neighbours.ravel(), start), shape=(num_rows, num_columns))


def _squared_distance_of_pairs(features: Floats, pairs: sparse.coo_matrix) -> Floats:
    """Return 2 - 2 cos of the stored pairs, in their order."""
    from salcr.pseudo_labels import (
        kernels,  # here, since it imports numba, which takes half a second
    )

    return 2 - 2 * kernels.inner_products(
        np.ascontiguousarray(features, np.float32), pairs.row, pairs.col
    )


def _distance_of_encodings(encodings: sparse.csr_matrix, at_most: float) -> sparse.csr_matrix:
    """Return 1 - m / (2 - m), m the sum of minima of two rows, up to `at_most`."""
    from salcr.pseudo_labels import kernels

    by_row, by_column = (
        (matrix.indptr, matrix.indices, matrix.data) for matrix in (encodings, encodings.tocsc())
    )
    limit = np.float32(at_most)
    counts = kernels.count_near(by_row, by_column, limit)
    start = np.concatenate([[0], np.cumsum(counts)])
    columns = np.empty(start[-1], dtype=np.int32)
    distances = np.empty(start[-1], dtype=np.float32)
    kernels.fill_near(by_row, by_column, limit, start, columns, distances)
    size = encodings.shape[0]
    return sparse.csr_matrix((distances, columns, start), shape=(size, size))
