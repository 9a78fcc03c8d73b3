"""Retrieval metrics: CMC, mAP and mINP (METHOD 4.1)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from salcr.types import Integers


class Retrieval(NamedTuple):
    """Retrieval metrics, all in [0, 1]."""

    cmc: NDArray[np.float64]
    """[R], share of queries with a correct match within the first 1 .. R."""
    map: float
    """Mean average precision."""
    minp: float
    """Mean inverse negative penalty (Ye et al., TPAMI 2021): matches / rank of the last match."""


def retrieval_metrics(
    distance: NDArray[np.floating],
    query_identity: Integers,
    gallery_identity: Integers,
    *,
    excluded: NDArray[np.bool_] | None = None,
    identity_once: bool = False,
    num_ranks: int = 20,
) -> Retrieval:
    """Return CMC, mAP and mINP over the queries that have a match (METHOD 4.1).

    Args:
        distance: [Q, G], smaller is closer; equal distances are in order of the gallery index.
        query_identity: [Q].
        gallery_identity: [G].
        excluded: [Q, G], True for gallery images that are excluded for a query (camera rules).
        identity_once: whether the CMC counts each gallery identity once (SYSU-MM01, LLCM) instead
            of each image (RegDB).
        num_ranks: R, length of the CMC; at most the number of gallery images (identities).

    Raises:
        ValueError: no query has a match in its gallery.
    """
    num_before, precision, inverse_penalty = [], [], []
    for query, identity in enumerate(query_identity):
        row, names = distance[query], gallery_identity
        if excluded is not None:
            row, names = row[~excluded[query]], names[~excluded[query]]
        matches = np.flatnonzero(names == identity)
        if len(matches) == 0:
            continue
        rank = _ranks(row, matches)
        if identity_once:
            is_before = _is_before(row, matches[rank.argmin()])
            num_before.append(len(np.unique(names[is_before])))
        else:
            num_before.append(int(rank.min()))
        rank.sort()
        precision.append(np.mean(np.arange(1, len(rank) + 1) / (rank + 1)))
        inverse_penalty.append(len(rank) / (rank[-1] + 1))
    if not num_before:
        raise ValueError("no query identity occurs in the gallery")
    longest = len(np.unique(gallery_identity)) if identity_once else len(gallery_identity)
    num_ranks = min(num_ranks, longest)
    cmc = np.cumsum(np.bincount(num_before, minlength=num_ranks)[:num_ranks]) / len(num_before)
    return Retrieval(cmc, float(np.mean(precision)), float(np.mean(inverse_penalty)))


def _ranks(row: NDArray[np.floating], images: Integers) -> Integers:
    """Return the ranks, from 0, of some images [M] by a query's distances [G]."""
    ordered = np.sort(row)  # several times faster than argsort, and only few ranks are needed
    rank = ordered.searchsorted(row[images])
    tied = ordered.searchsorted(row[images], side="right") - rank > 1
    rank[tied] = [np.count_nonzero(_is_before(row, image)) for image in images[tied]]
    return rank


def _is_before(row: NDArray[np.floating], image: int) -> NDArray[np.bool_]:
    """Return which images precede an image: closer, or equally close with a smaller index."""
    is_before: NDArray[np.bool_] = row < row[image]
    is_before[:image] = row[:image] <= row[image]
    return is_before
