"""Lengths and distances of feature vectors."""

from __future__ import annotations

import numpy as np

from salcr.types import Floats


def squared_distance(rows: Floats, others: Floats) -> Floats:
    """Return all squared Euclidean distances, [N, M]; rounding can make one slightly negative.

    Args:
        rows: [N, D].
        others: [M, D].
    """
    squared: Floats = rows @ others.T
    squared *= -2
    squared += np.vecdot(rows, rows)[:, None]
    squared += np.vecdot(others, others)
    return squared


def unit_rows(rows: Floats) -> Floats:
    """Return rows [N, D] scaled to length 1; a row of zeros remains 0."""
    unit: Floats = rows / row_norms(rows)
    return unit


def row_norms(rows: Floats) -> Floats:
    """Return the Euclidean norm of each row, [N, 1]; the smallest positive value for zeros."""
    norms = np.sqrt(np.vecdot(rows, rows))[:, None]
    return np.maximum(norms, np.finfo(np.float32).tiny)
