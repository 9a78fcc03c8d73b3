"""Compiled loops for operations that NumPy does not have, with numba.

It is imported inside the functions that need it, because importing numba takes half a second and
training does not need it. Each row is computed by one thread in a fixed order, so results do not
depend on the number of threads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from salcr.errors import cache_without_errors
from salcr.types import Floats, Integers

# The other layers use OpenMP and would also change torch's number of threads.
numba.config.THREADING_LAYER = "workqueue"  # type: ignore[attr-defined]

# Products per chunk; one vector comparison tells whether a chunk can be skipped.
_CHUNK = 16
# Columns per thread at a time: enough for fast reads, few enough to occupy all threads.
_STRIP = 256
# Rows per thread at a time, with one workspace of the length of a row.
_SHARE = 128

Matrix = tuple[NDArray[np.int32], NDArray[np.int32], Floats]
"""Arrays (start, index, value) of a scipy.sparse matrix by rows or by columns."""


def _parallel(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that compiles a function; it runs with torch's number of threads."""

    def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
        compiled = cache_without_errors(numba.njit(parallel=True, **options)(function))

        @functools.wraps(function)
        def run(*arguments: Any) -> Any:
            most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
            numba.set_num_threads(min(torch.get_num_threads(), most))
            return compiled(*arguments)

        return run

    return decorator


@numba.njit(inline="always")
def _insert(values: Floats, indices: Integers, value: np.float32, index: int) -> None:
    """Insert a value into a descending list, after equal ones; the last value is dropped."""
    place = len(values) - 1
    while place > 0 and values[place - 1] < value:
        values[place] = values[place - 1]
        indices[place] = indices[place - 1]
        place -= 1
    values[place] = value
    indices[place] = index


@_parallel()
def keep_largest_of_rows(products: Floats, first: int, values: Floats, indices: Integers) -> None:
    """Update the list of the largest products of each row.

    Args:
        products: [N, M], of N rows with the database's rows `first`, `first + 1`, ...
        first: index of the first column. Equal products keep the order in which they are inserted,
            so columns must be in ascending order from call to call.
        values: [N, k], descending; initially -inf. Changed in place.
        indices: [N, k], database row of each value. Changed in place.
    """
    num_rows, num_columns = products.shape
    for row in numba.prange(num_rows):
        line, largest, places = products[row], values[row], indices[row]
        for start in range(0, num_columns, _CHUNK):
            stop = min(start + _CHUNK, num_columns)
            smallest, hits = largest[-1], 0
            for column in range(start, stop):
                hits += line[column] > smallest
            if hits:
                for column in range(start, stop):
                    if line[column] > largest[-1]:
                        _insert(largest, places, line[column], first + column)


