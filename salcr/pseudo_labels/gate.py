"""A gate for people who were seen in one modality only; an option, not SALCR's (METHOD 7.1).

Transport gives every image a partner in the other modality, also an image whose person is not
there. The gate takes back the labels of clusters whose partner is not credible.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from salcr.log import say, warn
from salcr.pseudo_labels.clustering import cluster_means
from salcr.pseudo_labels.vectors import unit_rows
from salcr.types import MODALITIES, Floats, Integers, PseudoLabels

_MAJORITY = 0.5
_MANY = 0.5  # of a modality's clusters: more are a reason to look at the threshold


class Partners(NamedTuple):
    """What a modality's clusters are matched with in the other one; [K] each."""

    cluster: Integers
    """The other modality's cluster that most of the images have as their label."""
    share: Floats
    """Share of the images that have it."""
    similarity: Floats
    """Largest cosine of the cluster's center with a center of the other modality."""


def gate(
    labels: PseudoLabels[Integers],
    features: dict[str, Floats],
    clusters: dict[str, Integers],
    *,
    least: float,
) -> PseudoLabels[Integers]:
    """Return the labels without those in the other space of clusters that have no partner there.

    A cluster keeps them if the cosine of its center with the nearest one of the other modality is
    at least `least`, and if the matches agree: its partner's partner is the cluster itself, or at
    least half of its images have one label. Shares and means are logged.

    Args:
        labels: of the clustered images, in both spaces.
        features: modality -> [N, C], unit rows of the same images.
        clusters: modality -> [N], DBSCAN labels 0 .. K-1, no outliers.
        least: cosine, in [-1, 1].

    Returns:
        the same labels but for -1 in the other space for the images of the clusters that are gated.
    """
    centers = {m: unit_rows(cluster_means(features[m], clusters[m])) for m in MODALITIES}
    cosines = centers["visible"] @ centers["infrared"].T
    partners = {}
    for modality, similarity in (("visible", cosines), ("infrared", cosines.T)):
        (other,) = {*MODALITIES} - {modality}
        size = len(centers[other])
        votes = np.zeros((len(centers[modality]), size), dtype=np.int64)
        np.add.at(votes, (clusters[modality], labels.of(modality, other)), 1)
        partners[modality] = Partners(
            votes.argmax(axis=1), votes.max(axis=1) / votes.sum(axis=1), similarity.max(axis=1)
        )
    kept = {m: _is_credible(m, partners, least) for m in MODALITIES}
    for modality in MODALITIES:
        _report(modality, partners[modality], kept[modality])
    visible, infrared = (kept[m][clusters[m]] for m in MODALITIES)
    return labels._replace(
        visible_to_infrared=np.where(visible, labels.visible_to_infrared, -1),
        infrared_to_visible=np.where(infrared, labels.infrared_to_visible, -1),
    )


def _is_credible(modality: str, partners: dict[str, Partners], least: float) -> Integers:
    """Return [K], whether each cluster of a modality keeps its labels in the other space."""
    own = partners[modality]
    (other,) = (partners[m] for m in MODALITIES if m != modality)
    mutual = other.cluster[own.cluster] == np.arange(len(own.cluster))
    return (own.similarity >= least) & (mutual | (own.share >= _MAJORITY))


def _report(modality: str, partners: Partners, kept: Integers) -> None:
    gated = float(1 - kept.mean())
    say(
        f"{modality}: {gated:.1%} of {len(kept)} clusters are gated; mean similarity "
        f"{partners.similarity.mean():.3f}, mean agreement {partners.share.mean():.1%}"
    )
    if gated > _MANY:
        warn(
            f"{modality}: {gated:.0%} of the clusters have no partner and are trained in their own "
            "space only: lower associate.gate_similarity if more people were seen in both"
        )
