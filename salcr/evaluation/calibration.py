"""Which cosine similarity means the same person: pairs counted by similarity, and thresholds.

A pair is "across" if its images are of both modalities, else "within"; the two kinds have different
similarities and are never mixed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from salcr.pseudo_labels.clustering import cluster_means
from salcr.pseudo_labels.vectors import unit_rows
from salcr.types import MODALITIES, Floats, Integers

RATES = (1e-2, 1e-3, 1e-4)
"""False-match rates that have a threshold."""
KINDS = ("across", "within")
MIN_FALSE_MATCHES = 10
"""Negative pairs above a threshold that its rate needs: with fewer, the rate is mostly chance."""
_BINS_PER_UNIT = 10_000  # so that a threshold is less than 1e-4 above the smallest possible one
_NUM_BINS = 2 * _BINS_PER_UNIT + 1  # from -1; the last one is of cosines of 1
_BINS_OF_ONE = 100  # joined in the stored histogram and between two points of the ROC
_BLOCK = 1024  # rows whose pairs are in memory at a time


class PairCounts(NamedTuple):
    """Numbers of pairs by cosine similarity, in steps of 0.0001 from -1 to 1."""

    positive: Integers
    """[20001], pairs of one person."""
    negative: Integers
    """[20001], pairs of two people."""


def count_pairs(features: Floats, modality: Integers, person: Integers) -> dict[str, PairCounts]:
    """Return the counts of all pairs of different images, "across" and "within" modalities.

    Args:
        features: [N, C], unit rows.
        modality: [N], 0 or 1.
        person: [N], known people only.
    """
    counts = np.zeros(4 * _NUM_BINS, dtype=np.int64)
    for start in range(0, len(features), _BLOCK):
        rows = slice(start, start + _BLOCK)
        cosine = (features[rows] @ features[start:].T).astype(np.float64)
        bins = np.clip(np.floor((cosine + 1) * _BINS_PER_UNIT), 0, _NUM_BINS - 1).astype(np.int64)
        bins += _NUM_BINS * (person[rows, None] == person[start:])
        bins += 2 * _NUM_BINS * (modality[rows, None] != modality[start:])
        is_later = np.triu(np.ones(bins.shape, dtype=bool), k=1)
        counts += np.bincount(bins[is_later], minlength=len(counts))
    within_negative, within_positive, negative, positive = counts.reshape(4, _NUM_BINS)
    return {
        "across": PairCounts(positive, negative),
        "within": PairCounts(within_positive, within_negative),
    }


def summarize(counts: PairCounts) -> dict[str, Any]:
    """Return histograms, ROC, and thresholds of the pairs of one kind, as plain values.

    A pair matches if its cosine is at least the threshold. The threshold of a false-match rate is
    the smallest, in steps of 0.0001, at which at most this share of the negative pairs match. It is
    None where there are fewer than 10 / rate negative pairs.

    Args:
        counts: of pairs, at least one of them positive and one negative.
    """
    matching = [np.append(np.cumsum(side[::-1])[::-1], 0) for side in counts]
    true, false = (side / side[0] for side in matching)
    num_negative = int(matching[1][0])
    edges = np.arange(_NUM_BINS + 1) / _BINS_PER_UNIT - 1
    thresholds = []
    for rate in RATES:
        allowed = int(rate * num_negative + 1e-6)  # 1e-3 * 7000 may be just below 7
        position = int(np.argmax(matching[1] <= allowed)) if allowed >= MIN_FALSE_MATCHES else None
        thresholds.append(
            {
                "false_match_rate": rate,
                "threshold": None if position is None else round(float(edges[position]), 4),
                "true_match_rate": None if position is None else float(true[position]),
            }
        )
    points = range(0, _NUM_BINS, _BINS_OF_ONE)
    return {
        "positive": _join_bins(counts.positive),
        "negative": _join_bins(counts.negative),
        "roc": [
            {
                "threshold": round(float(edges[point]), 2),
                "false_match_rate": float(false[point]),
                "true_match_rate": float(true[point]),
            }
            for point in points
        ],
        "thresholds": thresholds,
    }


def people_of_clusters(
    features: dict[str, Floats], clusters: dict[str, Integers]
) -> dict[str, Integers]:
    """Return a person for each image: a cluster, or two that are mutually nearest.

    Two clusters of different modalities are of one person if the cosine of their means is, for
    both, the largest among all clusters of the other modality.

    Args:
        features: modality -> [N, C], unit rows.
        clusters: modality -> [N] labels 0 .. K-1 that all occur, or -1 for outliers.

    Returns:
        modality -> [N] people, -1 for outliers. Visible clusters keep their numbers.
    """
    people = {name: labels.copy() for name, labels in clusters.items()}
    if len(clusters) < len(MODALITIES):
        return people
    visible, infrared = (unit_rows(cluster_means(features[m], clusters[m])) for m in MODALITIES)
    cosine = visible @ infrared.T
    best_visible, best_infrared = cosine.argmax(axis=0), cosine.argmax(axis=1)
    number = np.arange(len(infrared))
    is_mutual = best_infrared[best_visible] == number
    person = np.where(is_mutual, best_visible, len(visible) + number)
    kept = clusters["infrared"] >= 0
    people["infrared"][kept] = person[clusters["infrared"][kept]]
    return people


def _join_bins(counts: Integers) -> list[int]:
    """Return the counts in 200 steps of 0.01; cosines of 1 belong to the last."""
    joined = counts[:-1].reshape(-1, _BINS_OF_ONE).sum(axis=1)
    joined[-1] += counts[-1]
    return [int(count) for count in joined]