@_parallel()
def keep_largest_of_columns(
    products: Floats, skipped: int, first: int, values: Floats, indices: Integers
) -> None:
    """Update the list of the largest products of each column, except for the first columns.

    Args:
        products: [N, M], of the rows `first`, `first + 1`, ... with those of the columns.
        skipped: number of first columns to leave out.
        first: index of the first row, see `keep_largest_of_rows`.
        values: [M - skipped, k], as there. Changed in place.
        indices: [M - skipped, k]. Changed in place.
    """
    num_rows, num_columns = products.shape
    for strip in numba.prange((num_columns - skipped + _STRIP - 1) // _STRIP):
        left = skipped + strip * _STRIP
        right = min(left + _STRIP, num_columns)
        smallest = values[left - skipped : right - skipped, -1].copy()
        for row in range(num_rows):
            for start in range(left, right, _CHUNK):
                stop = min(start + _CHUNK, right)
                hits = 0
                for column in range(start, stop):
                    hits += products[row, column] > smallest[column - left]
                if hits:
                    for column in range(start, stop):
                        if products[row, column] > smallest[column - left]:
                            largest = values[column - skipped]
                            places = indices[column - skipped]
                            _insert(largest, places, products[row, column], first + row)
                            smallest[column - left] = largest[-1]


@_parallel(fastmath={"reassoc", "contract"})
def inner_products(features: Floats, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> Floats:
    """Return the inner products of pairs of rows, [P].

    Args:
        features: [N, D].
        rows: [P], index of the first row of each pair.
        columns: [P], index of the second.
    """
    products = np.empty(len(rows), np.float32)
    for pair in numba.prange(len(rows)):
        first, second = features[rows[pair]], features[columns[pair]]
        total = np.float32(0)
        for place in range(features.shape[1]):
            total += first[place] * second[place]
        products[pair] = total
    return products


@_parallel()
def add_weighted(total: Floats, weights: Floats, indices: Integers, features: Floats) -> None:
    """Add to each row of `total` the weighted sum of some rows of `features`.

    Args:
        total: [N, D]. Changed in place.
        weights: [N, k].
        indices: [N, k], rows of `features`.
        features: [M, D].
    """
    for row in numba.prange(len(total)):
        for rank in range(indices.shape[1]):
            weight, added = weights[row, rank], features[indices[row, rank]]
            for place in range(total.shape[1]):
                total[row, place] += weight * added[place]


@_parallel()
def count_near_pairs(by_row: Matrix, by_column: Matrix, at_most: np.float32) -> Integers:
    """Return the number of pairs that `fill_near_pairs` writes for each row, [N]."""
    num_rows = len(by_row[0]) - 1
    counts = np.empty(num_rows, np.int64)
    for share in numba.prange((num_rows + _SHARE - 1) // _SHARE):
        shared, others, values = _workspace(num_rows)
        for row in range(share * _SHARE, min((share + 1) * _SHARE, num_rows)):
            counts[row] = _near_pairs_of_row(
                row, by_row, by_column, at_most, shared, others, values
            )
    return counts


@_parallel()
def fill_near_pairs(
    by_row: Matrix,
    by_column: Matrix,
    at_most: np.float32,
    start: Integers,
    columns: NDArray[np.int32],
    distances: Floats,
) -> None:
    """Write the Jaccard distances 1 - m / (2 - m) up to `at_most`, m the sum of two rows' minima.

    Args:
        by_row: CSR arrays (start, columns, values) of an [N, M] matrix, values not negative.
        by_column: its CSC arrays (start, rows, values).
        at_most: largest distance that is written.
        start: [N + 1], first position of each row's pairs: the sums of `count_near_pairs`.
        columns: [start[N]], the other image of each pair. Written.
        distances: [start[N]], in 0 .. `at_most`. Written.
    """
    num_rows = len(by_row[0]) - 1
    for share in numba.prange((num_rows + _SHARE - 1) // _SHARE):
        shared, others, values = _workspace(num_rows)
        for row in range(share * _SHARE, min((share + 1) * _SHARE, num_rows)):
            count = _near_pairs_of_row(row, by_row, by_column, at_most, shared, others, values)
            columns[start[row] : start[row] + count] = others[:count]
            distances[start[row] : start[row] + count] = values[:count]


@numba.njit
def _workspace(size: int) -> tuple[NDArray[np.float64], NDArray[np.int32], Floats]:
    return np.zeros(size), np.empty(size, np.int32), np.empty(size, np.float32)


@numba.njit
def _near_pairs_of_row(
    row: int,
    by_row: Matrix,
    by_column: Matrix,
    at_most: np.float32,
    shared: NDArray[np.float64],
    neighbors: NDArray[np.int32],
    distances: Floats,
) -> int:
    """Write the pairs of a row to the front of `neighbors` and `distances`; return their number.

    Only rows that have a column in common with it are visited. `shared` is [N] zeros, before and
    after.
    """
    start, columns, values = by_row
    column_start, rows, column_values = by_column
    num_touched = 0
    for entry in range(start[row], start[row + 1]):
        column, value = columns[entry], values[entry]
        for other in range(column_start[column], column_start[column + 1]):
            smaller = min(value, column_values[other])
            if smaller > 0:
                if shared[rows[other]] == 0:
                    neighbors[num_touched] = rows[other]
                    num_touched += 1
                shared[rows[other]] += smaller
    count = 0
    for place in range(num_touched):
        other = neighbors[place]
        distance = np.float32(max(1 - shared[other] / (2 - shared[other]), 0))
        shared[other] = 0
        if distance <= at_most:
            neighbors[count], distances[count] = other, distance
            count += 1
    return count
