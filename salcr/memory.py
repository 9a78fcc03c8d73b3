"""Cluster memories: one unit vector per cluster, moved by every sample of its cluster."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from salcr.clustering import Integers


def initial_memory(features: Tensor, labels: Integers) -> Tensor:
    """Return the normalised mean feature of every cluster.

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


def updated_memory(memory: Tensor, features: Tensor, labels: Integers, momentum: float) -> Tensor:
    """Return the memory after the samples of a batch have moved it one after another.

    m_y <- normalise(momentum * m_y + (1 - momentum) * f). Clusters do not touch each other, so
    the first samples of all clusters are applied together, then the second ones, and so on; the
    result is that of the sample-by-sample rule.

    Args:
        memory: [..., K, C] unit rows.
        features: [..., B, C] unit rows, in the order in which they act.
        labels: [B], 0 .. K-1.
        momentum: share of the old value that stays, in [0, 1).

    Returns:
        [..., K, C], a new tensor; no gradient flows into it.
    """
    memory, features = memory.clone(), features.detach()
    for samples in _turns(labels):
        rows = torch.from_numpy(samples).to(memory.device)
        cluster = torch.from_numpy(labels[samples]).to(memory.device)
        mixed = momentum * memory[..., cluster, :] + (1 - momentum) * features[..., rows, :]
        memory[..., cluster, :] = F.normalize(mixed, dim=-1)
    return memory


def _turns(labels: Integers) -> list[Integers]:
    """Return the samples that act in the first, second, ... turn of their clusters."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    turn = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    return [order[turn == t] for t in range(turn.max(initial=-1) + 1)]
