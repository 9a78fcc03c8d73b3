"""The losses of SALCR (paper, equations of sections 3.2 to 3.4).

All features are L2-normalised, all similarities cosines divided by the temperature tau. A batch
of stage two is three aligned groups of S images, in the row order [v; a; r]: visible,
channel-augmented visible (the same images as v) and infrared.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_GROUPS = 3


class Labels(NamedTuple):
    """Pseudo-labels of the S aligned pairs, int64 [S] each."""

    visible: Tensor
    """Visible images in the visible space."""
    visible_to_infrared: Tensor
    """Visible images in the infrared space."""
    infrared: Tensor
    """Infrared images in the infrared space."""
    infrared_to_visible: Tensor
    """Infrared images in the visible space."""

    def of_groups(self, space: str) -> Tensor:
        """Return [3S] labels of the rows [v; a; r] in the "visible" or the "infrared" space."""
        if space == "visible":
            return torch.cat([self.visible, self.visible, self.infrared_to_visible])
        return torch.cat([self.visible_to_infrared, self.visible_to_infrared, self.infrared])


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


def aligned_patterns(own: Tensor, cross1: Tensor, cross2: Tensor, *, released: bool) -> Tensor:
    """Return the part features f(query, map) as one tensor [3, 3S, ...], pattern by row.

    Args:
        own: [3S, ...] rows f(v,v), f(a,a), f(r,r).
        cross1: [3S, ...] rows f(v,r), f(a,r), f(r,v).
        cross2: [3S, ...] rows f(v,a), f(a,v), f(r,a).
        released: replace f(a,r) by f(a,v), as the released code does.
    """
    if released:
        v, _, r = cross1.chunk(NUM_GROUPS)
        cross1 = torch.cat([v, cross2.chunk(NUM_GROUPS)[1], r])
    return torch.stack([own, cross1, cross2])


def rows_of_side(patterns: Tensor, side: str) -> Tensor:
    """Return the part rows of one side as [P, B, C], ready for that side's memories.

    Args:
        patterns: [3, 3S, P, C] unit vectors, as `aligned_patterns` orders them.
        side: "visible" takes the rows of v and a (B = 6S), "infrared" those of r (B = 3S).
    """
    v, a, r = patterns.chunk(NUM_GROUPS, dim=1)
    rows = torch.cat([v, a], dim=1) if side == "visible" else r
    return rows.flatten(0, 1).transpose(0, 1)


def instance_logits(features: Tensor, instances: Tensor, temperature: float) -> Tensor:
    """Return the cosines [..., B, N] of features [..., B, C] with instances [N, C], over tau."""
    return (features / temperature) @ instances.T  # N may be ten times C: divide the shorter rows


def nearest(logits: Tensor, k: int) -> Tensor:
    """Return the indices [..., min(k, N)] of the largest logits [..., N], in no order."""
    return logits.detach().topk(min(k, logits.shape[-1]), dim=-1, sorted=False).indices


def among(indices: Tensor, others: Tensor) -> Tensor:
    """Return which of `indices` [..., k] are in the same row of `others` [..., l], bool."""
    return (indices.unsqueeze(-1) == others.unsqueeze(-2)).any(dim=-1)


def instance_loss(logits: Tensor, candidates: Tensor, positive: Tensor) -> Tensor:
    """Return the mean of -log of the softmax mass on an anchor's positive instances.

    Args:
        logits: [..., N] cosines of each anchor with all instances, divided by tau.
        candidates: [..., k] indices of instances, no two the same.
        positive: [..., k] bool, which candidates are positives.

    Returns:
        A scalar over the anchors that have a positive; 0 (with zero gradient) if none has.
    """
    has_positive = positive.any(dim=-1)
    kept = positive | ~has_positive.unsqueeze(-1)  # without one: any finite value, times 0 below
    on_candidates = logits.log_softmax(dim=-1).gather(-1, candidates)
    loss = -on_candidates.masked_fill(~kept, -torch.inf).logsumexp(dim=-1)
    return (loss * has_positive).sum() / has_positive.sum().clamp_min(1)


def refine_global(logits: Tensor, near: Tensor) -> Tensor:
    """Return the global refinement loss in one modality's instance memory (GPCR).

    An instance is a positive of the triplet (v, a, r) if it is among the k nearest of each.

    Args:
        logits: [3S, N] of the rows [v; a; r], from `instance_logits`.
        near: [3S, k] nearest instances of these rows, from `nearest`.
    """
    v, a, r = near.chunk(NUM_GROUPS)
    positive = among(v, a) & among(v, r)
    return instance_loss(logits, v.repeat(NUM_GROUPS, 1), positive.repeat(NUM_GROUPS, 1))


def refine_parts(
    near: Tensor, patterns: Tensor, part_instances: Tensor, temperature: float
) -> Tensor:
    """Return the part refinement loss in one modality's instance memories (GPCR).

    Positives of f(q, m) are instances among the k nearest of q's global feature that are also
    among the k nearest of q's part feature on at least one of the other two maps.

    Args:
        near: [3S, k] instances nearest to the global features of the rows [v; a; r].
        patterns: [3, 3S, P, C] unit vectors, as `aligned_patterns` orders them.
        part_instances: [P, N, C] part instance memories, unit rows.
        temperature: tau.

    Returns:
        A scalar, the mean over the parts.
    """
    losses = []
    for part, memory in enumerate(part_instances):
        logits = instance_logits(patterns[:, :, part], memory, temperature)
        own, cross1, cross2 = among(near, nearest(logits, near.shape[-1]))
        positive = torch.stack([cross1 | cross2, own | cross2, own | cross1])
        losses.append(instance_loss(logits, near.expand_as(positive), positive))
    return torch.stack(losses).mean()
