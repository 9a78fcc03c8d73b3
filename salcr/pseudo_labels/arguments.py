"""What the public functions require of their arguments; a ValueError names what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray

from salcr.types import Floats, Integers

_LENGTH_TOLERANCE = 1e-3  # rows normalized in half precision pass


def check_unit_rows(name: str, values: ArrayLike) -> Floats:
    """Return features as a float32 array that may be written; ValueError if they are not that."""
    rows = np.require(check_numbers(name, values), np.float32, ["C", "W"])
    if len(rows) == 0:
        raise ValueError(f"{name}: has no rows")
    lengths = np.sqrt(np.vecdot(rows, rows))
    wrong = np.flatnonzero(np.abs(lengths - 1) > _LENGTH_TOLERANCE)
    if len(wrong):
        raise ValueError(
            f"{name}: row {wrong[0]} has length {lengths[wrong[0]]:.4g}, not 1; normalize the rows "
            f"first: {name} / np.linalg.norm({name}, axis=1, keepdims=True)"
        )
    return rows


def check_numbers(name: str, values: ArrayLike) -> NDArray[np.floating]:
    """Return finite numbers with two axes as an array; ValueError if they are not that."""
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{name}: must be numbers with two axes, not {array.dtype} {list(array.shape)}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: must be finite, but holds NaN or infinity")
    return array


def check_both(
    name: str, one: ArrayLike, other_name: str, other: ArrayLike
) -> tuple[Floats, Floats]:
    """Return the features of both modalities; ValueError if they do not fit together."""
    rows, others = check_unit_rows(name, one), check_unit_rows(other_name, other)
    if rows.shape[1] != others.shape[1]:
        raise ValueError(
            f"{other_name}: rows of {others.shape[1]} numbers, but those of {name} have "
            f"{rows.shape[1]}"
        )
    return rows, others


def check_integers(name: str, values: ArrayLike, length: int) -> Integers:
    """Return whole numbers [length] as an array; ValueError if they are not that."""
    array = np.asarray(values)
    if array.shape != (length,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: must be {length} whole numbers, not {array.dtype} {list(array.shape)}"
        )
    return array.astype(np.int64)


def check_count(name: str, value: int) -> None:
    """Refuse what is not a whole number from 1 on."""
    is_count = isinstance(value, Integral) and value >= 1
    check(name, value, "a whole number from 1 on", is_count)


def check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a word that is not one of the allowed ones."""
    check(name, value, f"one of {', '.join(allowed)}", value in allowed)


def check(name: str, value: object, wanted: str, holds: bool) -> None:
    """Refuse a value that is not what is wanted, in words."""
    if not holds:
        raise ValueError(f"{name}: must be {wanted}, not {value!r}")
