"""Which images make a batch, from pseudo-labels and a random generator (METHOD 2.5 and 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from salcr.types import Integers, PseudoLabels


def sample_cluster_batch(
    labels: Integers, *, clusters: int, instances: int, rng: np.random.Generator
) -> Integers:
    """Return the positions of a stage-one batch of one modality.

    Args:
        labels: [N] cluster of each image, -1 for outliers.
        clusters: clusters wanted; all, where there are fewer.
        instances: images of each, with replacement where a cluster has no more.
        rng: random generator.

    Returns:
        [min(clusters, K) * instances] positions, cluster by cluster.
    """
    num_clusters = int(labels.max()) + 1
    chosen = rng.choice(num_clusters, size=min(clusters, num_clusters), replace=False)
    return np.concatenate([_draw(labels, label, instances, rng) for label in chosen])


class PairBatch(NamedTuple):
    """Aligned positions of a stage-two batch: pair j shares a pseudo-label."""

    visible: Integers
    infrared: Integers


def shared_labels(
    labels: PseudoLabels[Integers], label_space: str = "dual"
) -> tuple[Integers, Integers]:
    """Return the labels of the visible and of the infrared space that both modalities carry.

    Args:
        labels: of the split's images, -1 for none.
        label_space: "dual", or the one space to take labels of; the other has none then.
    """
    visible = np.intersect1d(labels.visible[labels.visible >= 0], labels.infrared_to_visible)
    infrared = np.intersect1d(labels.infrared[labels.infrared >= 0], labels.visible_to_infrared)
    return (
        visible if label_space in ("dual", "visible") else visible[:0],
        infrared if label_space in ("dual", "infrared") else infrared[:0],
    )


def sample_pair_batch(
    labels: PseudoLabels[Integers],
    shared: tuple[Integers, Integers],
    *,
    num_labels: int,
    instances: int,
    rng: np.random.Generator,
) -> PairBatch:
    """Return a stage-two batch: half of its labels from the visible space, half from infrared.

    All come from one space where the other has no shared label.

    Args:
        labels: of the split's images, -1 for outliers.
        shared: `shared_labels(labels)`, not both empty.
        num_labels: labels wanted; fewer where a space has fewer than its share.
        instances: pairs of each label, with replacement where a modality has no more images.
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
            visible.append(_draw(visible_label, label, instances, rng))
            infrared.append(_draw(infrared_label, label, instances, rng))
    return PairBatch(np.concatenate(visible), np.concatenate(infrared))


def _draw(labels: Integers, label: int, instances: int, rng: np.random.Generator) -> Integers:
    members = np.flatnonzero(labels == label)
    return rng.choice(members, size=instances, replace=len(members) <= instances)
