"""The partner of a cluster in the other modality, by the labels of its images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from salcr.types import MODALITIES, Floats, Integers, PseudoLabels


class Partners(NamedTuple):
    """What the clusters of a modality are matched with in the other one."""

    cluster: Integers
    """[K], the other modality's cluster that most of the labeled images have; -1 for none."""
    share: Floats
    """[K], share of the labeled images that have it; 0 for none."""


def partners_of_clusters(
    clusters: dict[str, Integers], labels: PseudoLabels[Integers]
) -> dict[str, Partners]:
    """Return modality -> the partners of its clusters.

    Args:
        clusters: modality -> [N] DBSCAN labels, -1 for outliers.
        labels: of the same images, in both spaces; -1 for none.
    """
    partners = {}
    for modality, other in (MODALITIES, MODALITIES[::-1]):
        own, crossing = clusters[modality], labels.of(modality, other)
        kept = (own >= 0) & (crossing >= 0)
        votes = np.zeros([int(clusters[m].max(initial=-1)) + 1 for m in (modality, other)], int)
        np.add.at(votes, (own[kept], crossing[kept]), 1)
        total, most = votes.sum(axis=1), votes.max(axis=1)
        cluster = np.where(total > 0, votes.argmax(axis=1), -1)
        partners[modality] = Partners(cluster, most / np.maximum(total, 1))
    return partners


def is_mutual(modality: str, partners: dict[str, Partners]) -> NDArray[np.bool_]:
    """Return [K], whether a cluster of the modality is its partner's partner."""
    own = partners[modality].cluster
    (other,) = (partners[m].cluster for m in MODALITIES if m != modality)
    return (own >= 0) & (other[own] == np.arange(len(own)))
