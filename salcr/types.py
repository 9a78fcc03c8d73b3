"""Types that most packages share: arrays, modalities, pseudo-labels."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
MODALITIES = ("visible", "infrared")
"""The modalities of images; the two label spaces have the same names."""

Labels = TypeVar("Labels")


class PseudoLabels(NamedTuple, Generic[Labels]):
    """Labels of images in both label spaces: 0 .. K-1 in a space of K labels, or -1 for none.

    The fields are NumPy arrays for a whole split, tensors for a batch.
    """

    visible: Labels
    """[N], labels of the visible images in the visible space."""
    visible_to_infrared: Labels
    """[N], labels of the visible images in the infrared space."""
    infrared: Labels
    """[M], labels of the infrared images in the infrared space."""
    infrared_to_visible: Labels
    """[M], labels of the infrared images in the visible space."""

    def of(self, modality: str, space: str) -> Labels:
        """Return the labels of the images of one modality in one label space."""
        name = modality if space == modality else f"{modality}_to_{space}"
        labels: Labels = getattr(self, name)
        return labels


def evenly_spaced(size: int, count: int) -> list[int]:
    """Return up to `count` of the positions 0 .. size-1, evenly spaced, in ascending order."""
    return sorted(set(np.linspace(0, size - 1, min(count, size)).round().astype(int).tolist()))
