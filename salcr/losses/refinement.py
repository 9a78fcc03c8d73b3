"""Refinement losses of stage two, in addition to the loss against cluster memories (METHOD 3.3).

All features are L2-normalized, all similarities are cosines divided by the temperature tau. A
batch of stage two consists of three aligned groups of S images, in the row order [v; a; r]:
visible, channel-augmented visible (the same images as v) and infrared.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_GROUPS = 3


def part_rows(own: Tensor, cross1: Tensor, cross2: Tensor, *, released: bool) -> dict[str, Tensor]:
    """Return the part features f(query, map) by the modality of the query.

    Args:
        own: [3S, P, C] rows f(v,v), f(a,a), f(r,r).
        cross1: [3S, P, C] rows f(v,r), f(a,r), f(r,v).
        cross2: [3S, P, C] rows f(v,a), f(a,v), f(r,a).
        released: replace f(a,r) by f(a,v), as the released code does.

    Returns:
        modality -> [P, B, C] unit rows: own, cross 1 and cross 2 one after another, each of v and
        a ("visible", B = 6S) or of r ("infrared", B = 3S).
    """
    patterns = [own.chunk(NUM_GROUPS), cross1.chunk(NUM_GROUPS), cross2.chunk(NUM_GROUPS)]
    if released:
        v, _, r = patterns[1]
        patterns[1] = (v, patterns[2][1], r)
    rows = {
        "visible": torch.cat([group for v, a, _ in patterns for group in (v, a)]),
        "infrared": torch.cat([r for _, _, r in patterns]),
    }
    return {side: F.normalize(parts, dim=-1).transpose(0, 1) for side, parts in rows.items()}


def instance_logits(features: Tensor, instances: Tensor, temperature: float) -> Tensor:
    """Return cosine / tau, [..., B, N], of features [..., B, C] and instances [..., N, C]."""
    return (features / temperature) @ instances.mT  # N may be ten times C: divide the smaller one


def nearest_instances(logits: Tensor, k: int) -> Tensor:
    """Return the indices [..., min(k, N)] of the largest logits [..., N], in any order."""
    return logits.detach().topk(min(k, logits.shape[-1]), dim=-1, sorted=False).indices


def isin_rows(indices: Tensor, others: Tensor) -> Tensor:
    """Return which of `indices` [..., k] are in the same row of `others` [..., l], bool."""
    return (indices.unsqueeze(-1) == others.unsqueeze(-2)).any(dim=-1)


def instance_loss(logits: Tensor, candidates: Tensor, positive: Tensor) -> Tensor:
    """Return the mean of -log(sum of softmax over an anchor's positive instances).

    Args:
        logits: [..., B, N] cosines of each anchor with all instances, divided by tau.
        candidates: [..., B, k] distinct indices of instances.
        positive: [..., B, k] bool, which candidates are positives.

    Returns:
        [...], the mean over the anchors with a positive; 0, with zero gradient, without any.
    """
    has_positive = positive.any(dim=-1)
    kept = positive | ~has_positive.unsqueeze(-1)  # without positives: any finite value, times 0
    on_candidates = logits.log_softmax(dim=-1).gather(-1, candidates)
    loss = -on_candidates.masked_fill(~kept, -torch.inf).logsumexp(dim=-1)
    return (loss * has_positive).sum(dim=-1) / has_positive.sum(dim=-1).clamp_min(1)


def refine_global(logits: Tensor, nearest: Tensor) -> Tensor:
    """Return the global refinement loss in one modality's instance memory (GPCR).

    An instance is a positive of the triplet (v, a, r) if it is among the k nearest of each.

    Args:
        logits: [3S, N] of the rows [v; a; r], from `instance_logits`.
        nearest: [3S, k] nearest instances of these rows, from `nearest_instances`.

    Returns:
        A scalar.
    """
    v, a, r = nearest.chunk(NUM_GROUPS)
    positive = isin_rows(v, a) & isin_rows(v, r)
    return instance_loss(logits, v.repeat(NUM_GROUPS, 1), positive.repeat(NUM_GROUPS, 1))


def refine_parts(
    nearest: Tensor, rows: dict[str, Tensor], part_instances: Tensor, temperature: float
) -> Tensor:
    """Return the part refinement loss in one modality's instance memories (GPCR).

    Positives of f(q, m) are the instances among the k nearest of q's global feature that are also
    among the k nearest of q's part feature on at least one of the other two maps.

    Args:
        nearest: [3S, k] instances nearest to the global features of the rows [v; a; r].
        rows: part features by modality, from `part_rows`.
        part_instances: [P, N, C] part instance memories, unit rows.
        temperature: tau.

    Returns:
        A scalar, the mean over the parts.
    """
    boundary = len(nearest) * 2 // 3
    nearest_of_sides = (nearest[:boundary], nearest[boundary:])
    candidates = torch.cat([side.repeat(NUM_GROUPS, 1) for side in nearest_of_sides])
    # All parts in one product on a GPU; part by part, the logits remain in a CPU's cache.
    together = part_instances.is_cuda
    losses = []
    for part in [slice(None)] if together else range(len(part_instances)):
        of_sides = [rows[side][part] for side in ("visible", "infrared")]
        logits = instance_logits(torch.cat(of_sides, dim=-2), part_instances[part], temperature)
        nearest_of_parts = nearest_instances(logits, nearest.shape[-1])
        split = nearest_of_parts.split([side.shape[-2] for side in of_sides], dim=-2)
        positive = [_on_another_map(*pair) for pair in zip(nearest_of_sides, split, strict=True)]
        all_candidates = candidates.expand_as(nearest_of_parts)
        losses.append(instance_loss(logits, all_candidates, torch.cat(positive, dim=-2)))
    return torch.stack(losses).mean()


def _on_another_map(nearest: Tensor, nearest_of_parts: Tensor) -> Tensor:
    """Return bool [..., 3B, k]: which of nearest [B, k] are nearest to another map's part.

    Args:
        nearest: [B, k] instances.
        nearest_of_parts: [..., 3B, k] instances nearest to own, cross 1 and cross 2.
    """
    maps = isin_rows(nearest, nearest_of_parts.unflatten(-2, (NUM_GROUPS, -1)))
    own, cross1, cross2 = maps.unbind(dim=-3)
    return torch.cat([cross1 | cross2, own | cross2, own | cross1], dim=-2)
