"""Retrieval metrics: CMC, mAP and mINP."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from salcr.clustering import Integers


class Retrieval(NamedTuple):
    """How well queries find their identity; all values are shares in [0, 1]."""

    cmc: NDArray[np.float64]
    """[R], share of queries with a right match within the first 1 .. R."""
    map: float
    """Mean average precision."""
    minp: float
    """Mean inverse negative penalty (Ye et al., TPAMI 2021): how early the last match comes."""


def retrieval_metrics(
    distance: NDArray[np.floating],
    query_identity: Integers,
    gallery_identity: Integers,
    *,
    excluded: NDArray[np.bool_] | None = None,
    identity_once: bool = False,
    num_ranks: int = 20,
) -> Retrieval:
    """Return CMC, mAP and mINP over the queries that have a match.

    Args:
        distance: [Q, G], smaller is closer; ties go to the smaller gallery index.
        query_identity: [Q].
        gallery_identity: [G].
        excluded: [Q, G], True where a query must not see a gallery image (camera rules).
        identity_once: the CMC counts each gallery identity once (SYSU-MM01, LLCM) instead of
            each image (RegDB).
        num_ranks: length of the CMC; at most the gallery's images (identities).

    Raises:
        ValueError: no query has a match left in its gallery.
    """
    same = query_identity[:, None] == gallery_identity
    if excluded is not None:
        distance = np.where(excluded, np.inf, distance)
        same = same & ~excluded
    has_match = same.any(axis=1)
    if not has_match.any():
        raise ValueError("no query identity occurs in the gallery")
    distance, same = distance[has_match], same[has_match]
    order = np.argsort(distance, axis=1, kind="stable")
    hits = np.take_along_axis(same, order, axis=1)

    num_found = np.cumsum(hits, axis=1)
    position = np.arange(1, hits.shape[1] + 1)
    average_precision = (hits * num_found / position).sum(axis=1) / num_found[:, -1]
    last = hits.shape[1] - np.argmax(hits[:, ::-1], axis=1)
    first = np.argmax(hits, axis=1)
    if identity_once:
        first = _identities_before(order, gallery_identity, first)
        num_ranks = min(num_ranks, len(np.unique(gallery_identity)))
    num_ranks = min(num_ranks, hits.shape[1])
    cmc = np.cumsum(np.bincount(first, minlength=hits.shape[1])[:num_ranks]) / len(first)
    return Retrieval(cmc, float(average_precision.mean()), float((num_found[:, -1] / last).mean()))


def _identities_before(
    order: Integers, gallery_identity: Integers, first: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return how many distinct identities come before the first right match of each query."""
    position = np.empty_like(order)
    np.put_along_axis(position, order, np.arange(order.shape[1])[None], axis=1)
    by_identity = np.argsort(gallery_identity, kind="stable")
    starts = np.unique(gallery_identity[by_identity], return_index=True)[1]
    best = np.minimum.reduceat(position[:, by_identity], starts, axis=1)
    before: NDArray[np.intp] = (best < first[:, None]).sum(axis=1)
    return before
