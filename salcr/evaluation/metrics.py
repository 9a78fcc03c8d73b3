"""Retrieval metrics: CMC, mAP and mINP (METHOD 4.1)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from salcr.types import Integers


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
    num_before, precision, penalty = [], [], []
    for query, identity in enumerate(query_identity):
        row, names = distance[query], gallery_identity
        if excluded is not None:
            row, names = row[~excluded[query]], names[~excluded[query]]
        right = np.flatnonzero(names == identity)
        if len(right) == 0:
            continue
        place = _places(row, right)
        if identity_once:
            ahead = _ahead(row, right[place.argmin()])
            num_before.append(len(np.unique(names[ahead])))
        else:
            num_before.append(int(place.min()))
        place.sort()
        precision.append(np.mean(np.arange(1, len(place) + 1) / (place + 1)))
        penalty.append(len(place) / (place[-1] + 1))
    if not num_before:
        raise ValueError("no query identity occurs in the gallery")
    longest = len(np.unique(gallery_identity)) if identity_once else len(gallery_identity)
    num_ranks = min(num_ranks, longest)
    cmc = np.cumsum(np.bincount(num_before, minlength=num_ranks)[:num_ranks]) / len(num_before)
    return Retrieval(cmc, float(np.mean(precision)), float(np.mean(penalty)))


def _places(row: NDArray[np.floating], images: Integers) -> Integers:
    """Return how many of a query's distances [G] come before each of some images [M]."""
    ordered = np.sort(row)  # several times faster than argsort, and few places are wanted
    place = ordered.searchsorted(row[images])
    tied = ordered.searchsorted(row[images], side="right") - place > 1
    place[tied] = [np.count_nonzero(_ahead(row, image)) for image in images[tied]]
    return place


def _ahead(row: NDArray[np.floating], image: int) -> NDArray[np.bool_]:
    """Return which images come before one: closer, or as close and of a smaller index."""
    ahead: NDArray[np.bool_] = row < row[image]
    ahead[:image] = row[:image] <= row[image]
    return ahead
