"""Comparison of a result with its reference value."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

RTOL, ATOL = 1e-4, 1e-5
Array = NDArray[Any]
Arrays = dict[str, Array]


def to_array(tensor: Tensor | None) -> Array:
    """Return the values of a tensor, which is not None."""
    assert tensor is not None
    array: Array = tensor.detach().cpu().numpy()
    return array


class Comparison(NamedTuple):
    """One result and its reference value."""

    name: str
    actual: Array
    expected: Array
    atol: float = ATOL
    """Absolute tolerance; the relative one is 1e-4. 0 for labels, which must be equal."""

    @property
    def absolute_error(self) -> float:
        """The largest absolute difference; infinite if shapes differ or a value is not finite."""
        if self.actual.shape != self.expected.shape or not np.isfinite(self.actual).all():
            return float("inf")
        return float(np.abs(self._difference()).max(initial=0))

    @property
    def relative_error(self) -> float:
        """The largest absolute difference divided by the largest absolute reference value."""
        scale = float(np.abs(self.expected.astype(np.float64)).max(initial=0))
        return self.absolute_error / scale if scale else self.absolute_error

    @property
    def passes(self) -> bool:
        """Whether all |actual - expected| <= atol + 1e-4 |expected|; 0 if atol is 0."""
        if not np.isfinite(self.absolute_error):
            return False
        rtol = RTOL if self.atol else 0
        allowed = self.atol + rtol * np.abs(self.expected.astype(np.float64))
        return bool((np.abs(self._difference()) <= allowed).all())

    def _difference(self) -> Array:
        return self.actual.astype(np.float64) - self.expected.astype(np.float64)
