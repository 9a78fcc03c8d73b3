"""Rows of the benchmark: neighbor search, clustering and association."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks import plain_clustering as plain
from benchmarks.plain_clustering import Floats, Integers
from benchmarks.row import Row
from salcr.config.schema import Associate, Clustering
from salcr.pseudo_labels.association import associate
from salcr.pseudo_labels.clustering import dbscan, jaccard_distance
from salcr.pseudo_labels.generate import generate_pseudo_labels
from salcr.pseudo_labels.neighbors import Neighbors, nearest_within
from salcr.pseudo_labels.propagation import nearest_blocks
from salcr.pseudo_labels.vectors import unit_rows

SYSU = Clustering(k1=30, k2=6, eps=0.6, min_samples=4)
REGDB = Clustering(k1=30, k2=6, eps=0.3, min_samples=4)
ASSOCIATE = Associate(
    method="dagl", cmfp=True, cmfp_k=8, sinkhorn_strength=5, relabel_own_modality=True
)
SYSU_ASSOCIATE = ASSOCIATE.model_copy(update={"cmfp_k": 30})
_WIDTH = 2048
_SPREAD = 0.9  # of the images around their group, that of the groups is 1
_NOISE = 0.1  # share of images that belong to no group
# Neighbors whose cosines differ by less than the rounding of float32 (1e-7; 30 of 22,120 lie 1e-3
# apart) may change places between two correct computations. Where that is the last neighbor of a
# set, an image at the rim of a cluster may fall out of it: a few in 22,120, never a cluster.
_ALLOWED = 0.001


@dataclass(frozen=True)
class Images:
    """Drawn features of both modalities and the groups they come from."""

    visible: Floats
    """[N, D], unit rows."""
    infrared: Floats
    """[M, D], unit rows."""
    groups: tuple[Integers, Integers]
    """[N] and [M], numbered from 0; -1 for noise."""


def images(
    num_visible: int, num_infrared: int, *, width: int = _WIDTH, noise: float = _NOISE
) -> Images:
    """Draw groups of 20 to 60 images, of the same people in both modalities, and noise."""
    rng = np.random.default_rng(20250424)
    largest = max(num_visible, num_infrared)
    people = rng.standard_normal((-(-largest // 20), width), dtype=np.float32)
    sides, groups = [], []
    for count in (num_visible, num_infrared):
        sizes = rng.integers(20, 61, len(people))
        group = np.repeat(np.arange(len(people)), sizes)[:count]
        features = people[group] + _SPREAD * rng.standard_normal((count, width), dtype=np.float32)
        features += 0.5 * rng.standard_normal(width, dtype=np.float32)  # of the modality
        alone = rng.random(count) < noise
        features[alone] = rng.standard_normal((alone.sum(), width), dtype=np.float32)
        sides.append(unit_rows(features))
        groups.append(np.where(alone, -1, group))
    return Images(sides[0], sides[1], (groups[0], groups[1]))


def clusters(features: Floats, settings: Clustering, neighbors: Integers | None = None) -> Integers:
    """Return our labels, [N]."""
    distance = jaccard_distance(
        features, k1=settings.k1, k2=settings.k2, at_most=settings.eps, neighbors=neighbors
    )
    return dbscan(distance, eps=settings.eps, min_samples=settings.min_samples)


def warm_up() -> None:
    """Import and compile what both sides need, on a few images."""
    few = images(150, 140)
    _ours_round(few)
    _plain_round(few)
    plain.search(few.visible, SYSU.k1)


def _plain_clusters(
    features: Floats, settings: Clustering, nearest: Integers | None = None
) -> Integers:
    nearest = plain.ranking(features, settings.k1) if nearest is None else nearest
    return plain.jaccard_clusters(features, nearest, **settings.model_dump())


def _prepared(num_visible: int, num_infrared: int, **options: Any) -> Images:
    warm_up()
    return images(num_visible, num_infrared, **options)


def _with_neighbors() -> tuple[Floats, Integers]:
    features = _prepared(22_120, 0).visible
    return features, nearest_within(features, SYSU.k1).indices


def _with_clusters_search() -> tuple[Images, tuple[Neighbors, Neighbors]]:
    """Return images and what the clustering has searched for."""
    data = _prepared(22_120, 11_850, noise=0)
    k = SYSU_ASSOCIATE.cmfp_k
    return data, (nearest_within(data.visible, k), nearest_within(data.infrared, k))


def _ours_association(
    data: Images, within: tuple[Neighbors, Neighbors] | None = None
) -> tuple[Integers, ...]:
    k = SYSU_ASSOCIATE.cmfp_k
    return associate(
        data.visible,
        data.infrared,
        *data.groups,
        cmfp_k=k,
        strength=SYSU_ASSOCIATE.sinkhorn_strength,
        relabel_own_modality=True,
        blocks=nearest_blocks(data.visible, data.infrared, k=k, within=within),
    )


def _plain_association(data: Images) -> tuple[Integers, ...]:
    return plain.associate(
        data.visible,
        data.infrared,
        data.groups,
        k=SYSU_ASSOCIATE.cmfp_k,
        strength=SYSU_ASSOCIATE.sinkhorn_strength,
    )


def _ours_round(
    data: Images, clustering: Clustering = REGDB, association: Associate = ASSOCIATE
) -> tuple[Integers, ...]:
    """Return clusters and labels as the stage `associate` finds them."""
    features = {m: torch.from_numpy(getattr(data, m)) for m in ("visible", "infrared")}
    found, labels = generate_pseudo_labels(features, clustering, association)
    return (found["visible"], found["infrared"], *labels)


def _plain_round(
    data: Images, clustering: Clustering = REGDB, association: Associate = ASSOCIATE
) -> tuple[Integers, ...]:
    """Return the same, one computation after the other."""
    found = [_plain_clusters(side, clustering) for side in (data.visible, data.infrared)]
    kept = [labels >= 0 for labels in found]
    names = plain.associate(
        data.visible[kept[0]],
        data.infrared[kept[1]],
        (found[0][kept[0]], found[1][kept[1]]),
        k=association.cmfp_k,
        strength=association.sinkhorn_strength,
    )
    spread = []
    for labels, here in zip(names, (kept[0], kept[0], kept[1], kept[1]), strict=True):
        spread.append(np.full(len(here), -1))
        spread[-1][here] = labels
    return (*found, *spread)


def _same_neighbors(ours: Integers, theirs: Integers) -> None:
    assert ours.shape == theirs.shape
    assert (ours != theirs).mean() <= _ALLOWED


def _same_partition(ours: Integers, theirs: Integers) -> None:
    """Let every cluster of one side, and its outliers, belong to one of the other and back."""
    for one, other in ((ours, theirs), (theirs, ours)):
        pairs, counts = np.unique(np.stack([one, other]), axis=1, return_counts=True)
        largest = np.zeros(one.max() + 2, dtype=np.int64)
        np.maximum.at(largest, pairs[0] + 1, counts)
        assert largest.sum() >= (1 - _ALLOWED) * len(one)


def _same_labels(ours: tuple[Integers, ...], theirs: tuple[Integers, ...]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert (one != other).mean() <= _ALLOWED


def _same_round(ours: tuple[Integers, ...], theirs: tuple[Integers, ...]) -> None:
    """Compare partitions: numbers of clusters shift where one more image begins a cluster."""
    for one, other in zip(ours, theirs, strict=True):
        _same_partition(one, other)


ROWS: list[Row] = [
    Row(
        name="neighbor search, 22,120 x 2048",
        wanted="exact",
        prepare=lambda: _prepared(22_120, 0).visible,
        ours=lambda features: nearest_within(features, SYSU.k1).indices,
        plain=lambda features: plain.search(features, SYSU.k1),
        agree=_same_neighbors,
        repeat=1,
    ),
    Row(
        name="Jaccard + DBSCAN, 22,120 x 2048",
        wanted="at most 1.5 GB",
        prepare=lambda: _prepared(22_120, 0).visible,
        ours=lambda features: clusters(features, SYSU),
        plain=lambda features: _plain_clusters(features, SYSU),
        agree=_same_partition,
        repeat=1,
    ),
    Row(
        name="Jaccard + DBSCAN outside the search",
        wanted="at most 3 s",
        prepare=_with_neighbors,
        ours=lambda inputs: clusters(inputs[0], SYSU, inputs[1]),
        plain=lambda inputs: _plain_clusters(inputs[0], SYSU, inputs[1]),
        agree=_same_partition,
        repeat=1,
    ),
    Row(
        name="CMFP + optimal transport, 22,120 + 11,850 x 2048",
        wanted="5 times, at most 1.5 GB",
        prepare=lambda: _prepared(22_120, 11_850, noise=0),
        ours=_ours_association,
        plain=_plain_association,
        agree=_same_labels,
        repeat=1,
    ),
    Row(
        name="the same, the clustering's search at hand",
        wanted="as the stage `associate` has it",
        prepare=_with_clusters_search,
        ours=lambda inputs: _ours_association(*inputs),
        plain=lambda inputs: _plain_association(inputs[0]),
        agree=_same_labels,
        repeat=1,
    ),
    Row(
        name="clustering + association, 22,120 + 11,850 x 2048",
        wanted="a minute",
        prepare=lambda: _prepared(22_120, 11_850),
        ours=lambda data: _ours_round(data, SYSU, SYSU_ASSOCIATE),
        plain=lambda data: _plain_round(data, SYSU, SYSU_ASSOCIATE),
        agree=_same_round,
        repeat=1,
    ),
    Row(
        name="clustering + association, 2,060 + 2,060 x 2048",
        wanted="at most 0.5 s",
        prepare=lambda: _prepared(2_060, 2_060),
        ours=_ours_round,
        plain=_plain_round,
        agree=_same_round,
    ),
]
