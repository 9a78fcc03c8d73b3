"""Plain formulations of a step of stage two and of the metrics."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def memory_step(
    memory: Tensor, rows: Tensor, labels: Tensor, order: Tensor, momentum: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the loss of rows [B, C] against a memory [K, C], and the memory after the batch."""
    loss = F.cross_entropy(rows @ memory.T / temperature, labels)
    memory = memory.clone()
    for row, label in zip(rows[order], labels[order], strict=True):
        memory[label] = momentum * memory[label] + (1 - momentum) * row
        memory[label] /= memory[label].norm()
    return loss, memory


def positives(similarity: Tensor, k: int) -> Tensor:
    """Return bool [S, N]: instances among the k nearest of each of the groups [v; a; r]."""
    nearest = similarity.argsort(dim=1, descending=True)[:, :k]
    v, a, r = torch.zeros_like(similarity).scatter_(1, nearest, 1).bool().chunk(3)
    return v & a & r


def metrics(
    distance: NDArray[np.float32], query: NDArray[np.int64], gallery: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float, float]:
    """Return CMC to rank 20, mAP and mINP, each query's gallery sorted."""
    cmc, precision, inverse_penalty = [], [], []
    for row, identity in zip(distance, query, strict=True):
        hits = gallery[np.argsort(row, kind="stable")] == identity
        num_hits = np.cumsum(hits)
        share = num_hits / np.arange(1, len(hits) + 1)
        cmc.append(num_hits[:20] > 0)
        precision.append((share * hits).sum() / num_hits[-1])
        inverse_penalty.append(share[np.flatnonzero(hits)[-1]])
    return np.mean(cmc, axis=0), float(np.mean(precision)), float(np.mean(inverse_penalty))
