"""Cross-modality pseudo-labels: dual association with global learning (DAGL), and others."""

from __future__ import annotations

from typing import Literal

import numpy as np

from salcr.pseudo_labels.clustering import cluster_means
from salcr.pseudo_labels.matching import (
    match_progressively,
    match_with_repetition,
    transport_to_clusters,
)
from salcr.pseudo_labels.propagation import Blocks, propagate
from salcr.pseudo_labels.vectors import unit_rows
from salcr.types import Floats, Integers, PseudoLabels

Method = Literal["dagl", "otla", "pgm", "mbccm"]
MATCHINGS = {"pgm": match_progressively, "mbccm": match_with_repetition}
"""Name of a method that matches clusters -> function that does."""


def associate(
    visible: Floats,
    infrared: Floats,
    visible_cluster: Integers,
    infrared_cluster: Integers,
    *,
    cmfp_k: int | None,
    strength: float,
    relabel_own_modality: bool,
    method: Method = "dagl",
    blocks: Blocks | None = None,
) -> PseudoLabels[Integers]:
    """Return the labels of both modalities in both label spaces (METHOD 3.1).

    "pgm", "mbccm" and "otla" are the associations to which the paper compares "dagl" (METHOD 5).
    They use the features without propagation and keep the DBSCAN labels in the own modality.
    "otla" has the visible space only: `visible_to_infrared` is -1 (none).

    Args:
        visible: [N, D] features of the clustered visible images, unit rows.
        infrared: [M, D] features of the clustered infrared images, unit rows.
        visible_cluster: [N] DBSCAN labels 0 .. K-1, no outliers.
        infrared_cluster: [M] DBSCAN labels 0 .. L-1, no outliers.
        cmfp_k: neighbors of the feature propagation, or None for no propagation; "dagl" only.
        strength: lambda of the optimal transport; "dagl" and "otla" only.
        relabel_own_modality: also give images a new label in their own modality, the argmax of
            the inner product with the cluster means (released code); else they keep DBSCAN's
            (paper). "dagl" only.
        method: name of the association.
        blocks: neighbors of the feature propagation, if they are already known.

    Returns:
        Labels of the N visible and M infrared images.

    Raises:
        ValueError: the method is unknown, or a modality has no images.
    """
    if not (len(visible) and len(infrared)):
        raise ValueError(
            f"no association of {len(visible)} visible and {len(infrared)} infrared images"
        )
    if method == "otla":
        means = cluster_means(visible, visible_cluster)
        none = np.full(len(visible), -1, dtype=np.int64)
        assigned = transport_to_clusters(infrared, means, strength=strength)
        return PseudoLabels(visible_cluster, none, infrared_cluster, assigned)
    if method in MATCHINGS:
        visible_means = unit_rows(cluster_means(visible, visible_cluster))
        infrared_means = unit_rows(cluster_means(infrared, infrared_cluster))
        matching = MATCHINGS[method](visible_means, infrared_means)
        return PseudoLabels(
            visible=visible_cluster,
            visible_to_infrared=matching.infrared_of_visible[visible_cluster],
            infrared=infrared_cluster,
            infrared_to_visible=matching.visible_of_infrared[infrared_cluster],
        )
    if method != "dagl":
        raise ValueError(f"{method!r} is not an association")
    if cmfp_k is not None:
        visible, infrared = propagate(visible, infrared, k=cmfp_k, blocks=blocks)
    return _associate_in_both_spaces(
        visible, infrared, visible_cluster, infrared_cluster, strength, relabel_own_modality
    )


def _associate_in_both_spaces(
    visible: Floats,
    infrared: Floats,
    visible_cluster: Integers,
    infrared_cluster: Integers,
    strength: float,
    relabel: bool,
) -> PseudoLabels[Integers]:
    visible_means = cluster_means(visible, visible_cluster)
    infrared_means = cluster_means(infrared, infrared_cluster)
    if relabel:
        visible_cluster = np.argmax(visible @ visible_means.T, axis=1)
        infrared_cluster = np.argmax(infrared @ infrared_means.T, axis=1)
    return PseudoLabels(
        visible=visible_cluster,
        visible_to_infrared=transport_to_clusters(visible, infrared_means, strength=strength),
        infrared=infrared_cluster,
        infrared_to_visible=transport_to_clusters(infrared, visible_means, strength=strength),
    )
