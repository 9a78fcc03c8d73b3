"""Clustering, association and metrics reimplemented: slow, in float64, with plain loops.

Written from docs/METHOD.md, sections 2.2, 2.3, 3.1, 4.1 and 5. Nothing here is imported from salcr.
`slow_golden.py` uses it to create reference values with other seeds and sizes, so an error would
have to be made twice to remain undetected.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Array = NDArray[Any]
Arrays = dict[str, Any]


def unit(rows: Array) -> Array:
    """Return float64 rows of length 1."""
    rows = np.asarray(rows, np.float64)
    return rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))


def ranking(distance: Array) -> Array:
    """Return every row's columns, the closest first."""
    return np.argsort(distance, axis=1, kind="stable")


def squared_distance(rows: Array, columns: Array) -> Array:
    """Return squared Euclidean distances, row by row."""
    return np.stack([((np.float64(row) - columns) ** 2).sum(axis=1) for row in rows])


def mutual(there: Array, back: Array, row: int, count: int) -> set[int]:
    """Return those of a row's first `count` neighbors that have it among their first `count`."""
    return {int(other) for other in there[row, :count] if row in back[other, :count]}


def expanded(reciprocal: set[int], halves: list[set[int]]) -> list[int]:
    """Return a reciprocal set with the half-size sets of which more than 2/3 are in it."""
    union = set(reciprocal)
    for member in reciprocal:
        if 3 * len(halves[member] & reciprocal) > 2 * len(halves[member]):
            union |= halves[member]
    return sorted(union)


def overlap_distance(left: Array, right: Array) -> Array:
    """Return 1 - m / (2 - m), where m is the sum of minima of a left and a right row."""
    distance = np.empty((len(left), len(right)))
    for i, row in enumerate(left):
        shared = np.minimum(row, right).sum(axis=1)
        distance[i] = 1 - shared / (2 - shared)
    return distance


def jaccard_distance(features: Array, k1: int, k2: int) -> Array:
    """Return the distance of METHOD 2.2."""
    cosine = unit(features) @ unit(features).T
    ranks = ranking(-cosine)
    images = range(len(features))
    halves = [mutual(ranks, ranks, image, round(k1 / 2) + 1) for image in images]
    encodings = np.zeros_like(cosine)
    for image in images:
        members = expanded(mutual(ranks, ranks, image, k1), halves)
        weights = np.exp(-(2 - 2 * cosine[image, members]))
        encodings[image, members] = weights / weights.sum()
    averaged = np.stack([encodings[ranks[image, :k2]].mean(axis=0) for image in images])
    return overlap_distance(averaged, averaged)


def dbscan(distance: Array, eps: float, min_samples: int) -> Array:
    """Return labels, -1 for outliers; a border point joins the first cluster that reaches it."""
    neighbors = [np.flatnonzero(row <= eps) for row in distance]
    labels = np.full(len(distance), -1)
    cluster = 0
    for start in range(len(distance)):
        if labels[start] >= 0 or len(neighbors[start]) < min_samples:
            continue
        labels[start], waiting = cluster, [start]
        while waiting:
            point = waiting.pop()
            if len(neighbors[point]) < min_samples:
                continue
            for other in neighbors[point]:
                if labels[other] < 0:
                    labels[other] = cluster
                    waiting.append(int(other))
        cluster += 1
    return labels


def clustering(data: Arrays) -> Arrays:
    """Return the results in jaccard.npz."""
    distance = jaccard_distance(data["features"], int(data["k1"]), int(data["k2"]))
    # Rounded as it is stored, because distances may equal eps: 6 averaged encodings of which 4 are
    # shared make 0.5.
    distance = distance.astype(np.float32)
    results: Arrays = {"distance": distance}
    for eps in data["dbscan_eps"]:
        labels = dbscan(distance, float(eps), int(data["dbscan_min_samples"]))
        results[f"labels_eps{eps:g}".replace(".", "")] = labels
    return results


def plan(cost: Array, strength: float) -> Array:
    """Return the transport plan of METHOD 3.1.3, with the released rule for the last step."""
    kernel = np.exp(-strength * np.float64(cost))
    num_rows, num_columns = kernel.shape
    beta = np.full(num_columns, 1 / num_columns)
    for step in range(501):
        alpha = (1 / num_rows) / (kernel @ beta)
        before, beta = beta, (1 / num_columns) / (kernel.T @ alpha)
        if step % 10 == 0 and np.abs(before / beta - 1).sum() <= 0.1:
            break
    return alpha[:, None] * kernel * beta


def transport(data: Arrays) -> Arrays:
    """Return the result in sinkhorn.npz."""
    return {"plan": plan(data["cost"], float(data["reg_lambda"]))}


def propagated(visible: Array, infrared: Array, k: int) -> Array:
    """Return the propagated features of METHOD 3.1.2, visible rows before infrared ones."""
    both = [unit(visible), unit(infrared)]
    mixed = []
    for rows in both:
        total = np.zeros_like(rows)
        for columns in both:
            for i, cosine in enumerate(rows @ columns.T):
                nearest = np.argsort(-cosine, kind="stable")[:k]
                weights = np.maximum(cosine[nearest], 0)
                if weights.sum() > 0:
                    total[i] += weights / weights.sum() @ columns[nearest]
        mixed.append(total)
    return unit(np.concatenate(mixed))


