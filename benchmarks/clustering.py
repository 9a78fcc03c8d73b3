"""Rows of the benchmark: neighbor search, clustering and association."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks import plain_clustering as plain
from benchmarks.plain_clustering import Floats, Integers
from benchmarks.row import Row
from salcr.config.method import Associate, Clustering
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
_SPREAD = 0.9  # standard deviation of the images in a group; that of the groups is 1
_NOISE = 0.1  # share of images without a group
# Neighbors whose cosines differ by less than the rounding of float32 (1e-7, while those of 30
# neighbors among 22,120 differ by 1e-3) may be exchanged between two correct computations. If it is
# the last neighbor of a set, an image at the border of a cluster may become an outlier: a few of
# 22,120 images, but never a whole cluster.
_ALLOWED = 0.001


@dataclass(frozen=True)
class Images:
    """Random features of both modalities and their groups."""

    visible: Floats
    """[N, D], unit rows."""
    infrared: Floats
    """[M, D], unit rows."""
    groups: tuple[Integers, Integers]
    """[N] and [M], numbered from 0; -1 for noise."""


def sample_images(
    num_visible: int, num_infrared: int, *, width: int = _WIDTH, noise: float = _NOISE
) -> Images:
    """Return groups of 20 to 60 images, of the same people in both modalities, and noise."""
    rng = np.random.default_rng(20250424)
    largest = max(num_visible, num_infrared)
    people = rng.standard_normal((-(-largest // 20), width), dtype=np.float32)
    sides, groups = [], []
    for count in (num_visible, num_infrared):
        sizes = rng.integers(20, 61, len(people))
        group = np.repeat(np.arange(len(people)), sizes)[:count]
        features = people[group] + _SPREAD * rng.standard_normal((count, width), dtype=np.float32)
        features += 0.5 * rng.standard_normal(width, dtype=np.float32)  # of the modality
        is_noise = rng.random(count) < noise
        features[is_noise] = rng.standard_normal((is_noise.sum(), width), dtype=np.float32)
        sides.append(unit_rows(features))
        groups.append(np.where(is_noise, -1, group))
    return Images(sides[0], sides[1], (groups[0], groups[1]))


def clusters(features: Floats, settings: Clustering, neighbors: Integers | None = None) -> Integers:
    """Return this project's labels, [N]."""
    distance = jaccard_distance(
        features, k1=settings.k1, k2=settings.k2, at_most=settings.eps, neighbors=neighbors
    )
    return dbscan(distance, eps=settings.eps, min_samples=settings.min_samples)


def warm_up() -> None:
    """Run both sides on a few images, so that imports and compilation are not measured."""
    few = sample_images(150, 140)
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
    return sample_images(num_visible, num_infrared, **options)


def _with_neighbors() -> tuple[Floats, Integers]:
    features = _prepared(22_120, 0).visible
    return features, nearest_within(features, SYSU.k1).indices


def _with_clusters_search() -> tuple[Images, tuple[Neighbors, Neighbors]]:
    """Return images and the neighbors that the clustering has searched for."""
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
    """Return clusters and labels, as the stage `associate` computes them."""
    features = {m: torch.from_numpy(getattr(data, m)) for m in ("visible", "infrared")}
    clusters_of, labels = generate_pseudo_labels(features, clustering, association)
    return (clusters_of["visible"], clusters_of["infrared"], *labels)


def _plain_round(
    data: Images, clustering: Clustering = REGDB, association: Associate = ASSOCIATE
) -> tuple[Integers, ...]:
    """Return clusters and labels by the plain formulations."""
    partitions = [_plain_clusters(side, clustering) for side in (data.visible, data.infrared)]
    kept = [labels >= 0 for labels in partitions]
    names = plain.associate(
        data.visible[kept[0]],
        data.infrared[kept[1]],
        (partitions[0][kept[0]], partitions[1][kept[1]]),
        k=association.cmfp_k,
        strength=association.sinkhorn_strength,
    )
    columns = []
    for labels, mask in zip(names, (kept[0], kept[0], kept[1], kept[1]), strict=True):
        columns.append(np.full(len(mask), -1))
        columns[-1][mask] = labels
    return (*partitions, *columns)


def _same_neighbors(ours: Integers, theirs: Integers) -> None:
    assert ours.shape == theirs.shape
    assert (ours != theirs).mean() <= _ALLOWED


def _same_partition(ours: Integers, theirs: Integers) -> None:
    """Match every cluster, and the outliers, of one side to one of the other, and vice versa."""
    for labels, others in ((ours, theirs), (theirs, ours)):
        pairs, counts = np.unique(np.stack([labels, others]), axis=1, return_counts=True)
        largest = np.zeros(labels.max() + 2, dtype=np.int64)
        np.maximum.at(largest, pairs[0] + 1, counts)
        assert largest.sum() >= (1 - _ALLOWED) * len(labels)


def _same_labels(ours: tuple[Integers, ...], theirs: tuple[Integers, ...]) -> None:
    for labels, others in zip(ours, theirs, strict=True):
        assert (labels != others).mean() <= _ALLOWED


def _same_round(ours: tuple[Integers, ...], theirs: tuple[Integers, ...]) -> None:
    """Compare partitions, since a single image can change the numbering of the clusters."""
    for labels, others in zip(ours, theirs, strict=True):
        _same_partition(labels, others)


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
        name="the same, given the clustering's neighbors",
        wanted="as in the stage `associate`",
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
