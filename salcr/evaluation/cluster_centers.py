"""Compare the centers of a round's clusters before and after CMFP."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from salcr.evaluation.tsne import tsne_2d
from salcr.log import say
from salcr.pseudo_labels.clustering import cluster_means
from salcr.pseudo_labels.propagation import propagate
from salcr.pseudo_labels.vectors import unit_rows
from salcr.types import MODALITIES, Floats, Integers

_DECIMALS = 4


def compare_centers(
    features: Mapping[str, Floats],
    clusters: Mapping[str, Integers],
    identities: Mapping[str, Integers],
    cmfp_k: int,
) -> pd.DataFrame:
    """Return a line for each cluster before the propagation, then one for each after it.

    The share of centers whose nearest one in the other modality is of the same person is logged.

    Args:
        features: modality -> [N, C], unit rows.
        clusters: modality -> [N], numbers from 0 without gaps; -1 for images outside clusters,
            which are left out.
        identities: modality -> [N], true identities, from 0; -1 for unknown ones.
        cmfp_k: neighbors in each modality that the propagation mixes.

    Returns:
        Columns `when` ("before" or "after"), `modality`, `cluster`, `identity` (the most frequent
        known one of the cluster, the smallest of equally frequent; -1 if none is known),
        `nearest_identity` (that of the nearest center of the other modality), and `x` and `y`,
        t-SNE coordinates with four decimals, of the centers before and of those after separately.
    """
    kept = {m: np.flatnonzero(clusters[m] >= 0) for m in MODALITIES}
    numbers = {m: clusters[m][kept[m]] for m in MODALITIES}
    people = {m: _majority(identities[m][kept[m]], numbers[m]) for m in MODALITIES}
    before = {m: features[m][kept[m]] for m in MODALITIES}
    mixed = propagate(before["visible"], before["infrared"], k=cmfp_k)
    after = dict(zip(MODALITIES, mixed, strict=True))
    tables = []
    for when, rows in (("before", before), ("after", after)):
        centers = {m: unit_rows(cluster_means(rows[m], numbers[m])) for m in MODALITIES}
        tables.append(_lines(centers, people, when))
    return pd.concat(tables, ignore_index=True)


def _lines(centers: dict[str, Floats], people: dict[str, Integers], when: str) -> pd.DataFrame:
    """Return a line per cluster: identity, that of the other modality's nearest center, position.

    Args:
        centers: modality -> [K, C] unit rows.
        people: modality -> [K] identities.
        when: "before" or "after" the propagation.
    """
    cosine = centers["visible"] @ centers["infrared"].T
    nearest = {
        "visible": people["infrared"][cosine.argmax(axis=1)],
        "infrared": people["visible"][cosine.argmax(axis=0)],
    }
    correct = np.concatenate(
        [(nearest[m] == people[m])[(people[m] >= 0) & (nearest[m] >= 0)] for m in MODALITIES]
    )
    if len(correct):
        say(
            f"{when} CMFP: for {correct.mean():.1%} of {len(correct)} centers, the nearest one in "
            "the other modality is of the same person"
        )
    else:
        say(f"{when} CMFP: the people of the centers and of the nearest ones are unknown")
    x, y = tsne_2d(np.concatenate([centers[m] for m in MODALITIES])).round(_DECIMALS).T
    lines = [
        pd.DataFrame(
            {
                "when": when,
                "modality": m,
                "cluster": np.arange(len(centers[m])),
                "identity": people[m],
                "nearest_identity": nearest[m],
            }
        )
        for m in MODALITIES
    ]
    return pd.concat(lines, ignore_index=True).assign(x=x, y=y)


def _majority(identities: Integers, clusters: Integers) -> Integers:
    """Return the most frequent known identity of each cluster, [K], the smallest of equal ones."""
    names, numbers = np.unique(identities, return_inverse=True)
    counts = np.zeros((clusters.max() + 1, len(names)), dtype=np.int64)
    np.add.at(counts, (clusters, numbers), names[numbers] >= 0)  # -1 is first, where it occurs
    majority: Integers = names[counts.argmax(axis=1)]
    return majority
