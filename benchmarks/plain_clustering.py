"""Plain formulation of METHOD 2.2 and 3.1, clustering and association, with dense matrices."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


def search(features: Floats, k: int) -> Integers:
    """Return the k nearest images of every image, [N, k], by faiss's exact search."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss.knn(features, features, k, metric=faiss.METRIC_INNER_PRODUCT)[1]


def ranking(features: Floats, k: int) -> Integers:
    """Return the k nearest images of every image, [N, k], from all cosines at once."""
    rows = torch.from_numpy(features)
    return (rows @ rows.T).topk(k).indices.numpy()


def jaccard_clusters(
    features: Floats, nearest: Integers, *, k1: int, k2: int, eps: float, min_samples: int
) -> Integers:
    """Return DBSCAN's labels, [N], on the dense Jaccard distance.

    Args:
        features: [N, D], unit rows.
        nearest: [N, k1], from `ranking`.
        k1: size of the neighborhoods.
        k2: neighbors whose encodings are averaged.
        eps: radius of DBSCAN.
        min_samples: minimum size of DBSCAN's dense regions.
    """
    from sklearn.cluster import DBSCAN

    distance = _jaccard(_average(_encodings(features, nearest, k1), nearest[:, :k2]))
    return DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(distance).labels_


def _encodings(features: Floats, nearest: Integers, k1: int) -> Floats:
    """Return the weights on the expanded sets of mutual neighbors, [N, N]."""

    def mutual(size: int) -> list[Integers]:
        first = nearest[:, :size]
        return [row[(first[row] == image).any(axis=1)] for image, row in enumerate(first)]

    sets, half = mutual(k1), mutual(round(k1 / 2) + 1)
    encodings = np.zeros((len(features), len(features)), dtype=np.float32)
    for image, own in enumerate(sets):
        joining = [half[c] for c in own if np.isin(half[c], own).sum() > 2 / 3 * len(half[c])]
        members = np.unique(np.concatenate([own, *joining]))
        weights = np.exp(-(2 - 2 * features[members] @ features[image]))
        encodings[image, members] = weights / weights.sum()
    return encodings


def _average(encodings: Floats, nearest: Integers) -> Floats:
    return np.stack([encodings[row].mean(axis=0) for row in nearest])


def _jaccard(encodings: Floats) -> Floats:
    """Return 1 - m / (2 - m), [N, N]; minima are computed for rows with a common member only."""
    columns = [np.flatnonzero(column) for column in encodings.T]
    distance = np.empty_like(encodings)
    for row, own in zip(distance, encodings, strict=True):
        shared = np.zeros_like(row)
        for member in np.flatnonzero(own):
            others = columns[member]
            shared[others] += np.minimum(own[member], encodings[others, member])
        row[:] = 1 - shared / (2 - shared)
    return np.maximum(distance, 0)


def propagate(visible: Floats, infrared: Floats, k: int) -> tuple[Floats, Floats]:
    """Return CMFP's features from all cosines and a mixing matrix of the same size."""
    stacked = torch.from_numpy(np.concatenate([visible, infrared]))
    cosines = stacked @ stacked.T
    mixing = torch.zeros_like(cosines)
    sides = (slice(0, len(visible)), slice(len(visible), None))
    for rows in sides:
        for columns in sides:
            values, places = cosines[rows, columns].topk(k)
            values = F.normalize(values.clamp(min=0), p=1, dim=1)
            mixing[rows, columns].scatter_(1, places, values)
    mixed = F.normalize(mixing @ stacked).numpy()
    return mixed[sides[0]], mixed[sides[1]]


def assign_by_transport(
    features: Floats, others: Floats, labels: Integers, strength: float
) -> Integers:
    """Return the other modality's cluster of each image by optimal transport.

    Args:
        features: [N, D], propagated.
        others: [M, D], propagated, of the other modality.
        labels: [M], 0 .. K-1, its clusters.
        strength: lambda.
    """
    means = torch.from_numpy(_means(others, labels))
    cost = torch.cdist(torch.from_numpy(features), means).double() ** 2
    kernel = torch.exp(-strength * cost)
    beta = torch.full((kernel.shape[1],), 1 / kernel.shape[1], dtype=torch.float64)
    for step in range(501):
        alpha = 1 / len(kernel) / (kernel @ beta)
        previous, beta = beta, 1 / kernel.shape[1] / (kernel.T @ alpha)
        if step % 10 == 0 and (previous / beta - 1).abs().sum() <= 0.1:
            break
    plan = alpha[:, None] * kernel * beta
    return plan.argmax(dim=1).numpy()


def own_labels(features: Floats, labels: Integers) -> Integers:
    """Return the cluster whose mean has the largest inner product with each image."""
    return np.argmax(features @ _means(features, labels).T, axis=1)


def _means(features: Floats, labels: Integers) -> Floats:
    return np.stack([features[labels == c].mean(axis=0) for c in range(labels.max() + 1)])


def associate(
    visible: Floats,
    infrared: Floats,
    clusters: tuple[Integers, Integers],
    *,
    k: int,
    strength: float,
) -> tuple[Integers, Integers, Integers, Integers]:
    """Return the labels in the order of `salcr.types.PseudoLabels`."""
    visible, infrared = propagate(visible, infrared, k)
    return (
        own_labels(visible, clusters[0]),
        assign_by_transport(visible, infrared, clusters[1], strength),
        own_labels(infrared, clusters[1]),
        assign_by_transport(infrared, visible, clusters[0], strength),
    )
