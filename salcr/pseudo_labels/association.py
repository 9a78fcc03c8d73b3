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
"""Name of a method that matches clusters -> its function."""


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

    "pgm", "mbccm" and "otla" are the associations that the paper compares with (METHOD 5). They
    use the features as they are and keep the DBSCAN label in the own modality. "otla" has the
    visible space only: there infrared images get a label, `visible_to_infrared` is -1 (none).

    Args:
        visible: [N, D] features of the clustered visible images, unit rows.
        infrared: [M, D] features of the clustered infrared images, unit rows.
        visible_cluster: [N] DBSCAN labels 0 .. K-1, no outliers.
        infrared_cluster: [M] DBSCAN labels 0 .. L-1, no outliers.
        cmfp_k: neighbors of the feature propagation, or None to do without it; "dagl" only.
        strength: lambda of the optimal transport; "dagl" and "otla" only.
        relabel_own_modality: also give images a new label in their own modality, the argmax of
            the inner product with the cluster means (released code); else DBSCAN's stays (paper).
            "dagl" only.
        method: which association.
        blocks: neighbors of the feature propagation, where they have been searched before.

    Returns:
        Labels in the roles of `PseudoLabels`.

    Raises:
        ValueError: there is no such method, or a side has no cluster.
    """
    if not (len(visible) and len(infrared)):
        raise ValueError(
            f"no association of {len(visible)} visible and {len(infrared)} infrared images"
        )
    if method == "otla":
        means = cluster_means(visible, visible_cluster)
        none = np.full(len(visible), -1, dtype=np.int64)
        moved = transport_to_clusters(infrared, means, strength=strength)
        return PseudoLabels(visible_cluster, none, infrared_cluster, moved)
    if method in MATCHINGS:
        visible_means = unit_rows(cluster_means(visible, visible_cluster))
        infrared_means = unit_rows(cluster_means(infrared, infrared_cluster))
        matched = MATCHINGS[method](visible_means, infrared_means)
        return PseudoLabels(
            visible=visible_cluster,
            visible_to_infrared=matched.infrared_of_visible[visible_cluster],
            infrared=infrared_cluster,
            infrared_to_visible=matched.visible_of_infrared[infrared_cluster],
        )
    if method != "dagl":
        raise ValueError(f"no association is called {method!r}")
    if cmfp_k is not None:
        visible, infrared = propagate(visible, infrared, k=cmfp_k, blocks=blocks)
    return _associate_dually(
        visible, infrared, visible_cluster, infrared_cluster, strength, relabel_own_modality
    )


def _associate_dually(
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
