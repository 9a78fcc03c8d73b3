"""Sample the images of a batch by their pseudo-labels (METHOD 2.5 and 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from salcr.types import Integers, PseudoLabels


def sample_cluster_batch(
    labels: Integers, *, clusters: int, instances: int, rng: np.random.Generator
) -> Integers:
    """Return the positions of a stage-one batch of one modality.

    Args:
        labels: [N] cluster of each image, 0 .. K-1, or -1 for outliers.
        clusters: number of clusters; all, if there are fewer.
        instances: images of each cluster, with replacement if it has no more than these.
        rng: random generator.

    Returns:
        [min(clusters, K) * instances] positions, cluster by cluster.
    """
    num_clusters = int(labels.max()) + 1
    chosen = rng.choice(num_clusters, size=min(clusters, num_clusters), replace=False)
    return np.concatenate([_sample_images(labels, label, instances, rng) for label in chosen])


class PairBatch(NamedTuple):
    """Aligned positions of a stage-two batch: the images of pair j share a pseudo-label."""

    visible: Integers
    """[B]."""
    infrared: Integers
    """[B]."""


def shared_labels(labels: PseudoLabels[Integers]) -> tuple[Integers, Integers]:
    """Return the labels that images of both modalities have.

    Args:
        labels: of the split's images, -1 for none.

    Returns:
        the shared labels of the visible and of the infrared space, ascending.
    """
    visible = np.intersect1d(labels.visible[labels.visible >= 0], labels.infrared_to_visible)
    infrared = np.intersect1d(labels.infrared[labels.infrared >= 0], labels.visible_to_infrared)
    return visible, infrared


def sample_pair_batch(
    labels: PseudoLabels[Integers],
    shared: tuple[Integers, Integers],
    *,
    num_labels: int,
    instances: int,
    rng: np.random.Generator,
) -> PairBatch:
    """Return a stage-two batch: half of its labels from the visible space, half from infrared.

    All are from one space if the other does not have shared labels.

    Args:
        labels: of the split's images, -1 for outliers.
        shared: `shared_labels(labels)`, not both empty.
        num_labels: number of labels; fewer, if a space has fewer than its share.
        instances: pairs of each label, with replacement if a modality has no more images.
        rng: random generator.
    """
    sides = (
        (labels.visible, labels.infrared_to_visible),
        (labels.visible_to_infrared, labels.infrared),
    )
    wanted = num_labels // sum(len(candidates) > 0 for candidates in shared)
    visible, infrared = [], []
    for candidates, (visible_label, infrared_label) in zip(shared, sides, strict=True):
        size = min(wanted, len(candidates))
        for label in rng.choice(candidates, size=size, replace=False):
            visible.append(_sample_images(visible_label, label, instances, rng))
            infrared.append(_sample_images(infrared_label, label, instances, rng))
    return PairBatch(np.concatenate(visible), np.concatenate(infrared))


def _sample_images(
    labels: Integers, label: int, instances: int, rng: np.random.Generator
) -> Integers:
    members = np.flatnonzero(labels == label)
    return rng.choice(members, size=instances, replace=len(members) <= instances)
