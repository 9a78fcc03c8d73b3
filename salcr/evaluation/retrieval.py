"""Evaluate retrieval: features of a test split, and the metrics in its galleries."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from salcr.data.store import Split, load_identities
from salcr.datasets.protocol import Annotations, Setting, sample_gallery
from salcr.evaluation.metrics import Retrieval, retrieval_metrics
from salcr.models.features import mirrored_features
from salcr.models.network import Network
from salcr.types import MODALITIES, Floats, Integers, evenly_spaced

RANKS = 20
_NUM_NEAREST = 10
Rank = Callable[[Floats, Floats], Floats]
"""Function of query features [Q, C] and gallery features [G, C] that returns distances [Q, G]."""


class TestSet(NamedTuple):
    """Features and annotations of a trial's test images, by modality."""

    features: dict[str, Floats]
    """[N, C], unit rows."""
    annotations: dict[str, Annotations]
    """Identities and cameras, [N] each."""


def embed_test_set(network: Network, split: Split, identities: Path, *, trial: int) -> TestSet:
    """Return the features and the annotations of all test images.

    Args:
        network: computes the features; put into evaluation mode.
        split: the test images of the trial.
        identities: file of the true identities.
        trial: number of the split.

    Raises:
        SalcrError: the identities are damaged, or a feature is not finite.
    """
    identity = load_identities(identities, trial=trial, split="test")
    images = split.images
    return TestSet(
        {m: mirrored_features(network, images[m], m).cpu().numpy() for m in MODALITIES},
        {m: Annotations(identity[m], images[m].camera) for m in MODALITIES},
    )


def squared_euclidean(query: Floats, gallery: Floats) -> Floats:
    """Return the squared Euclidean distances [Q, G], in [0, 4], of unit rows."""
    distance: Floats = 2 - 2 * query @ gallery.T
    return distance


def evaluate_galleries(
    setting: Setting, rank: Rank, test: TestSet
) -> tuple[list[Retrieval], float]:
    """Return the metrics in every random gallery, and the mean seconds of a ranking.

    Args:
        setting: the protocol.
        rank: computes the distances.
        test: all test images.

    Raises:
        ValueError: no query has a match in a gallery.
    """
    query, images = test.features[setting.query], test.features[setting.gallery]
    rank(query[:2], images[:2])  # so that imports and compilation are not timed
    metrics, seconds = [], []
    for draw in range(setting.draws):
        positions = sample_gallery(setting, test.annotations[setting.gallery], draw)
        gallery = images[positions]
        started = time.perf_counter()
        distance = rank(query, gallery)
        seconds.append(time.perf_counter() - started)
        metrics.append(_evaluate_gallery(setting, distance, test, positions))
    return metrics, float(np.mean(seconds))


def nearest_images(
    setting: Setting, split: Split, test: TestSet, *, count: int
) -> list[dict[str, object]]:
    """Return evenly spaced queries with the ten nearest images of the first gallery.

    Images that the protocol excludes for a query are left out.

    Args:
        setting: the protocol.
        split: the test images.
        test: their features and annotations.
        count: number of queries.

    Returns:
        plain values of each query: the row of `query` in the array of its modality, those of the
        `gallery` images, and which of these are `right`, of the same person.
    """
    queries, images = split.images[setting.query], split.images[setting.gallery]
    chosen = np.array(evenly_spaced(len(queries), count))
    positions = sample_gallery(setting, test.annotations[setting.gallery], draw=0)
    distance = squared_euclidean(
        test.features[setting.query][chosen], test.features[setting.gallery][positions]
    )
    query_annotations = test.annotations[setting.query].at(chosen)
    gallery_annotations = test.annotations[setting.gallery].at(positions)
    if setting.excludes is not None:
        distance[setting.excludes(query_annotations, gallery_annotations)] = np.inf
    rankings: list[dict[str, object]] = []
    for query, identity, row in zip(chosen, query_annotations.identity, distance, strict=True):
        order = np.argsort(row, kind="stable")[: min(_NUM_NEAREST, np.isfinite(row).sum())]
        rankings.append(
            {
                "query": int(queries.rows[query]),
                "gallery": images.rows[positions[order]].tolist(),
                "right": (gallery_annotations.identity[order] == identity).tolist(),
            }
        )
    return rankings


def retrieval_to_dict(metrics: Retrieval) -> dict[str, object]:
    """Return the metrics as plain values, for a file."""
    return {"cmc": metrics.cmc.tolist(), "map": metrics.map, "minp": metrics.minp}


def average_scores(galleries: list[Retrieval]) -> dict[str, float]:
    """Return rank-1, mAP and mINP, in [0, 1], averaged over galleries."""
    return {
        "rank-1": float(np.mean([metrics.cmc[0] for metrics in galleries])),
        "mAP": float(np.mean([metrics.map for metrics in galleries])),
        "mINP": float(np.mean([metrics.minp for metrics in galleries])),
    }


def format_scores(scores: dict[str, float]) -> str:
    """Return scores in percent as text, for a log."""
    return ", ".join(f"{name} {value:.2%}" for name, value in scores.items())


def _evaluate_gallery(
    setting: Setting, distance: Floats, test: TestSet, gallery_positions: Integers
) -> Retrieval:
    """Return the metrics in one gallery, of distances [Q, G] and the gallery's positions [G]."""
    query, images = test.annotations[setting.query], test.annotations[setting.gallery]
    gallery = images.at(gallery_positions)
    return retrieval_metrics(
        distance,
        query.identity,
        gallery.identity,
        excluded=None if setting.excludes is None else setting.excludes(query, gallery),
        identity_once=setting.identity_once,
        num_ranks=RANKS,
    )
