"""The pseudo-labels of a round: clusters within each modality, then association between them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from salcr.config import method as sections
from salcr.log import warn
from salcr.pseudo_labels.association import associate
from salcr.pseudo_labels.clustering import cluster
from salcr.pseudo_labels.gate import gate
from salcr.pseudo_labels.neighbors import Neighbors, nearest_within, nearest_within_subset
from salcr.pseudo_labels.propagation import nearest_blocks
from salcr.types import MODALITIES, Integers, PseudoLabels

# Factor by which more neighbors are searched than CMFP uses, so that enough are not outliers.
_SPARE = 2


def generate_pseudo_labels(
    features: dict[str, Tensor],
    clustering: sections.Clustering,
    settings: sections.Associate,
    tracks: Mapping[str, Integers | None] | None = None,
) -> tuple[dict[str, Integers], PseudoLabels[Integers]]:
    """Return the clusters of each modality and the labels of all images in both spaces.

    One neighbor search is used for the clustering and, without the outliers, for the feature
    propagation.

    Args:
        features: modality -> [N, C] unit global features.
        clustering: parameters of the clustering.
        settings: parameters of the association.
        tracks: modality -> [N], number of each image's track, or -1; None if not known.

    Returns:
        modality -> [N] DBSCAN labels, -1 for outliers; and the labels as `label_images` returns
        them.

    Raises:
        SalcrError: a modality has no cluster.
    """
    wanted = max(clustering.k1, _SPARE * settings.cmfp_k)
    neighbors = {m: nearest_within(features[m], wanted) for m in MODALITIES}
    clusters = {
        m: cluster(
            features[m],
            clustering,
            m,
            neighbors=neighbors[m].indices,
            tracks=tracks[m] if tracks else None,
        )
        for m in MODALITIES
    }
    return clusters, label_images(features, clusters, settings, neighbors)


def label_images(
    features: dict[str, Tensor],
    clusters: dict[str, Integers],
    settings: sections.Associate,
    neighbors: dict[str, Neighbors],
) -> PseudoLabels[Integers]:
    """Return the labels of all images in both spaces, -1 for the outliers of the clustering.

    With a gate, images of clusters without a partner have -1 in the other space, too.

    Args:
        features: modality -> [N, C] unit global features.
        clusters: modality -> [N] DBSCAN labels.
        settings: parameters of the association.
        neighbors: modality -> neighbors of all its images, as `nearest_within` returns them.
    """
    kept = {m: np.flatnonzero(clusters[m] >= 0) for m in MODALITIES}
    rows = {m: features[m][torch.from_numpy(kept[m])] for m in MODALITIES}
    blocks = None
    if settings.cmfp and settings.method == "dagl":
        for m, own in rows.items():
            if settings.cmfp_k >= len(own):
                warn(
                    f"{m}: associate.cmfp_k is {settings.cmfp_k}, but only {len(own)} images are "
                    "clustered: features are mixed with all of them; lower associate.cmfp_k"
                )
        visible, infrared = (
            nearest_within_subset(neighbors[m], rows[m], kept[m], settings.cmfp_k)
            for m in MODALITIES
        )
        blocks = nearest_blocks(
            rows["visible"], rows["infrared"], k=settings.cmfp_k, within=(visible, infrared)
        )
    labels_of_kept = associate(
        rows["visible"].cpu().numpy(),
        rows["infrared"].cpu().numpy(),
        clusters["visible"][kept["visible"]],
        clusters["infrared"][kept["infrared"]],
        cmfp_k=settings.cmfp_k if settings.cmfp else None,
        strength=settings.sinkhorn_strength,
        relabel_own_modality=settings.relabel_own_modality,
        method=settings.method,
        blocks=blocks,
    )
    if settings.gate_similarity is not None:
        labels_of_kept = gate(
            labels_of_kept,
            {m: side.cpu().numpy() for m, side in rows.items()},
            {m: clusters[m][kept[m]] for m in MODALITIES},
            least=settings.gate_similarity,
        )
    modality_of = ("visible", "visible", "infrared", "infrared")  # of the fields of PseudoLabels
    columns = []
    for labels, modality in zip(labels_of_kept, modality_of, strict=True):
        column = np.full(len(clusters[modality]), -1, dtype=np.int64)
        column[kept[modality]] = labels
        columns.append(column)
    return PseudoLabels(*columns)
