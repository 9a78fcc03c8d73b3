"""Distances of cross-modality pairs of one person and of two different people."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from salcr.types import Floats, Integers

EDGES = np.linspace(0, 2, 101)
"""Edges of the histograms' bins; cosine distances are in [0, 2]."""
_SEED = 0  # the same pairs for every network of a trial


class Distances(NamedTuple):
    """Cosine distances of the pairs of one kind."""

    counts: Integers
    """[100], pairs in each bin of `EDGES`."""
    mean: float
    """Over the pairs themselves, not the bins."""


def pair_distances(
    visible: Floats,
    infrared: Floats,
    visible_identity: Integers,
    infrared_identity: Integers,
    *,
    most: int,
) -> dict[str, Distances]:
    """Return the distances, 1 - cosine, of "positive" (one person) and "negative" pairs.

    Args:
        visible: [N, D], unit rows.
        infrared: [M, D], unit rows.
        visible_identity: [N].
        infrared_identity: [M].
        most: maximum number of pairs of each kind; a random subset, the same in every call, if
            there are more.

    Raises:
        ValueError: there are no pairs of a kind.
    """
    distance = np.clip(1 - visible @ infrared.T, 0, 2).ravel()  # rounding can make one negative
    same = (visible_identity[:, None] == infrared_identity).ravel()
    rng = np.random.default_rng(_SEED)
    distances = {}
    for kind, wanted in (("positive", same), ("negative", ~same)):
        pairs = np.flatnonzero(wanted)
        if len(pairs) == 0:
            raise ValueError(f"there are no {kind} pairs")
        if len(pairs) > most:
            pairs = pairs[rng.choice(len(pairs), most, replace=False)]
        chosen = distance[pairs].astype(np.float64)
        distances[kind] = Distances(np.histogram(chosen, EDGES)[0], float(chosen.mean()))
    return distances