def propagation(data: Arrays) -> Arrays:
    """Return the result in cmfp.npz."""
    return {"propagated": propagated(data["visible"], data["infrared"], int(data["k"]))}


def cluster_means(features: Array, clusters: Array) -> Array:
    """Return the mean feature of every cluster, without normalization."""
    features = np.asarray(features, np.float64)
    return np.stack([features[clusters == name].mean(axis=0) for name in range(max(clusters) + 1)])


def association(data: Arrays) -> Arrays:
    """Return the labels in association.npz in four roles, with and without CMFP."""
    num_visible, strength = len(data["visible"]), float(data["reg_lambda"])
    mixed = propagated(data["visible"], data["infrared"], int(data["k"]))
    versions = {
        "cmfp": (mixed[:num_visible], mixed[num_visible:]),
        "plain": tuple(np.array(data[name], np.float64) for name in ("visible", "infrared")),
    }
    results: Arrays = {}
    for prefix, (visible, infrared) in versions.items():
        of_visible = cluster_means(visible, data["visible_cluster"])
        of_infrared = cluster_means(infrared, data["infrared_cluster"])
        to_infrared = plan(squared_distance(visible, of_infrared), strength)
        to_visible = plan(squared_distance(infrared, of_visible), strength)
        results[f"{prefix}_visible"] = (visible @ of_visible.T).argmax(axis=1)
        results[f"{prefix}_infrared"] = (infrared @ of_infrared.T).argmax(axis=1)
        results[f"{prefix}_visible_to_infrared"] = to_infrared.argmax(axis=1)
        results[f"{prefix}_infrared_to_visible"] = to_visible.argmax(axis=1)
    return results


def matched_in_rounds(cost: Array) -> tuple[Array, Array]:
    """Return PGM's partner of every row (the larger side) and of every column."""
    num_rows, num_columns = cost.shape
    of_rows, of_columns = np.full(num_rows, -1), np.full(num_columns, -1)
    while (of_rows < 0).any():
        left = np.flatnonzero(of_rows < 0)
        square = np.zeros((len(left), max(num_columns, len(left))))
        square[:, :num_columns] = cost[left]
        for position, column in zip(*linear_sum_assignment(square), strict=True):
            if column < num_columns:
                of_rows[left[position]] = column
                if of_columns[column] < 0:
                    of_columns[column] = left[position]
    return of_rows, of_columns


def other_associations(data: Arrays) -> Arrays:
    """Return the labels in other_associations.npz; MBCCM needs no fewer visible clusters."""
    visible = unit(cluster_means(data["visible"], data["visible_cluster"]))
    infrared = unit(cluster_means(data["infrared"], data["infrared_cluster"]))
    cost = np.exp(-(visible @ infrared.T))
    if len(visible) >= len(infrared):
        to_infrared, to_visible = matched_in_rounds(cost)
    else:
        to_visible, to_infrared = matched_in_rounds(cost.T)
    results = {
        "pgm_visible_to_infrared": to_infrared[data["visible_cluster"]],
        "pgm_infrared_to_visible": to_visible[data["infrared_cluster"]],
    }
    distance = squared_distance(visible, infrared)
    repeated = np.tile(distance, len(visible) // len(infrared) + 1)
    to_infrared = linear_sum_assignment(repeated)[1] % len(infrared)
    to_visible = linear_sum_assignment(distance.T)[1]
    results["mbccm_visible_to_infrared"] = to_infrared[data["visible_cluster"]]
    results["mbccm_infrared_to_visible"] = to_visible[data["infrared_cluster"]]
    return results


def retrieval(data: Arrays) -> Arrays:
    """Return the curves and means in metrics.npz under three rules."""
    results: Arrays = {}
    for rules in ("regdb", "sysu", "llcm"):
        rows = [_one_query(data, query, rules) for query in range(len(data["query_id"]))]
        first, precision, inverse = (np.array(column) for column in zip(*rows, strict=True))
        num_identities = len(set(data["gallery_id"].tolist()))
        num_ranks = 20 if rules == "regdb" else min(20, num_identities)
        curve = [(first <= rank).mean() for rank in range(1, num_ranks + 1)]
        results[f"{rules}_cmc"] = np.array(curve)
        results[f"{rules}_map"], results[f"{rules}_minp"] = precision.mean(), inverse.mean()
    return results


def _one_query(data: Arrays, query: int, rules: str) -> tuple[int, float, float]:
    """Return the first match's rank, the average precision and the last match's precision."""
    identity = data["query_id"][query]
    before: list[int] = []  # identities before: per image or, if counted once, per name
    first, match_ranks, rank = 0, [], 0
    for image in ranking(data["distance"][query : query + 1])[0]:
        other, camera = int(data["gallery_id"][image]), data["gallery_camera"][image]
        if rules == "sysu" and data["query_camera"][query] == 3 and camera == 2:
            continue
        if rules == "llcm" and other == identity and camera == data["llcm_query_camera"][query]:
            continue
        rank += 1
        if rules == "regdb" or other not in before:
            before.append(other)
        if other == identity:
            match_ranks.append(rank)
            first = first or len(before)
    precisions = [(count + 1) / rank for count, rank in enumerate(match_ranks)]
    return first, sum(precisions) / len(precisions), precisions[-1]
