"""Exact nearest neighbors by inner product.

Equal inner products are in order of their index, so that the k nearest are the first k of any
longer list. Products are computed block by block: memory grows with N k, not N².
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from salcr.types import Floats, Integers

# Products of one block: 64 MB; larger blocks are not faster.
_BLOCK_ELEMENTS = 2**24
# Rows of a block of the upper triangle, which is computed in full around the diagonal.
_MAX_ROWS = 512


class Neighbors(NamedTuple):
    """The nearest rows of a database for each of N queries, nearest first."""

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
        k: number of neighbors.

    Returns:
        [N, min(k, M)] neighbors.

    Raises:
        ValueError: `k` is below 1, or a feature is not finite.
    """
    rows, others = _to_valid_tensor(queries, k), _to_valid_tensor(database, k)
    if rows.is_cuda:
        return _nearest_by_keys(rows, others, k)
    neighbors = _no_neighbors(len(rows), min(k, len(others)))
    for start, products in _blocks(rows, others):
        _keep_of_rows(neighbors, start, products, first=0)
    return neighbors


def nearest_within(features: Floats | Tensor, k: int) -> Neighbors:
    """Return `nearest(features, features, k)`: each feature is among its own neighbors.

    It takes half the time, because the product of each pair is computed only once.

    Args:
        features: [N, D], as for `nearest`.
        k: number of neighbors.

    Raises:
        ValueError: as `nearest`.
    """
    rows = _to_valid_tensor(features, k)
    if rows.is_cuda:
        return _nearest_by_keys(rows, rows, k)
    neighbors = _no_neighbors(len(rows), min(k, len(rows)))
    for start, products in _blocks(rows, rows, upper=True):
        _keep_of_rows(neighbors, start, products, first=start)
        _keep_of_columns(neighbors, start + len(products), products, first=start)
    return neighbors


def nearest_between(
    features: Floats | Tensor, others: Floats | Tensor, k: int
) -> tuple[Neighbors, Neighbors]:
    """Return `nearest(features, others, k)` and `nearest(others, features, k)` in one pass.

    Args:
        features: [N, D], as for `nearest`.
        others: [M, D].
        k: number of neighbors.

    Returns:
        the neighbors [N, min(k, M)] of the features and those [M, min(k, N)] of the others.

    Raises:
        ValueError: as `nearest`.
    """
    rows, columns = _to_valid_tensor(features, k), _to_valid_tensor(others, k)
    if rows.is_cuda:
        return _nearest_by_keys(rows, columns, k), _nearest_by_keys(columns, rows, k)
    of_rows = _no_neighbors(len(rows), min(k, len(columns)))
    of_columns = _no_neighbors(len(columns), min(k, len(rows)))
    for start, products in _blocks(rows, columns):
        _keep_of_rows(of_rows, start, products, first=0)
        _keep_of_columns(of_columns, 0, products, first=start)
    return of_rows, of_columns


def nearest_within_subset(
    neighbors: Neighbors, features: Floats | Tensor, kept: Integers, k: int
) -> Neighbors:
    """Return `nearest_within` of a subset of the features, using the neighbors of all features.

    If enough of a row's neighbors are in the subset, they are the result; other rows are searched
    again.

    Args:
        neighbors: of all N features among themselves, preferably more than k of each.
        features: [n, D], the subset.
        kept: [n], ascending indices of the subset among all features.
        k: number of neighbors.

    Returns:
        [n, min(k, n)], indices in the subset.

    Raises:
        ValueError: as `nearest`.
    """
    width = min(k, len(kept))
    if neighbors.indices.shape[1] < width:
        return nearest_within(features, k)
    position = np.full(len(neighbors.indices), -1, dtype=np.int64)
    position[kept] = np.arange(len(kept))
    indices = position[neighbors.indices[kept]]
    front = np.argsort(indices < 0, axis=1, kind="stable")[:, :width]  # the subset, in its order
    indices = np.take_along_axis(indices, front, axis=1)
    similarities = np.take_along_axis(neighbors.similarities[kept], front, axis=1)
    short = np.flatnonzero((indices < 0).any(axis=1))
    if len(short):
        rows = _to_valid_tensor(features, k)
        indices[short], similarities[short] = nearest(rows[torch.from_numpy(short)], rows, k)
    return Neighbors(indices, similarities)


