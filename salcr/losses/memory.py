"""Cluster memories and the contrastive loss of both stages (METHOD 2.4, 2.6 and 2.7).

A memory holds one unit vector per cluster, which every sample of the cluster updates.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from salcr.types import Integers

# Distance of unit vectors that are equal in float32, whose resolution is 6e-8.
_NEGLIGIBLE = 1e-9


def initialize_memory(features: Tensor, labels: Integers) -> Tensor:
    """Return the normalized mean feature of every cluster: m_k = normalize(mean of its f).

    Args:
        features: [..., N, C]; each index of the leading dimensions (parts) has its own memory.
        labels: [N], 0 .. K-1 with every value used, or -1 for images that are left out.

    Returns:
        [..., K, C] unit rows on the device of `features`.
    """
    kept = np.flatnonzero(labels >= 0)
    target = torch.from_numpy(labels[kept]).to(features.device)
    rows = features[..., torch.from_numpy(kept).to(features.device), :]
    sums = features.new_zeros(*features.shape[:-2], int(labels.max()) + 1, features.shape[-1])
    return F.normalize(sums.index_add_(-2, target, rows), dim=-1)


def cluster_loss(
    features: Tensor,
    memory: Tensor,
    labels: Tensor,
    temperature: float,
    moved: Tensor | None = None,
) -> Tensor:
    """Return the mean cross entropy of features against a cluster memory.

    The loss of a feature f with label y is -log(exp(f . m_y / tau) / sum_k exp(f . m_k / tau)).

    Args:
        features: [..., B, C] unit rows.
        memory: [..., K, C] unit rows, constants.
        labels: [B], 0 .. K-1, shared by the leading dimensions; -1 for features to leave out, not
            all of them.
        temperature: tau.
        moved: [..., K, C], the memory that the softmax's error is multiplied with in the gradient
            of the features, where it is another one than that of the loss (METHOD 2.7).

    Returns:
        A scalar, the mean over the batch and the leading dimensions (parts).
    """
    logits = features @ memory.mT / temperature
    if moved is not None:  # the gradient of `moved`, the value of `memory`
        of_moved = features @ moved.mT / temperature
        logits = of_moved + (logits - of_moved).detach()
    targets = labels.expand(logits.shape[:-1])
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=-1)


class Update(NamedTuple):
    """A memory, and the samples of a batch that move it."""

    memory: Tensor
    """[..., K, C] unit rows."""
    features: Tensor
    """[..., B, C] unit rows."""
    labels: Integers
    """[B], 0 .. K-1."""
    order: Integers
    """[B], positions of the samples in the order in which they are applied."""


def update_memory(memory: Tensor, features: Tensor, labels: Integers, momentum: float) -> Tensor:
    """Return `update_memories` of one memory by the samples of a batch in their order."""
    return update_memories([Update(memory, features, labels, np.arange(len(labels)))], momentum)[0]


@torch.no_grad()
def update_memories(updates: Sequence[Update], momentum: float) -> list[Tensor]:
    """Return memories after the samples of a batch have updated each one after another.

    m_y <- normalize(momentum * m_y + (1 - momentum) * f). Clusters, parts and memories are
    independent, so one sample of each cluster of all of them is applied at a time, the last ones
    together. Samples that many others of their cluster follow are left out, because their effect
    is below rounding.

    Args:
        updates: of memories with equal numbers of channels C.
        momentum: weight of the old value, in [0, 1).

    Returns:
        [..., K, C] of each update, new tensors without gradient.
    """
    memory = torch.cat([update.memory.flatten(0, -2) for update in updates])
    features = torch.cat([update.features.flatten(0, -2) for update in updates])
    labels, rows, first_label, first_row = [], [], 0, 0
    for update in updates:
        for _ in range(update.memory.shape[:-2].numel()):  # each part has clusters of its own
            labels.append(update.labels[update.order] + first_label)
            rows.append(update.order + first_row)
            first_label += update.memory.shape[-2]
            first_row += update.features.shape[-2]
    clusters, turns = _turns(np.concatenate(labels), _num_effective(momentum))
    samples = np.concatenate(rows)[np.concatenate(turns)]
    indices = torch.from_numpy(np.concatenate([clusters, samples]))  # copied to the device at once
    used, chosen = indices.to(memory.device, non_blocking=True).split([len(clusters), len(samples)])
    entries = memory[used]
    for sample in features[chosen].split([len(turn) for turn in turns]):
        updated = entries[: len(sample)]
        F.normalize(torch.lerp(sample, updated, momentum), dim=-1, out=updated)
    memory[used] = entries
    parts = memory.split([update.memory.shape[:-1].numel() for update in updates])
    return [part.view_as(update.memory) for part, update in zip(parts, updates, strict=True)]


def _turns(labels: Integers, most: int) -> tuple[Integers, list[Integers]]:
    """Return which samples of a batch are applied together: the last `most` of every cluster.

    Returns:
        the clusters that have a sample, those with most samples first; and for each turn the
        positions that are applied in it, one for each of the first clusters.
    """
    order = np.argsort(labels, kind="stable")
    clusters, sizes = np.unique(labels, return_counts=True)
    ends = np.cumsum(sizes)  # of each cluster's samples in `order`
    largest_first = np.argsort(-sizes, kind="stable")
    sizes, ends = sizes[largest_first], ends[largest_first]
    followers = reversed(range(min(sizes.max(initial=1), most)))
    return clusters[largest_first], [order[ends[sizes > f] - 1 - f] for f in followers]


def _num_effective(momentum: float) -> int:
    """Return how many of a cluster's last samples affect a float32 memory: 11 for mu = 0.1.

    The length of mu * m + (1 - mu) * f is at least 1 - 2 mu, and normalizing vectors of at least
    this length increases their distance at most by the factor 1 / (1 - 2 mu). Each sample thus
    multiplies the distance of two memories, initially at most 2, by mu / (1 - 2 mu) or less.
    """
    if momentum == 0:
        return 1
    if momentum >= 1 / 3:  # the factor is not below 1
        return sys.maxsize
    return math.ceil(math.log(_NEGLIGIBLE / 2) / math.log(momentum / (1 - 2 * momentum)))
