"""Exact nearest neighbors by inner product.

Of equal inner products the one with the smaller index comes first, so that the k nearest are the
first k of any longer list. Products are computed block by block: memory grows with N k, not N².
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from salcr.types import Floats, Integers

# Products of one block: 64 MB, from which on larger ones gain nothing.
_BLOCK_ELEMENTS = 2**24
# Rows of a block of the upper half, which is computed in full where it crosses the diagonal.
_MOST_ROWS = 512


class Neighbors(NamedTuple):
    """The nearest rows of a database for each of N rows, nearest first."""

    indices: Integers
    """[N, k], rows of the database."""
    similarities: Floats
    """[N, k], their inner products, float32."""


def nearest(queries: Floats | Tensor, database: Floats | Tensor, k: int) -> Neighbors:
    """Return the rows of the database that have the largest inner products with each query.

    Args:
        queries: [N, D] float32, unit rows for cosine similarity. Tensors on a GPU are searched
            there.
        database: [M, D], on the same device.
        k: neighbors wanted; min(k, M) are returned.

    Raises:
        ValueError: `k` is below 1, or a feature is not finite.
    """
    rows, others = _checked(queries, k), _checked(database, k)
    if rows.is_cuda:
        return _nearest_by_keys(rows, others, k)
    found = _no_neighbors(len(rows), min(k, len(others)))
    for start, products in _blocks(rows, others):
        _keep_of_rows(found, start, products, first=0)
    return found


def nearest_within(features: Floats | Tensor, k: int) -> Neighbors:
    """Return what `nearest` returns for features among themselves, each one included.

    Half the work: the product of a pair is computed once and serves both.
    """
    rows = _checked(features, k)
    if rows.is_cuda:
        return _nearest_by_keys(rows, rows, k)
    found = _no_neighbors(len(rows), min(k, len(rows)))
    for start, products in _blocks(rows, rows, upper=True):
        _keep_of_rows(found, start, products, first=start)
        _keep_of_columns(found, start + len(products), products, first=start)
    return found


def nearest_between(
    features: Floats | Tensor, others: Floats | Tensor, k: int
) -> tuple[Neighbors, Neighbors]:
    """Return what `nearest` returns from each side to the other, from one pass over the products.

    Args:
        features: [N, D], as for `nearest`.
        others: [M, D].
        k: neighbors wanted.

    Returns:
        the neighbors [N, min(k, M)] of the features and those [M, min(k, N)] of the others.
    """
    rows, columns = _checked(features, k), _checked(others, k)
    if rows.is_cuda:
        return _nearest_by_keys(rows, columns, k), _nearest_by_keys(columns, rows, k)
    there = _no_neighbors(len(rows), min(k, len(columns)))
    back = _no_neighbors(len(columns), min(k, len(rows)))
    for start, products in _blocks(rows, columns):
        _keep_of_rows(there, start, products, first=0)
        _keep_of_columns(back, 0, products, first=start)
    return there, back


def nearest_within_subset(
    neighbors: Neighbors, features: Floats | Tensor, kept: Integers, k: int
) -> Neighbors:
    """Return what `nearest_within` returns for some of the features, from the neighbors of all.

    Where enough of a row's neighbors are kept they are the answer; other rows search again.

    Args:
        neighbors: of all N features among themselves, better more than k of each.
        features: [n, D], the kept ones only.
        kept: [n], their ascending indices among all.
        k: neighbors wanted.

    Returns:
        [n, min(k, n)], indices of the kept ones among themselves.

    Raises:
        ValueError: as `nearest`.
    """
    width = min(k, len(kept))
    if neighbors.indices.shape[1] < width:
        return nearest_within(features, k)
    place = np.full(len(neighbors.indices), -1, dtype=np.int64)
    place[kept] = np.arange(len(kept))
    indices = place[neighbors.indices[kept]]
    front = np.argsort(indices < 0, axis=1, kind="stable")[:, :width]  # kept ones, in their order
    indices = np.take_along_axis(indices, front, axis=1)
    similarities = np.take_along_axis(neighbors.similarities[kept], front, axis=1)
    short = np.flatnonzero((indices < 0).any(axis=1))
    if len(short):
        rows = _checked(features, k)
        indices[short], similarities[short] = nearest(rows[torch.from_numpy(short)], rows, k)
    return Neighbors(indices, similarities)


def _checked(features: Floats | Tensor, k: int) -> Tensor:
    """Return the features as a tensor where they are, without a copy if they are fit for one."""
    if k < 1:
        raise ValueError(f"the number of neighbors must be at least 1, not {k}")
    if not isinstance(features, Tensor):  # torch wants arrays that may be written
        features = torch.from_numpy(np.require(features, np.float32, ["C", "W"]))
    # The extremes tell, as NaN is one of them; a mask would be as long as the features.
    if features.numel() and not torch.stack(torch.aminmax(features)).isfinite().all():
        raise ValueError("features must be finite: a neighbor search among NaN finds anything")
    return features


def _blocks(rows: Tensor, columns: Tensor, *, upper: bool = False) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row of each block of rows and the block's products with all columns.

    Args:
        rows: [N, D].
        columns: [M, D].
        upper: leave out the columns before the block's first row.

    Yields:
        start and products [n, M] or [n, M - start]; valid until the next ones are asked for.
    """
    size = min(max(_BLOCK_ELEMENTS, len(columns)), len(rows) * len(columns))
    room = torch.empty(size, dtype=rows.dtype, device=rows.device)
    start = 0
    while start < len(rows) and len(columns):
        others = columns[start:] if upper else columns
        most = max(1, _BLOCK_ELEMENTS // len(others))
        block = rows[start : start + (min(most, _MOST_ROWS) if upper else most)]
        products = room[: len(block) * len(others)].view(len(block), len(others))
        yield start, torch.mm(block, others.T, out=products)
        start += len(block)


def _no_neighbors(num_rows: int, k: int) -> Neighbors:
    return Neighbors(np.full((num_rows, k), -1), np.full((num_rows, k), -np.inf, np.float32))


def _keep_of_rows(found: Neighbors, start: int, products: Tensor, *, first: int) -> None:
    """Let the rows from `start` on choose among a block's columns, the first of index `first`."""
    from salcr.pseudo_labels import (
        kernels,  # here, since it imports numba, which takes half a second
    )

    indices, similarities = (side[start : start + len(products)] for side in found)
    kernels.keep_largest_of_rows(products.numpy(), first, similarities, indices)


def _keep_of_columns(found: Neighbors, start: int, products: Tensor, *, first: int) -> None:
    """Let the rows from `start` on, a block's last columns, choose among its rows."""
    from salcr.pseudo_labels import kernels

    indices, similarities = (side[start:] for side in found)
    skipped = products.shape[1] - len(indices)
    kernels.keep_largest_of_columns(products.numpy(), skipped, first, similarities, indices)


def _nearest_by_keys(rows: Tensor, columns: Tensor, k: int) -> Neighbors:
    """Return `nearest` from torch alone, for the GPU.

    Products are ordered as integers whose lower half is the index: no two are equal, and the k
    largest obey the rule for equal products.
    """
    last = len(columns) - 1
    ranks = last - torch.arange(len(columns), device=rows.device)
    width = min(k, len(columns))
    indices = torch.empty((len(rows), width), dtype=torch.int64, device=rows.device)
    similarities = torch.empty((len(rows), width), device=rows.device)
    for start, products in _blocks(rows, columns):
        bits = products.view(torch.int32).long()
        # The bits of a float ascend with it as an integer does, but descend below 0.
        ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
        largest = ((ordered << 32) + ranks).topk(width, dim=1).values
        block = slice(start, start + len(products))
        indices[block] = last - (largest & 0xFFFFFFFF)
        similarities[block] = products.gather(1, indices[block])
    return Neighbors(indices.cpu().numpy(), similarities.cpu().numpy())
