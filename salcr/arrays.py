"""The kinds of arrays that most modules take and return, and the labels that they hand on."""

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
