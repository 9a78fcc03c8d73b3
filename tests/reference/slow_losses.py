"""Memory and losses (METHOD 2.7 and 3.3) again, row by row in float64; see slow_method.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.reference.slow_method import Array, Arrays, unit

SPACES = ("visible", "infrared")
GROUPS = ("v", "a", "r")
# cross 1 and cross 2: (group of the query, group of the map)
CROSSED = {
    "pg1": (("v", "r"), ("a", "r"), ("r", "v")),
    "pg2": (("v", "a"), ("a", "v"), ("r", "a")),
    "self": (("v", "v"), ("a", "a"), ("r", "r")),
}
Rows = list[Tensor]
Patterns = dict[tuple[str, str], list[Rows]]


def tensor(values: Any) -> Tensor:
    """Return numbers as a float64 tensor."""
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def normalized(row: Tensor) -> Tensor:
    """Return the vector scaled to length 1."""
    return row / row.square().sum().sqrt()


def cross_entropy(row: Tensor, entries: Tensor, label: int, temperature: float) -> Tensor:
    """Return -log of the softmax share of one entry."""
    logits = entries @ row / temperature
    return logits.logsumexp(0) - logits[label]


def mean(values: Iterable[Tensor]) -> Tensor:
    """Return the mean of scalars, or 0 if there are none."""
    values = list(values)
    return torch.stack(values).mean() if values else torch.zeros((), dtype=torch.float64)


def memory(data: Arrays) -> Arrays:
    """Return the results in memory.npz."""
    inputs = tensor(data["inputs"]).requires_grad_()
    initial, tau = tensor(data["initial"]), float(data["temperature"])
    targets = [int(target) for target in data["targets"]]
    rows = [normalized(row) for row in inputs]
    pairs = zip(rows, targets, strict=True)
    loss = mean(cross_entropy(row, initial, target, tau) for row, target in pairs)
    loss.backward()
    updated, share = np.array(data["initial"], np.float64), float(data["momentum"])
    for row, target in zip(unit(data["inputs"]), targets, strict=True):
        mixed = share * updated[target] + (1 - share) * row
        updated[target] = mixed / np.sqrt((mixed**2).sum())
    return {
        "logits": torch.stack([initial @ row / tau for row in rows]).detach().numpy(),
        "loss": loss.item(),
        "grad_inputs": _gradient(inputs),
        "updated": updated,
    }


def losses(data: Arrays) -> Arrays:
    """Return the five losses and all gradients in losses.npz, as intended and as released."""
    results: Arrays = {}
    for prefix in ("", "released_"):
        inputs = {
            name.removeprefix("in_"): tensor(values).requires_grad_()
            for name, values in data.items()
            if name.startswith("in_")
        }
        five = _five(data, inputs, released=bool(prefix))
        refine = five["instance_global"] + five["instance_part"]
        total = five["global"] + five["part_visible"] + five["part_infrared"]
        (total + float(data["lambda_refine"]) * refine).backward()
        results |= {f"{prefix}loss_{name}": loss.item() for name, loss in five.items()}
        results |= {f"{prefix}grad_{name}": _gradient(values) for name, values in inputs.items()}
    return results


def _five(data: Arrays, inputs: dict[str, Tensor], *, released: bool) -> dict[str, Tensor]:
    num_parts, k, tau = int(data["parts"]), int(data["k"]), float(data["temperature"])
    global_ = _groups(inputs, "global")
    patterns = _patterns(inputs, num_parts)
    if released:  # augmented images use the visible map where the infrared one is intended
        patterns["a", "r"] = patterns["a", "v"]
    labels = {
        ("visible", "visible"): data["visible_label"],
        ("visible", "infrared"): data["visible_cross_label"],
        ("infrared", "visible"): data["infrared_cross_label"],
        ("infrared", "infrared"): data["infrared_label"],
    }  # (side, space)

    def of_group(group: str, space: str) -> Array:
        return labels["infrared" if group == "r" else "visible", space]

    totals = dict.fromkeys(
        ("global", "part_visible", "part_infrared", "instance_global", "instance_part"), tensor(0)
    )
    for space in SPACES:
        entries = tensor(data[f"memory_global_{space}"])
        totals["global"] = totals["global"] + mean(
            cross_entropy(row, entries, label, tau)
            for group in GROUPS
            for row, label in zip(global_[group], of_group(group, space), strict=True)
        )
        for side in SPACES:
            for part in range(num_parts):
                entries = tensor(data[f"memory_{side}_pattern_{space}_space_{part}"])
                loss = mean(
                    cross_entropy(row, entries, label, tau)
                    for (group, _), parts in patterns.items()
                    if (group == "r") == (side == "infrared")
                    for row, label in zip(parts[part], of_group(group, space), strict=True)
                )
                totals[f"part_{side}"] = totals[f"part_{side}"] + loss / num_parts
        instances = tensor(data[f"memory_instance_global_{space}"])
        nearest = {group: _nearest(rows, instances, k) for group, rows in global_.items()}
        shared = [v & a & r for v, a, r in zip(*nearest.values(), strict=True)]
        totals["instance_global"] = totals["instance_global"] + mean(
            _refined(row, instances, positives, tau)
            for rows in global_.values()
            for row, positives in zip(rows, shared, strict=True)
            if positives
        )
        for part in range(num_parts):
            instances = tensor(data[f"memory_instance_part_{space}_{part}"])
            loss = mean(_refined_parts(patterns, part, instances, nearest, k, tau))
            totals["instance_part"] = totals["instance_part"] + loss / num_parts
    return totals


def _groups(inputs: dict[str, Tensor], name: str) -> dict[str, Rows]:
    """Return the rows of the three groups; visible rows are [v; a]."""
    visible, infrared = inputs[f"{name}_visible"], inputs[f"{name}_infrared"]
    size = len(infrared)
    halves = {"v": visible[:size], "a": visible[size:], "r": infrared}
    return {
        group: [normalized(row) if name == "global" else row for row in rows]
        for group, rows in halves.items()
    }


def _patterns(inputs: dict[str, Tensor], num_parts: int) -> Patterns:
    """Return (query group, map group) -> for every part, the rows scaled to length 1."""
    patterns = {}
    for name, pairs in CROSSED.items():
        groups = _groups(inputs, f"part_{name}")
        for query, looked_at in pairs:
            blocks = [row.chunk(num_parts) for row in groups[query]]
            patterns[query, looked_at] = [
                [normalized(block[part]) for block in blocks] for part in range(num_parts)
            ]
    return patterns


def _nearest(rows: Rows, instances: Tensor, k: int) -> list[set[int]]:
    """Return the k most similar instances of every row."""
    return [set((instances @ row).topk(k).indices.tolist()) for row in rows]


def _refined(row: Tensor, instances: Tensor, positives: set[int], temperature: float) -> Tensor:
    """Return -log of the combined softmax share of the positives."""
    logits = instances @ row / temperature
    return logits.logsumexp(0) - logits[sorted(positives)].logsumexp(0)


def _refined_parts(
    patterns: Patterns,
    part: int,
    instances: Tensor,
    nearest_global: dict[str, list[set[int]]],
    k: int,
    temperature: float,
) -> Iterable[Tensor]:
    """Yield the loss of every f(query, map) that has a positive."""
    nearest = {pair: _nearest(parts[part], instances, k) for pair, parts in patterns.items()}
    for (query, looked_at), parts in patterns.items():
        first, second = (nearest[query, other] for other in GROUPS if other != looked_at)
        for i, row in enumerate(parts[part]):
            positives = nearest_global[query][i] & (first[i] | second[i])
            if positives:
                yield _refined(row, instances, positives, temperature)


def _gradient(inputs: Tensor) -> Array:
    assert inputs.grad is not None
    gradient: Array = inputs.grad.numpy()
    return gradient
