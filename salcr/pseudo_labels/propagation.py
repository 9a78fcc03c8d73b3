"""Cross-modality feature propagation (CMFP, METHOD 3.1.2), also a re-ranking."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from salcr.pseudo_labels.neighbors import Neighbors, nearest_between, nearest_within
from salcr.pseudo_labels.vectors import row_norms
from salcr.types import Floats


class Blocks(NamedTuple):
    """The k nearest images of each modality for the images of each: the four blocks of cosines."""

    visible: Neighbors
    """VV."""
    visible_to_infrared: Neighbors
    """VR."""
    infrared_to_visible: Neighbors
    """RV."""
    infrared: Neighbors
    """RR."""


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
        k: neighbors; all, where a modality has fewer images.
        within: VV and RR where they are known, as `nearest_within` returns them.

    Raises:
        ValueError: `k` is below 1, or a feature is not finite.
    """
    own = within or (nearest_within(visible, k), nearest_within(infrared, k))
    there, back = nearest_between(visible, infrared, k)
    return Blocks(own[0], there, back, own[1])


def propagate(
    visible: Floats, infrared: Floats, *, k: int, blocks: Blocks | None = None
) -> tuple[Floats, Floats]:
    """Return features mixed with those of their neighbors in both modalities (CMFP).

    Of each of the four blocks of cosines VV, VR, RV and RR a row keeps its `k` largest entries,
    negative ones become 0 and rows are scaled to sum 1; [[VV, VR], [RV, RR]] times the stacked
    features, normalized, is the result. A row without positive entries contributes nothing, nor
    does a modality without images.

    Args:
        visible: [N, D], unit rows.
        infrared: [M, D], unit rows.
        k: entries kept; all, where a modality has fewer images.
        blocks: the entries, where `nearest_blocks` has been asked for them before.

    Returns:
        propagated visible [N, D] and infrared [M, D] features, unit rows, float32.

    Raises:
        ValueError: `k` is below 1, or a feature is not finite.
    """
    found = blocks or nearest_blocks(visible, infrared, k=k)
    return (
        _mixed((found.visible, visible), (found.visible_to_infrared, infrared)),
        _mixed((found.infrared_to_visible, visible), (found.infrared, infrared)),
    )


def _mixed(*blocks: tuple[Neighbors, Floats]) -> Floats:
    """Return the sum of the blocks' products with their features, rows of length 1."""
    from salcr.pseudo_labels import (
        kernels,  # here, since it imports numba, which takes half a second
    )

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
