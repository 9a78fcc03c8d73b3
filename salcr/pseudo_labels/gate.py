"""A gate for people who were seen in one modality only; an option, not SALCR's (METHOD 7.1).

Transport gives every image a partner in the other modality, also an image whose person is not
there. The gate takes back the labels of clusters whose partner is not credible.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salcr.log import say, warn
from salcr.pseudo_labels.clustering import cluster_means
from salcr.pseudo_labels.partners import is_mutual, partners_of_clusters
from salcr.pseudo_labels.vectors import unit_rows
from salcr.types import MODALITIES, Floats, Integers, PseudoLabels

_MAJORITY = 0.5
_MANY = 0.5  # of a modality's clusters: more are a reason to look at the threshold


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
    partners = partners_of_clusters(clusters, labels)
    kept = {}
    for modality, similarity in (
        ("visible", cosines.max(axis=1)),
        ("infrared", cosines.max(axis=0)),
    ):
        share = partners[modality].share
        agree = is_mutual(modality, partners) | (share >= _MAJORITY)
        kept[modality] = (similarity >= least) & agree
        _report(modality, kept[modality], similarity, share)
    visible, infrared = (kept[m][clusters[m]] for m in MODALITIES)
    return labels._replace(
        visible_to_infrared=np.where(visible, labels.visible_to_infrared, -1),
        infrared_to_visible=np.where(infrared, labels.infrared_to_visible, -1),
    )


def _report(modality: str, kept: NDArray[np.bool_], similarity: Floats, share: Floats) -> None:
    gated = float(1 - kept.mean())
    say(
        f"{modality}: {gated:.1%} of {len(kept)} clusters are gated; mean similarity "
        f"{similarity.mean():.3f}, mean agreement {share.mean():.1%}"
    )
    if gated > _MANY:
        warn(
            f"{modality}: {gated:.0%} of the clusters have no partner, so their images are not "
            "trained in the other space, and not at all where no image shares their own label: "
            "lower associate.gate_similarity if more people were seen in both modalities"
        )
