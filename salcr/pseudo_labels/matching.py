"""Match the clusters of two modalities: PGM, MBCCM, and optimal transport of images to clusters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from salcr.pseudo_labels.sinkhorn import sinkhorn
from salcr.pseudo_labels.vectors import squared_distance
from salcr.types import Floats, Integers


class Matching(NamedTuple):
    """The partner of each cluster in the other modality; every cluster has one."""

    infrared_of_visible: Integers
    """[K], 0 .. L-1."""
    visible_of_infrared: Integers
    """[L], 0 .. K-1."""


def match_progressively(visible: Floats, infrared: Floats) -> Matching:
    """Return the progressive graph matching of clusters (PGM, METHOD 5).

    The first round matches all clusters of the smaller modality, with the least sum of exp(-cos).
    The remaining clusters of the larger modality are matched with the whole smaller one again,
    round after round until all are matched. A cluster of the smaller modality keeps its partner of
    the first round.

    Args:
        visible: [K, D], unit rows: the centroids of K > 0 clusters.
        infrared: [L, D], unit rows: those of L > 0 clusters.

    Raises:
        ValueError: a modality has no cluster.
    """
    _require_clusters(visible, infrared)
    cost = np.exp(-(visible @ infrared.T))
    if len(visible) >= len(infrared):
        return Matching(*_match_in_rounds(cost))
    visible_of_infrared, infrared_of_visible = _match_in_rounds(cost.T)
    return Matching(infrared_of_visible, visible_of_infrared)


def match_with_repetition(visible: Floats, infrared: Floats) -> Matching:
    """Return the bilateral many-to-many matching of clusters (MBCCM, METHOD 5).

    Visible clusters are matched, with the least sum of squared Euclidean distances, to K // L + 1
    copies of the infrared clusters; independently, infrared clusters are matched to the visible
    ones without copies. With K < L this would leave infrared clusters without a partner; in this
    case there are ceil(L / K) copies of the visible clusters, an addition to the method.

    Args:
        visible: [K, D], unit rows: the centroids of K > 0 clusters.
        infrared: [L, D], unit rows: those of L > 0 clusters.

    Raises:
        ValueError: a modality has no cluster.
    """
    _require_clusters(visible, infrared)
    cost = squared_distance(visible, infrared)
    num_visible, num_infrared = cost.shape
    visible_copies = -(-num_infrared // num_visible)
    return Matching(
        infrared_of_visible=_match_copies(cost, num_visible // num_infrared + 1),
        visible_of_infrared=_match_copies(cost.T, visible_copies),
    )


def transport_to_clusters(features: Floats, means: Floats, *, strength: float) -> Integers:
    """Return the cluster to which optimal transport assigns each image (METHOD 3.1.3).

    Args:
        features: [N, D].
        means: [K, D], of the other modality's clusters, not normalized.
        strength: lambda of `sinkhorn`; costs are squared Euclidean distances.

    Returns:
        [N], 0 .. K-1, position of the largest entry in each row of the plan.
    """
    return np.argmax(sinkhorn(squared_distance(features, means), strength=strength), axis=1)


def _require_clusters(visible: Floats, infrared: Floats) -> None:
    if not (len(visible) and len(infrared)):
        raise ValueError(
            f"no match for {len(visible)} visible and {len(infrared)} infrared clusters"
        )


def _match_in_rounds(cost: NDArray[np.floating]) -> tuple[Integers, Integers]:
    """Return the column of each row and the first round's row of each column; [K, L], K >= L.

    Columns of zeros that make the matrix square (METHOD 5) would be assigned to the rows that
    SciPy leaves out of the assignment of a tall matrix, at no cost: the padding is not needed.
    """
    column_of_row = np.full(cost.shape[0], -1, dtype=np.int64)
    row_of_column = np.full(cost.shape[1], -1, dtype=np.int64)
    while (left := np.flatnonzero(column_of_row < 0)).size:
        rows, columns = _assignment(cost[left])
        column_of_row[left[rows]] = columns
        is_first = row_of_column[columns] < 0
        row_of_column[columns[is_first]] = left[rows[is_first]]
    return column_of_row, row_of_column


def _match_copies(cost: NDArray[np.floating], copies: int) -> Integers:
    """Return the column of each row, [K]; each column is used at most `copies` times."""
    _, columns = _assignment(np.tile(cost, (1, copies)))
    return np.asarray(columns % cost.shape[1], dtype=np.int64)


def _assignment(cost: NDArray[np.floating]) -> tuple[Integers, Integers]:
    """Return rows and columns of the assignment of least cost."""
    from scipy.optimize import linear_sum_assignment  # the import takes a third of a second

    rows, columns = linear_sum_assignment(cost)
    return rows, columns
