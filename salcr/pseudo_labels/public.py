"""The public functions of clustering and association, see `salcr.api`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from salcr.pseudo_labels.arguments import (
    check,
    check_both,
    check_choice,
    check_count,
    check_integers,
    check_unit_rows,
)
from salcr.types import MODALITIES, Floats, Integers, PseudoLabels

if TYPE_CHECKING:
    from scipy import sparse

Method = Literal["dagl", "otla", "pgm", "mbccm"]


def jaccard_distance(
    features: ArrayLike, k1: int = 30, k2: int = 6, max_distance: float = 1.0
) -> sparse.csr_matrix:
    """Return the Jaccard distance of k-reciprocal encodings, as a sparse matrix.

    Time grows with N², for an exact neighbor search; memory with the pairs stored, 8 bytes each. Up
    to a radius of DBSCAN they are hardly more than the pairs within clusters: 100,000 rows of 512
    numbers take 0.3 GB beside the features at a `max_distance` of 0.6. Up to 1 they are all pairs
    that share a neighbor, over a thousand for each row, and far more where there are no clusters.

    Args:
        features: [N, D], unit rows.
        k1: neighbors, the row itself included, in the k-reciprocal sets; at least 1.
        k2: neighbors, the row itself included, whose encodings are averaged; 1 averages nothing.
        max_distance: larger distances are not stored, above 0 and at most 1. DBSCAN needs none
            above its eps.

    Returns:
        [N, N] float32 in [0, 1], symmetric, the zeros of the diagonal stored. A pair that is not
        stored is farther than `max_distance`.

    Raises:
        ValueError: an argument is out of range, or a row is not finite or not of length 1.

    See Also:
        dbscan: clusters of such a matrix.
        cluster: both in one call.

    References:
        Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017.
        METHOD 2.2.

    Examples:
        Two pairs of equal rows at a right angle; pairs without a common neighbor are not stored.

        >>> rows = np.repeat(np.eye(2), 2, axis=0)
        >>> distance = jaccard_distance(rows, k1=2, k2=1)
        >>> distance.nnz
        8
        >>> distance.toarray()[0, :2].tolist()
        [0.0, 0.0]
    """
    from salcr.pseudo_labels import clustering

    rows = check_unit_rows("features", features)
    check_count("k1", k1)
    check_count("k2", k2)
    check("max_distance", max_distance, "above 0 and at most 1", 0 < max_distance <= 1)
    return clustering.jaccard_distance(rows, k1=k1, k2=k2, at_most=max_distance)


def dbscan(distance: sparse.spmatrix, eps: float, min_samples: int = 4) -> Integers:
    """Return DBSCAN's clusters of a sparse distance matrix.

    The labels equal those of `sklearn.cluster.DBSCAN(metric="precomputed")`, numbers included.

    Args:
        distance: [N, N] scipy.sparse matrix, symmetric, with the zeros of its diagonal stored.
            A pair that is not stored is not a neighbor, so store all distances up to `eps`.
        eps: largest distance of a neighbor, above 0.
        min_samples: neighbors, the row itself included, that make a core point; at least 1.

    Returns:
        [N] int64 labels 0 .. K-1; -1 for outliers.

    Raises:
        ValueError: an argument is out of range, or the matrix is dense, not square, not symmetric
            or lacks its diagonal.

    See Also:
        jaccard_distance: makes such a matrix; its `max_distance` must not be below `eps`.

    References:
        Ester et al., A Density-Based Algorithm for Discovering Clusters in Large Spatial Databases
        with Noise, KDD 1996. METHOD 2.3.

    Examples:
        >>> from scipy import sparse
        >>> pairs = [0, 0, 1, 1, 2], [0, 1, 0, 1, 2]
        >>> distance = sparse.csr_matrix(([0, 0.2, 0.2, 0, 0], pairs), shape=(3, 3))
        >>> dbscan(distance, eps=0.5, min_samples=2).tolist()
        [0, 0, -1]
    """
    from salcr.pseudo_labels import clustering

    check("eps", eps, "above 0", eps > 0)
    check_count("min_samples", min_samples)
    return clustering.dbscan(_symmetric(distance), eps=eps, min_samples=min_samples)


def cluster(
    features: ArrayLike, k1: int = 30, k2: int = 6, eps: float = 0.3, min_samples: int = 4
) -> Integers:
    """Return the clusters of one modality's features: Jaccard distance, then DBSCAN.

    Args:
        features: [N, D], unit rows.
        k1: neighbors, the row itself included, in the k-reciprocal sets; at least 1.
        k2: neighbors, the row itself included, whose encodings are averaged; 1 averages nothing.
        eps: DBSCAN's radius in Jaccard distance, above 0 and below 1 (published: 0.3 RegDB, 0.6
            SYSU-MM01).
        min_samples: neighbors, the row itself included, that make a core point; at least 1.

    Returns:
        [N] int64 labels 0 .. K-1; -1 for outliers, which all rows may be.

    Raises:
        ValueError: an argument is out of range, or a row is not finite or not of length 1.

    See Also:
        associate: labels across modalities from the clusters of both.

    References:
        METHOD 2.2 and 2.3.

    Examples:
        >>> cluster(np.eye(4)[[0, 0, 0, 1, 2, 2, 2]], k1=3, k2=1, min_samples=3).tolist()
        [0, 0, 0, -1, 1, 1, 1]
    """
    from salcr.pseudo_labels import clustering

    check("eps", eps, "above 0 and below 1", 0 < eps < 1)
    check_count("min_samples", min_samples)
    distance = jaccard_distance(features, k1, k2, max_distance=eps)
    return clustering.dbscan(distance, eps=eps, min_samples=min_samples)


def associate(
    visible: ArrayLike,
    infrared: ArrayLike,
    visible_clusters: ArrayLike,
    infrared_clusters: ArrayLike,
    method: Method = "dagl",
    *,
    cmfp_k: int | None = 8,
    strength: float = 5.0,
    relabel_own_modality: bool = True,
) -> PseudoLabels[Integers]:
    """Return pseudo-labels of both modalities in the label spaces of both.

    Args:
        visible: [N, D], unit rows of visible images.
        infrared: [M, D], unit rows of infrared images.
        visible_clusters: [N] labels 0 .. K-1 without gaps, -1 for outliers, as of `cluster`.
        infrared_clusters: [M] labels 0 .. L-1, likewise.
        method: "dagl" (SALCR), or, to compare with, "otla", "pgm" or "mbccm".
        cmfp_k: neighbors of the feature propagation (published: 8 RegDB, 30 SYSU-MM01), None to
            do without it; "dagl" only.
        strength: lambda of the optimal transport, above 0, at most 100; "dagl" and "otla" only.
        relabel_own_modality: give images a new label in their own modality too (released code)
            instead of their cluster (paper); "dagl" only.

    Returns:
        A named tuple of int64 labels: `visible` and `visible_to_infrared` [N], `infrared` and
        `infrared_to_visible` [M]. -1 for outliers and, of "otla", in all of
        `visible_to_infrared`, since it has the visible space only.

    Raises:
        ValueError: an argument is out of range, lengths differ, a side has no cluster, or a row is
            not finite or not of length 1.

    See Also:
        cluster: the clusters of one modality.
        propagate: the feature propagation alone.

    References:
        METHOD 3.1 (DAGL) and 5: Wang et al., ECCV 2022 (OTLA); Wu and Ye, CVPR 2023 (PGM); Cheng
        et al., ACM Multimedia 2023 (MBCCM).

    Examples:
        The second infrared cluster shows the first visible one's person; an outlier has no label.

        >>> visible, infrared = np.eye(2)[[0, 0, 1, 1, 1]], np.eye(2)[[1, 1, 0, 0]]
        >>> labels = associate(visible, infrared, [0, 0, 1, 1, -1], [0, 0, 1, 1], cmfp_k=2)
        >>> labels.visible_to_infrared.tolist()
        [1, 1, 0, 0, -1]
        >>> labels.infrared_to_visible.tolist()
        [1, 1, 0, 0]
    """
    import torch

    from salcr.config import method as sections
    from salcr.pseudo_labels.generate import label_images
    from salcr.pseudo_labels.neighbors import nearest_within

    sides = check_both("visible", visible, "infrared", infrared)
    clusters = {
        "visible": _clusters("visible_clusters", visible_clusters, len(sides[0])),
        "infrared": _clusters("infrared_clusters", infrared_clusters, len(sides[1])),
    }
    check_choice("method", method, get_args(Method))
    check("strength", strength, "above 0 and at most 100", 0 < strength <= 100)
    if cmfp_k is not None:
        check_count("cmfp_k", cmfp_k)
    settings = sections.Associate(
        method=method,
        cmfp=cmfp_k is not None,
        cmfp_k=cmfp_k or 1,
        sinkhorn_strength=strength,
        relabel_own_modality=relabel_own_modality,
    )
    features = {m: torch.from_numpy(rows) for m, rows in zip(MODALITIES, sides, strict=True)}
    neighbors = {}
    if settings.cmfp and method == "dagl":
        neighbors = {m: nearest_within(rows, settings.cmfp_k) for m, rows in features.items()}
    return label_images(features, clusters, settings, neighbors)


def propagate(visible: ArrayLike, infrared: ArrayLike, k: int = 8) -> tuple[Floats, Floats]:
    """Return features mixed with those of their neighbors in both modalities (CMFP).

    Args:
        visible: [N, D], unit rows of visible images.
        infrared: [M, D], unit rows of infrared images.
        k: neighbors in each modality (published: 8 RegDB, 30 SYSU-MM01); all, where there are
            fewer.

    Returns:
        visible [N, D] and infrared [M, D] float32 features, unit rows.

    Raises:
        ValueError: `k` is below 1, widths differ, or a row is not finite or not of length 1.

    See Also:
        rerank_cmfp: the same as a re-ranking.

    References:
        METHOD 3.1.2.

    Examples:
        With one neighbor in each modality, a row is mixed with the nearest of the other.

        >>> visible, infrared = propagate([[1.0, 0.0]], [[0.8, 0.6], [0.0, 1.0]], k=1)
        >>> [round(float(value), 4) for value in visible[0]]
        [0.9487, 0.3162]
    """
    from salcr.pseudo_labels import propagation

    check_count("k", k)
    return propagation.propagate(*check_both("visible", visible, "infrared", infrared), k=k)


def _clusters(name: str, values: ArrayLike, length: int) -> Integers:
    labels = check_integers(name, values, length)
    names = np.unique(labels[labels != -1])
    if len(names) == 0:
        raise ValueError(f"{name}: has outliers only; cluster with a larger eps")
    if not np.array_equal(names, np.arange(len(names))):
        raise ValueError(f"{name}: must be 0 .. K-1 without gaps, and -1 for outliers")
    return labels


def _symmetric(distance: sparse.spmatrix) -> sparse.csr_matrix:
    """Return a distance matrix in rows; ValueError if DBSCAN would not mean anything on it."""
    from scipy import sparse

    if not sparse.issparse(distance) or distance.shape[0] != distance.shape[1]:
        raise ValueError("distance: must be a square scipy.sparse matrix, as of jaccard_distance")
    rows, columns = sparse.csr_matrix(distance), sparse.csr_matrix(distance.T)
    for side in (rows, columns):
        side.sum_duplicates()  # sorts, too
    same = np.array_equal(rows.indptr, columns.indptr)
    same = same and np.array_equal(rows.indices, columns.indices)
    if not (same and np.allclose(rows.data, columns.data, atol=1e-6)):
        raise ValueError("distance: must be symmetric and finite")
    pairs = rows.tocoo()
    if np.count_nonzero(pairs.row == pairs.col) < pairs.shape[0]:
        raise ValueError("distance: the zeros of its diagonal must be stored")
    return rows
