"""Cluster memories: one unit vector per cluster, moved by every sample of its cluster.

And the loss of features against one, which both stages train with
(docs/METHOD.md, sections 2.4, 2.6 and 2.7).
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from salcr.types import Integers

# Distance of two unit vectors that float32, which resolves 6e-8, does not tell apart.
_UNFELT = 1e-9


def initialize_memory(features: Tensor, labels: Integers) -> Tensor:
    """Return the normalized mean feature of every cluster.

    Args:
        features: [..., N, C]; leading dimensions (parts) have memories of their own.
        labels: [N], 0 .. K-1 with every value used, or -1 for images that sit out.

    Returns:
        [..., K, C] unit rows on the device of `features`.
    """
    kept = np.flatnonzero(labels >= 0)
    target = torch.from_numpy(labels[kept]).to(features.device)
    rows = features[..., torch.from_numpy(kept).to(features.device), :]
    sums = features.new_zeros(*features.shape[:-2], int(labels.max()) + 1, features.shape[-1])
    return F.normalize(sums.index_add_(-2, target, rows), dim=-1)


def cluster_loss(features: Tensor, memory: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the mean cross entropy of features against a cluster memory.

    Args:
        features: [..., B, C] unit rows.
        memory: [..., K, C] unit rows, constants.
        labels: [B], 0 .. K-1, shared by the leading dimensions.
        temperature: tau.

    Returns:
        A scalar; leading dimensions (parts) are averaged.
    """
    logits = features @ memory.mT / temperature
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
    """Return the memory after the samples of a batch have moved it one after another.

    m_y <- normalize(momentum * m_y + (1 - momentum) * f). Clusters do not touch each other, so
    one sample of every cluster acts at a time, the last ones of all clusters together; samples
    that too many of their own cluster follow are left out, their trace is below rounding.

    Args:
        memory: [..., K, C] unit rows.
        features: [..., B, C] unit rows.
        labels: [B], 0 .. K-1.
        momentum: share of the old value that stays, in [0, 1).
        order: [B], the samples in the order in which they act; that of the batch if left out.

    Returns:
        [..., K, C], a new tensor; no gradient flows into it.
    """
    order = np.arange(len(labels)) if order is None else order
    clusters, turns = _turns(labels[order], _num_felt(momentum))
    used, rows = (  # to the device at once, not turn by turn
        torch.from_numpy(indices).to(memory.device)
        for indices in (clusters, order[np.concatenate(turns)])
    )
    moving = memory[..., used, :]
    for sample in features[..., rows, :].split([len(turn) for turn in turns], dim=-2):
        acting = moving[..., : sample.shape[-2], :]
        F.normalize(torch.lerp(sample, acting, momentum), dim=-1, out=acting)
    memory = memory.clone()
    memory[..., used, :] = moving
    return memory


def _turns(labels: Integers, most: int) -> tuple[Integers, list[Integers]]:
    """Return which samples of a batch act together, the last `most` of every cluster.

    Returns:
        the clusters that have a sample, those with most samples first; and for each turn the
        positions that act in it, one for each of the first so many clusters.
    """
    order = np.argsort(labels, kind="stable")
    clusters, sizes = np.unique(labels, return_counts=True)
    ends = np.cumsum(sizes)  # in `order`, each cluster's samples end here
    largest_first = np.argsort(-sizes, kind="stable")
    sizes, ends = sizes[largest_first], ends[largest_first]
    followers = reversed(range(min(sizes.max(initial=1), most)))
    return clusters[largest_first], [order[ends[sizes > f] - 1 - f] for f in followers]


def _num_felt(momentum: float) -> int:
    """Return how many of a cluster's last samples can be felt in float32: 11 where mu is 0.1.

    mu * m + (1 - mu) * f is at least 1 - 2 mu long, and normalizing vectors no shorter than that
    stretches their distance by 1 / (1 - 2 mu) at most. So each sample shrinks the distance, at
    first at most 2, of memories that started apart, at least by mu / (1 - 2 mu).
    """
    if momentum == 0:
        return 1
    if momentum >= 1 / 3:  # the bound shrinks nothing
        return sys.maxsize
    return math.ceil(math.log(_UNFELT / 2) / math.log(momentum / (1 - 2 * momentum)))
