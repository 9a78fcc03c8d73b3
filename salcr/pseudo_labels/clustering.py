"""Clusters of one modality: Jaccard distance on k-reciprocal neighbors, then DBSCAN.

The method is that of docs/METHOD.md, sections 2.2 and 2.3. All matrices are sparse: distances that
DBSCAN does not use are not stored, so that memory grows with the number of images, not with its
square.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from torch import Tensor

from salcr.config.method import Clustering
from salcr.errors import SalcrError
from salcr.log import say, warn
from salcr.pseudo_labels.neighbors import nearest_within
from salcr.pseudo_labels.reciprocal import (
    average_encodings,
    expand_sets,
    mutual_neighbors,
    softmax_rows,
)
from salcr.types import Floats, Integers

_SUGGESTED_FROM = 5_000  # images at most, whose distances suggest an eps


def cluster(
    features: Tensor,
    settings: Clustering,
    modality: str,
    *,
    neighbors: Integers | None = None,
    tracks: Integers | None = None,
) -> Integers:
    """Return the DBSCAN labels of one modality's global features.

    Args:
        features: [N, C], unit rows.
        settings: parameters of the clustering.
        modality: of the images, for messages.
        neighbors: [N, k1 or more] indices of the nearest images, or None to search them.
        tracks: [N], number of each image's track, or -1; used if the settings say so.

    Returns:
        [N], 0 .. K-1, or -1 for outliers.

    Raises:
        SalcrError: there are no images, all images are outliers, or tracks are to be used, but not
            known.
    """
    if settings.tracks and tracks is None:
        raise SalcrError(
            f"clustering.tracks is true, but no track of the {modality} images is known: list them "
            "in tracks.csv of a data set of the layout folders, or set the key to false"
        )
    if len(features) == 0:
        raise SalcrError(f"there are no {modality} images to cluster")
    if settings.k1 >= len(features):
        warn(
            f"{modality}: clustering.k1 is {settings.k1}, but there are only {len(features)} "
            "images: all are neighbors of each other; lower clustering.k1"
        )
    if neighbors is None:
        neighbors = nearest_within(features, settings.k1).indices
    distance = jaccard_distance(
        features.cpu().numpy(),
        k1=settings.k1,
        k2=settings.k2,
        at_most=settings.eps,
        neighbors=neighbors,
    )
    labels = dbscan(
        distance,
        eps=settings.eps,
        min_samples=settings.min_samples,
        tracks=tracks if settings.tracks else None,
    )
    num_clusters, outliers = int(labels.max(initial=-1)) + 1, float((labels < 0).mean())
    say(f"{modality}: {num_clusters} clusters, {outliers:.1%} outliers of {len(labels)} images")
    if num_clusters == 0:
        raise SalcrError(
            f"the {modality} images do not form a cluster: raise clustering.eps (the distances "
            f"suggest {suggest_eps(features, settings):.2f}) or lower clustering.min_samples"
        )
    return labels


def suggest_eps(features: Tensor, clustering: Clustering) -> float:
    """Return an eps between the distances inside of clusters and those between them, in (0, 1).

    Images of one cluster have their `min_samples` nearest within the 90 % quantile q of these
    distances; those of others are near 1, the largest distance. Three quarters of their middle
    found the clusters of random features of all sizes and hardness that were tried.

    Args:
        features: [N, C] unit global features of one modality; of many, the first are used.
        clustering: parameters of the clustering.
    """
    rows = features[:_SUGGESTED_FROM].cpu().numpy()
    distance = jaccard_distance(rows, k1=clustering.k1, k2=clustering.k2)
    nearest = np.ones(len(rows))
    last = clustering.min_samples - 1
    for row in range(len(rows)):
        values = distance.data[distance.indptr[row] : distance.indptr[row + 1]]
        if len(values) > last:
            nearest[row] = np.partition(values, last)[last]
    return float(0.75 * (1 + np.quantile(nearest, 0.9)) / 2)


def jaccard_distance(
    features: Floats,
    *,
    k1: int,
    k2: int,
    at_most: float = 1.0,
    neighbors: Integers | None = None,
) -> sparse.csr_matrix:
    """Return the Jaccard distance of k-reciprocal encodings (Zhong et al., CVPR 2017).

    With V the encodings, d(i, j) = 1 - m / (2 - m) and m = sum_c min(V_ic, V_jc).

    Args:
        features: [N, D], unit rows.
        k1: size of the neighborhoods, including the image itself.
        k2: neighbors whose encodings are averaged; 1 for no averaging.
        at_most: larger distances are not stored; DBSCAN does not need those above its eps, and
            without them memory grows with the number of images.
        neighbors: [N, min(k1, N) or more] indices as `nearest_within` returns them, or None to
            search them.

    Returns:
        [N, N] float32 in [0, 1], symmetric; pairs without common neighbors, whose distance is 1,
        are not stored. With fewer than k1 images the neighborhoods are all images.

    Raises:
        ValueError: a feature is not finite, or there are too few neighbors.
    """
    if len(features) == 0:
        return sparse.csr_matrix((0, 0), dtype=np.float32)
    if neighbors is None:
        neighbors = nearest_within(features, k1).indices
    if neighbors.shape[1] < min(k1, len(features)):
        raise ValueError(f"{neighbors.shape[1]} neighbors of each image are fewer than k1 = {k1}")
    neighbors = neighbors[:, :k1]
    half = neighbors[:, : round(k1 / 2) + 1]
    sets = expand_sets(mutual_neighbors(neighbors), mutual_neighbors(half))
    pairs = sets.tocoo()
    encodings = softmax_rows(pairs, _squared_distance_of_pairs(features, pairs))
    if k2 > 1:
        encodings = average_encodings(encodings, neighbors[:, :k2])
    return _distance_of_encodings(encodings, at_most)


def dbscan(
    distance: sparse.csr_matrix,
    *,
    eps: float,
    min_samples: int,
    tracks: Integers | None = None,
) -> Integers:
    """Return DBSCAN's labels, numbered as scikit-learn numbers them; -1 marks an outlier.

    Clusters are the connected components of the core points; a border point belongs to the first
    cluster that has a core point within eps of it.

    Args:
        distance: [N, N] symmetric, as `jaccard_distance` returns it; pairs that are not stored are
            not neighbors.
        eps: largest distance of a neighbor.
        min_samples: smallest number of neighbors, including itself, of a core point.
        tracks: [N], number of each image's track, or -1; images of one track are neighbors,
            whatever their distance. None: no tracks.

    Returns:
        [N] labels, -1 or 0 .. K-1.
    """
    num_images = distance.shape[0]
    pairs = distance.tocoo()
    is_neighbor = pairs.data <= eps
    rows, columns = pairs.row[is_neighbor], pairs.col[is_neighbor]
    counts = np.bincount(rows, minlength=num_images)
    if tracks is not None:
        counts += _neighbors_by_track_alone(tracks, rows, columns)
    is_core = counts >= min_samples
    between_cores = is_core[rows] & is_core[columns]
    starts, ends = rows[between_cores], columns[between_cores]
    if tracks is not None:
        first_core = _first_of_tracks(tracks, is_core)
        linked = np.flatnonzero(is_core & (first_core < num_images))
        starts, ends = np.append(starts, linked), np.append(ends, first_core[linked])
    edges = (np.ones(len(starts), bool), (starts, ends))
    graph = sparse.csr_matrix(edges, shape=(num_images, num_images))
    _, component = csgraph.connected_components(graph, directed=False)

    labels = np.full(num_images, num_images, dtype=np.int64)
    cores = np.flatnonzero(is_core)
    _, first, inverse = np.unique(component[cores], return_index=True, return_inverse=True)
    labels[cores] = np.argsort(np.argsort(first))[inverse]  # numbered by their first core point
    is_border = is_core[columns] & ~is_core[rows]
    np.minimum.at(labels, rows[is_border], labels[columns[is_border]])
    if tracks is not None:
        # All cores of a track are in one cluster.
        border = np.flatnonzero(~is_core & (first_core < num_images))
        labels[border] = np.minimum(labels[border], labels[first_core[border]])
    labels[labels == num_images] = -1
    return labels


def _neighbors_by_track_alone(tracks: Integers, rows: Integers, columns: Integers) -> Integers:
    """Return [N], how many images of its track are not among an image's other neighbors.

    Args:
        tracks: [N], -1 for none.
        rows: of the pairs of neighbors by distance, in which each image is its own neighbor.
        columns: of these pairs.
    """
    known = tracks >= 0
    sizes = np.bincount(tracks[known])
    same = known[rows] & (tracks[rows] == tracks[columns])
    both = np.bincount(rows[same], minlength=len(tracks))
    return np.where(known, sizes[tracks] if len(sizes) else 0, 0) - both


def _first_of_tracks(tracks: Integers, chosen: NDArray[np.bool_]) -> Integers:
    """Return [N], the first chosen image of each image's track; N if there is none."""
    first = np.full(int(tracks.max(initial=-1)) + 2, len(tracks), dtype=np.int64)
    images = np.flatnonzero(chosen & (tracks >= 0))
    np.minimum.at(first, tracks[images], images)
    return first[tracks]  # -1, no track, reads the last entry, which is not written


def cluster_means(features: Floats, labels: Integers, num_clusters: int | None = None) -> Floats:
    """Return the mean feature of each cluster, not normalized.

    Args:
        features: [N, D].
        labels: [N], 0 .. K-1, or -1 for outliers, which are left out.
        num_clusters: K, if not all labels occur.

    Returns:
        [K, D]; the mean of a cluster without members is 0.
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


def _squared_distance_of_pairs(features: Floats, pairs: sparse.coo_matrix) -> Floats:
    """Return 2 - 2 cos of the stored pairs, in their order."""
    from salcr.pseudo_labels import kernels  # here, because importing numba takes half a second

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
    counts = kernels.count_near_pairs(by_row, by_column, limit)
    start = np.concatenate([[0], np.cumsum(counts)])
    columns = np.empty(start[-1], dtype=np.int32)
    distances = np.empty(start[-1], dtype=np.float32)
    kernels.fill_near_pairs(by_row, by_column, limit, start, columns, distances)
    size = encodings.shape[0]
    return sparse.csr_matrix((distances, columns, start), shape=(size, size))
