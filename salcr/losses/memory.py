"""Cluster memories and the contrastive loss of both stages (METHOD 2.4, 2.6 and 2.7).

A memory holds one unit vector per cluster, which every sample of the cluster updates.
"""

from __future__ import annotations

import math
import sys

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
        labels: [B], 0 .. K-1, shared by the leading dimensions.
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
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())


@torch.no_grad()
def update_memory(
    memory: Tensor,
    features: Tensor,
    labels: Integers,
    momentum: float,
    order: Integers | None = None,
) -> Tensor:
    """Return the memory after the samples of a batch have updated it one after another.

    m_y <- normalize(momentum * m_y + (1 - momentum) * f). Clusters are independent, so one sample
    of every cluster is applied at a time, the last ones of all clusters together. Samples that
    many others of their cluster follow are left out, because their effect is below rounding.

    Args:
        memory: [..., K, C] unit rows.
        features: [..., B, C] unit rows.
        labels: [B], 0 .. K-1.
        momentum: weight of the old value, in [0, 1).
        order: [B], positions of the samples in the order of the updates; by default the batch's.

    Returns:
        [..., K, C], a new tensor without gradient.
    """
    order = np.arange(len(labels)) if order is None else order
    clusters, turns = _turns(labels[order], _num_effective(momentum))
    used, rows = (  # copied to the device at once, not turn by turn
        torch.from_numpy(indices).to(memory.device)
        for indices in (clusters, order[np.concatenate(turns)])
    )
    entries = memory[..., used, :]
    for sample in features[..., rows, :].split([len(turn) for turn in turns], dim=-2):
        updated = entries[..., : sample.shape[-2], :]
        F.normalize(torch.lerp(sample, updated, momentum), dim=-1, out=updated)
    memory = memory.clone()
    memory[..., used, :] = entries
    return memory


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