def _to_valid_tensor(features: Floats | Tensor, k: int) -> Tensor:
    """Return the features as a tensor on their device, without a copy if possible.

    Raises:
        ValueError: `k` is below 1, or a feature is not finite.
    """
    if k < 1:
        raise ValueError(f"the number of neighbors must be at least 1, not {k}")
    if not isinstance(features, Tensor):  # torch requires writable arrays
        features = torch.from_numpy(np.require(features, np.float32, ["C", "W"]))
    # Minimum and maximum suffice, since they are NaN if any value is; a mask would need memory.
    if features.numel() and not torch.stack(torch.aminmax(features)).isfinite().all():
        raise ValueError("features must be finite: neighbors of NaN are not defined")
    return features


def _blocks(rows: Tensor, columns: Tensor, *, upper: bool = False) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row of each block of rows and the block's products with all columns.

    Args:
        rows: [N, D].
        columns: [M, D].
        upper: leave out the columns before the block's first row.

    Yields:
        start and products [n, M] or [n, M - start]; valid until the next block.
    """
    size = min(max(_BLOCK_ELEMENTS, len(columns)), len(rows) * len(columns))
    buffer = torch.empty(size, dtype=rows.dtype, device=rows.device)
    start = 0
    while start < len(rows) and len(columns):
        others = columns[start:] if upper else columns
        most = max(1, _BLOCK_ELEMENTS // len(others))
        block = rows[start : start + (min(most, _MAX_ROWS) if upper else most)]
        products = buffer[: len(block) * len(others)].view(len(block), len(others))
        yield start, torch.mm(block, others.T, out=products)
        start += len(block)


def _no_neighbors(num_rows: int, k: int) -> Neighbors:
    return Neighbors(np.full((num_rows, k), -1), np.full((num_rows, k), -np.inf, np.float32))


def _keep_of_rows(neighbors: Neighbors, start: int, products: Tensor, *, first: int) -> None:
    """Update the neighbors of a block's rows, from `start` on; its first column is `first`."""
    from salcr.pseudo_labels import kernels  # here, because importing numba takes half a second

    indices, similarities = (side[start : start + len(products)] for side in neighbors)
    kernels.keep_largest_of_rows(products.numpy(), first, similarities, indices)


def _keep_of_columns(neighbors: Neighbors, start: int, products: Tensor, *, first: int) -> None:
    """Update the neighbors of a block's last columns, from `start` on; its first row is `first`."""
    from salcr.pseudo_labels import kernels

    indices, similarities = (side[start:] for side in neighbors)
    skipped = products.shape[1] - len(indices)
    kernels.keep_largest_of_columns(products.numpy(), skipped, first, similarities, indices)


def _nearest_by_keys(rows: Tensor, columns: Tensor, k: int) -> Neighbors:
    """Return `nearest`, computed by torch on a GPU.

    Products are ordered as integers whose lower half is the index, so that no two are equal and
    equal products are in order of their index.
    """
    last = len(columns) - 1
    ranks = last - torch.arange(len(columns), device=rows.device)
    width = min(k, len(columns))
    indices = torch.empty((len(rows), width), dtype=torch.int64, device=rows.device)
    similarities = torch.empty((len(rows), width), device=rows.device)
    for start, products in _blocks(rows, columns):
        bits = products.view(torch.int32).long()
        # As integers, the bits of floats are in ascending order above 0 and descending below.
        ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
        largest = ((ordered << 32) + ranks).topk(width, dim=1).values
        block = slice(start, start + len(products))
        indices[block] = last - (largest & 0xFFFFFFFF)
        similarities[block] = products.gather(1, indices[block])
    return Neighbors(indices.cpu().numpy(), similarities.cpu().numpy())
