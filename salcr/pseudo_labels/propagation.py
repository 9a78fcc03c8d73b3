"""Cross-modality feature propagation (CMFP, METHOD 3.1.2), also used as a re-ranking."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from salcr.pseudo_labels.neighbors import Neighbors, nearest_between, nearest_within
from salcr.pseudo_labels.vectors import row_norms
from salcr.types import Floats


class Blocks(NamedTuple):
    """The k nearest images within and between the modalities: the four blocks of cosines."""

    visible: Neighbors
    """VV, visible neighbors of visible images."""
    visible_to_infrared: Neighbors
    """VR, infrared neighbors of visible images."""
    infrared_to_visible: Neighbors
    """RV, visible neighbors of infrared images."""
    infrared: Neighbors
    """RR, infrared neighbors of infrared images."""


def nearest_blocks(
    visible: Floats | Tensor,
    infrared: Floats | Tensor,
    *,
    k: int,
    within: tuple[Neighbors, Neighbors] | None = None,
) -> Blocks:
    """Return the k nearest images in all four blocks.

    Args:
        visible: [N, D], unit rows.
        infrared: [M, D], unit rows, on the same device.
        k: number of neighbors; all, if a modality has fewer images.
        within: VV and RR, if they are already known, as `nearest_within` returns them.

    Raises:
        ValueError: `k` is below 1, or a feature is not finite.
    """
    vv, rr = within or (nearest_within(visible, k), nearest_within(infrared, k))
    vr, rv = nearest_between(visible, infrared, k)
    return Blocks(vv, vr, rv, rr)


def propagate(
    visible: Floats, infrared: Floats, *, k: int, blocks: Blocks | None = None
) -> tuple[Floats, Floats]:
    """Return features mixed with those of their neighbors in both modalities (CMFP).

    In each of the four blocks of cosines VV, VR, RV and RR, only the `k` largest entries of a row
    are kept, negative entries are set to 0 and rows are scaled to sum 1. The result is
    [[VV, VR], [RV, RR]] times the stacked features, normalized. Rows without positive entries and
    modalities without images do not contribute.

    Args:
        visible: [N, D], unit rows.
        infrared: [M, D], unit rows.
        k: entries kept; all, if a modality has fewer images.
        blocks: the entries, if `nearest_blocks` has already been called.

    Returns:
        propagated visible [N, D] and infrared [M, D] features, unit rows, float32.

    Raises:
        ValueError: `k` is below 1, or a feature is not finite.
    """
    blocks = blocks or nearest_blocks(visible, infrared, k=k)
    return (
        _mix((blocks.visible, visible), (blocks.visible_to_infrared, infrared)),
        _mix((blocks.infrared_to_visible, visible), (blocks.infrared, infrared)),
    )


def _mix(*blocks: tuple[Neighbors, Floats]) -> Floats:
    """Return the sum of the blocks' products with their features, rows scaled to length 1."""
    from salcr.pseudo_labels import kernels  # here, because importing numba takes half a second

    (neighbors, features), *_ = blocks
    total = np.zeros((len(neighbors.indices), features.shape[1]), dtype=np.float32)
    for neighbors, features in blocks:
        weights = np.maximum(neighbors.similarities, 0)
        sums = weights.sum(axis=1, keepdims=True)
        weights = np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)
        kernels.add_weighted(
            total, weights, neighbors.indices, np.ascontiguousarray(features, np.float32)
        )
    total /= row_norms(total)
    return total
