"""The re-rankings AIM and CMRR (METHOD 4.3) reimplemented slowly; see slow_method.py."""

from __future__ import annotations

import numpy as np

from tests.reference.slow_method import (
    Array,
    Arrays,
    expanded,
    mutual,
    ranking,
    squared_distance,
    unit,
)


def aim(query: Array, gallery: Array, k1: int, k2: int) -> Array:
    """Return the distances of AIM."""
    query, gallery = unit(query), unit(gallery)
    to_gallery, within = _largest(query @ gallery.T, k1), _largest(gallery @ gallery.T, k1)
    nearest = ranking(-(gallery @ gallery.T))[:, :k2]
    averaged = np.stack([within[rows].mean(axis=0) for rows in nearest])
    return -(unit(to_gallery) @ unit(averaged).T) - query @ gallery.T


def _largest(similarity: Array, count: int) -> Array:
    kept = np.zeros_like(similarity)
    for row, columns in enumerate(ranking(-similarity)[:, :count]):
        kept[row, columns] = similarity[row, columns]
    return kept


def cmrr(query: Array, gallery: Array, k: int, eta: float) -> Array:
    """Return the distances of CMRR; encodings and overlaps are rounded to float16, as released."""
    sides = {"q": query, "g": gallery}
    raw = {x + y: squared_distance(sides[x], sides[y]) for x in sides for y in sides}
    distance = {pair: values / values.max(axis=0) for pair, values in raw.items()}
    ranks = {pair: ranking(distance[pair]) for pair in ("qg", "gq")}
    ranks |= {pair: ranking(_within(distance[pair], k)) for pair in ("qq", "gg")}
    stacked = {}
    for x in sides:
        blocks = [_encoding(distance[x + y], ranks, x, y, k) for y in sides]
        rows = np.concatenate(blocks, axis=1)
        stacked[x] = rows / rows.sum(axis=1, keepdims=True)
    overlap = _overlap_distance(stacked["q"], stacked["g"])
    return (1 - eta) * overlap + eta * raw["qg"]


def _encoding(distance: Array, ranks: dict[str, Array], x: str, y: str, k: int) -> Array:
    """Return the encodings of row set x over column set y."""
    there, back, within = ranks[x + y], ranks[y + x], ranks[y + y]
    halves = [mutual(within, within, one, round(k / 2) + 1) for one in range(len(within))]
    encodings = np.zeros_like(distance)
    for row in range(len(distance)):
        members = expanded(mutual(there, back, row, k + 1), halves)
        weights = np.exp(-distance[row, members])
        if members:  # across modalities there may be no mutual ones
            encodings[row, members] = np.float16(weights / weights.sum())
    return np.stack([encodings[rows].mean(axis=0) for rows in ranks[x + x][:, :k]])


def _within(distance: Array, k1: int, k2: int = 6, share: float = 0.3) -> Array:
    """Return the k-reciprocal re-ranking of Zhong et al. within one modality."""
    distance = (distance / distance.max(axis=0)).T
    ranks = ranking(distance)
    rows = range(len(distance))
    halves = [mutual(ranks, ranks, row, round(k1 / 2) + 1) for row in rows]
    encodings = np.zeros(distance.shape, np.float16)
    for row in rows:
        members = expanded(mutual(ranks, ranks, row, k1 + 1), halves)
        weights = np.exp(-distance[row, members])
        encodings[row, members] = weights / weights.sum()
    averaged = np.stack([encodings[ranks[row, :k2]].mean(axis=0) for row in rows])
    return np.float16(1 - share) * _overlap_distance(averaged, averaged) + share * distance


def _overlap_distance(left: Array, right: Array) -> Array:
    """Return 1 - m / (2 - m), with every step rounded to float16."""
    left, right = np.float16(left), np.float16(right)
    distance = np.empty((len(left), len(right)), np.float16)
    for i, row in enumerate(left):
        shared = np.zeros(len(right), np.float16)
        for column in np.flatnonzero(row):
            shared += np.minimum(row[column], right[:, column])
        distance[i] = 1 - shared / (2 - shared)
    return distance


def rerankings(data: Arrays) -> Arrays:
    """Return the results in rerank.npz under the names in `data`, which include the sizes."""
    visible, infrared = data["visible"], data["infrared"]
    results: Arrays = {}
    for name in data:
        words = name.split("_")
        if words[0] == "aim":
            results[name] = aim(visible, infrared, k1=int(words[2]), k2=int(words[4]))
        elif words[0] == "cmrr":
            k, eta = words[3].removeprefix("k"), words[4].removeprefix("eta")
            results[name] = cmrr(infrared, visible, int(k), float(f"{eta[:1]}.{eta[1:]}"))
    return results
