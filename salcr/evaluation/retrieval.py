"""From a network and a test split to retrieval: features, and the metrics of one gallery."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from salcr.data.store import Split, load_identities
from salcr.datasets.protocol import Annotations, Setting
from salcr.evaluation.metrics import Retrieval, retrieval_metrics
from salcr.models.features import mirrored_features
from salcr.models.network import Network
from salcr.types import MODALITIES, Floats, Integers

RANKS = 20


class TestSet(NamedTuple):
    """What is known of a split's test images, by modality."""

    features: dict[str, Floats]
    """[N, C], unit rows."""
    annotations: dict[str, Annotations]
    """Identities and cameras."""


def embed_test_set(network: Network, split: Split, identities: Path, *, trial: int) -> TestSet:
    """Return the features of all test images, and who is on them.

    Args:
        network: to compute features with.
        split: the test images of the trial.
        identities: file of the true identities.
        trial: whose split it is.
    """
    who = load_identities(identities, trial=trial, split="test")
    images = split.images
    return TestSet(
        {m: mirrored_features(network, images[m], m).cpu().numpy() for m in MODALITIES},
        {m: Annotations(who[m], images[m].camera) for m in MODALITIES},
    )


def squared_euclidean(query: Floats, gallery: Floats) -> Floats:
    """Return the distances [Q, G] of unit rows."""
    distance: Floats = 2 - 2 * query @ gallery.T
    return distance


def evaluate_gallery(
    setting: Setting, distance: Floats, test: TestSet, drawn: Integers
) -> Retrieval:
    """Return the metrics in one drawn gallery.

    Args:
        setting: the protocol.
        distance: [Q, G] of all queries and the gallery's images.
        test: all test images.
        drawn: [G], the gallery's positions among them.
    """
    query, images = test.annotations[setting.query], test.annotations[setting.gallery]
    gallery = Annotations(images.identity[drawn], images.camera[drawn])
    return retrieval_metrics(
        distance,
        query.identity,
        gallery.identity,
        excluded=None if setting.excludes is None else setting.excludes(query, gallery),
        identity_once=setting.identity_once,
        num_ranks=RANKS,
    )


def retrieval_to_dict(found: Retrieval) -> dict[str, object]:
    """Return the metrics as plain values, for a file."""
    return {"cmc": found.cmc.tolist(), "map": found.map, "minp": found.minp}


def average_scores(draws: list[Retrieval]) -> dict[str, float]:
    """Return rank-1, mAP and mINP, each 0 to 1, as means over drawn galleries."""
    return {
        "rank-1": float(np.mean([one.cmc[0] for one in draws])),
        "mAP": float(np.mean([one.map for one in draws])),
        "mINP": float(np.mean([one.minp for one in draws])),
    }


def format_scores(scores: dict[str, float]) -> str:
    """Return scores in percent, for a log."""
    return ", ".join(f"{name} {value:.2%}" for name, value in scores.items())
