"""Arrays that most modules take and return, and which of many to look at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class Association(NamedTuple):
    """Labels of every clustered image in both label spaces, 0 .. K-1 of that space; -1: none."""

    visible: Integers
    """[N], visible images in the visible space."""
    visible_to_infrared: Integers
    """[N], visible images in the infrared space."""
    infrared: Integers
    """[M], infrared images in the infrared space."""
    infrared_to_visible: Integers
    """[M], infrared images in the visible space."""


def evenly_spread(size: int, count: int) -> list[int]:
    """Return up to `count` of the positions 0 .. size-1, evenly spread, for a look at a few."""
    return sorted(set(np.linspace(0, size - 1, min(count, size)).round().astype(int).tolist()))
