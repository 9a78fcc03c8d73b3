"""Clusters of one modality for those of the other: PGM, MBCCM, and optimal transport."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from salcr.pseudo_labels.sinkhorn import sinkhorn
from salcr.pseudo_labels.vectors import squared_distance
from salcr.types import Floats, Integers


class Matching(NamedTuple):
    """Which cluster of the other modality each cluster belongs to; every cluster has one."""

    infrared_of_visible: Integers
    """[K], 0 .. L-1."""
    visible_of_infrared: Integers
    """[L], 0 .. K-1."""


def match_progressively(visible: Floats, infrared: Floats) -> Matching:
    """Return the progressive graph matching of clusters (PGM, METHOD 5).

    The first round matches all clusters of the smaller side, at the least sum of exp(-cos); what
    is left of the larger side is matched with the whole smaller side again, round after round
    until nothing is left. A cluster of the smaller side keeps its partner of the first round.

    Args:
        visible: [K, D], unit rows: the centroids of K > 0 clusters.
        infrared: [L, D], unit rows: those of L > 0 clusters.

    Raises:
        ValueError: a side has no cluster.
    """
    _require_clusters(visible, infrared)
    cost = np.exp(-(visible @ infrared.T))
    if len(visible) >= len(infrared):
        return Matching(*_match_in_rounds(cost))
    visible_of_infrared, infrared_of_visible = _match_in_rounds(cost.T)
    return Matching(infrared_of_visible, visible_of_infrared)


def match_with_repetition(visible: Floats, infrared: Floats) -> Matching:
    """Return the bilateral many-to-many matching of clusters (MBCCM, METHOD 5).

    Visible clusters are matched, at the least sum of squared Euclidean distances, with infrared
    ones of which there are K // L + 1 copies; infrared clusters, on their own, with visible ones
    without copies. Where K < L that would leave infrared clusters without a partner; then there
    are as many copies of the visible ones as it takes, our addition.

    Args:
        visible: [K, D], unit rows: the centroids of K > 0 clusters.
        infrared: [L, D], unit rows: those of L > 0 clusters.

    Raises:
        ValueError: a side has no cluster.
    """
    _require_clusters(visible, infrared)
    cost = squared_distance(visible, infrared)
    num_visible, num_infrared = cost.shape
    enough = -(-num_infrared // num_visible)
    return Matching(
        infrared_of_visible=_match_copies(cost, num_visible // num_infrared + 1),
        visible_of_infrared=_match_copies(cost.T, enough),
    )


def transport_to_clusters(features: Floats, means: Floats, *, strength: float) -> Integers:
    """Return the cluster that optimal transport gives each image (METHOD 3.1.3).

    Args:
        features: [N, D].
        means: [K, D], of the other modality's clusters, not normalized.
        strength: lambda of `sinkhorn`; costs are squared Euclidean distances.

    Returns:
        [N], 0 .. K-1, the largest entry of each row of the plan.
    """
    return np.argmax(sinkhorn(squared_distance(features, means), strength=strength), axis=1)


def _require_clusters(visible: Floats, infrared: Floats) -> None:
    if not (len(visible) and len(infrared)):
        raise ValueError(
            f"no match for {len(visible)} visible and {len(infrared)} infrared clusters"
        )


def _match_in_rounds(cost: NDArray[np.floating]) -> tuple[Integers, Integers]:
    """Return the column of each row and the first round's row of each column; [K, L], K >= L.

    Columns of zeros that make a matrix square (METHOD 5) take the rows that scipy's assignment
    of a tall matrix leaves out, at no cost either: the padding itself is not needed.
    """
    column_of_row = np.full(cost.shape[0], -1, dtype=np.int64)
    row_of_column = np.full(cost.shape[1], -1, dtype=np.int64)
    while (left := np.flatnonzero(column_of_row < 0)).size:
        rows, columns = _assignment(cost[left])
        column_of_row[left[rows]] = columns
        fresh = row_of_column[columns] < 0
        row_of_column[columns[fresh]] = left[rows[fresh]]
    return column_of_row, row_of_column


def _match_copies(cost: NDArray[np.floating], copies: int) -> Integers:
    """Return the column of each row, [K], each column taken `copies` times at most."""
    _, columns = _assignment(np.tile(cost, (1, copies)))
    return np.asarray(columns % cost.shape[1], dtype=np.int64)


def _assignment(cost: NDArray[np.floating]) -> tuple[Integers, Integers]:
    """Return rows and columns of the assignment of least cost."""
    from scipy.optimize import linear_sum_assignment  # its import takes a third of a second

    rows, columns = linear_sum_assignment(cost)
    return rows, columns
