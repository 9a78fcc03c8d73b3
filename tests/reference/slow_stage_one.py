"""One training step of stage one (METHOD 2.6 to 2.8) again, row by row in float64.

Nothing here is imported from salcr; see slow_method.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, relu

from tests.reference.slow_method import Array, Arrays
from tests.reference.slow_network import STAGES, generalized_mean
from tests.reference.slow_transform import apply

State = dict[str, Tensor]


def objective_step(
    in_v: Array,
    in_a: Array,
    in_r: Array,
    labels_visible: Array,
    labels_infrared: Array,
    memory_visible: Array,
    memory_infrared: Array,
    momentum: float,
    temperature: float,
    *,
    released_gradient: bool = True,
    visible_loss: str = "sum",
    last_update: str = "plain",
) -> Arrays:
    """Return losses, gradients and memories of a step, under their names in stage_one.npz.

    Args:
        in_v: [B, C] features of plain visible images as they leave the network.
        in_a: those of augmented visible images.
        in_r: those of infrared images.
        labels_visible: [B] rows of `memory_visible`, the same for v and a.
        labels_infrared: [B] rows of `memory_infrared`.
        memory_visible: [K, C], unit rows.
        memory_infrared: likewise.
        momentum: share of the old value that remains.
        temperature: divides all cosines.
        released_gradient: the gradient of the view that updates the visible memory last uses the
            memory that the other view has moved; otherwise all use the memories before the step.
        visible_loss: "sum" adds the means of v and a, "mean" takes one mean of their rows.
        last_update: the view whose features move the visible memory last, "plain" (v) or
            "augmented" (a).
    """
    before = {"visible": np.float64(memory_visible), "infrared": np.float64(memory_infrared)}
    labels = {"visible": labels_visible, "infrared": labels_infrared}
    after = {modality: memory.copy() for modality, memory in before.items()}
    raw = {"v": np.float64(in_v), "a": np.float64(in_a), "r": np.float64(in_r)}
    visible_weight = {"sum": 1.0, "mean": 0.5}[visible_loss]
    results: Arrays = {"total": 0.0}
    # Going backward, the call that came later in the forward pass is first.
    for view in {"plain": "avr", "augmented": "var"}[last_update]:
        modality = "infrared" if view == "r" else "visible"
        weight = 1.0 if view == "r" else visible_weight
        used = after[modality].copy() if released_gradient else before[modality]
        losses, gradients = [], []
        for row, label in zip(raw[view], labels[modality], strict=True):
            length = np.sqrt((row**2).sum())
            unit = row / length
            logits = before[modality] @ unit / temperature
            shares = np.exp(logits - logits.max())
            shares /= shares.sum()
            losses.append(-np.log(shares[label]))
            shares[label] -= 1
            of_unit = weight * shares @ used / temperature / len(raw[view])
            gradients.append((of_unit - unit * (unit @ of_unit)) / length)
            mixed = momentum * after[modality][label] + (1 - momentum) * unit
            after[modality][label] = mixed / np.sqrt((mixed**2).sum())
        results[f"loss_{view}"] = np.mean(losses)
        results[f"grad_{view}"] = np.stack(gradients)
        results["total"] += weight * results[f"loss_{view}"]
    return results | {f"updated_{modality}": memory for modality, memory in after.items()}


class NetworkStep(NamedTuple):
    """What a step of stage one leaves."""

    losses: dict[str, float]
    """v, a, r and total."""
    gradients: State
    """Of the parameters that the global features depend on, by name."""
    memories: dict[str, Array]
    """Modality -> [K, C]."""
    statistics: State
    """Running means and variances by name."""


def network_step(
    state: State,
    views: dict[str, Tensor],
    labels: dict[str, Array],
    memories: dict[str, Array],
    *,
    batch_norm: str = "halves",
    **settings: Any,
) -> NetworkStep:
    """Return the result of a training step, without the optimizer's.

    Args:
        state: the network's state dict.
        views: normalized images [B, 3, H, W] of "v", "a" and "r".
        labels: "visible" and "infrared"; the infrared images are in the order of their clusters.
        memories: "visible" and "infrared", before the step.
        batch_norm: "halves", where {v, the first half of the infrared clusters} and {a, the
            others} are normalized by their own statistics and only the first moves the running
            ones, or "whole".
        settings: the other arguments of `objective_step`.
    """
    leaves = {name: tensor.detach().double() for name, tensor in state.items()}
    statistics = {name: leaves.pop(name) for name in state if "running_" in name}
    for leaf in leaves.values():
        leaf.requires_grad_()
    images = {view: batch.double() for view, batch in views.items()}
    num_visible = len(images["v"])
    if batch_norm == "whole":
        both = torch.cat([images["v"], images["a"]])
        features = _global_features(leaves, both, images["r"], statistics)
        v, a, r = features.tensor_split([num_visible, 2 * num_visible])
    else:
        cut = _end_of_first_half(labels["infrared"])
        first = _global_features(leaves, images["v"], images["r"][:cut], statistics)
        second = _global_features(leaves, images["a"], images["r"][cut:], None)
        v, a = first[:num_visible], second[:num_visible]
        r = torch.cat([first[num_visible:], second[num_visible:]])
    results = objective_step(
        *(rows.detach().numpy() for rows in (v, a, r)),
        labels["visible"],
        labels["infrared"],
        memories["visible"],
        memories["infrared"],
        **settings,
    )
    torch.autograd.backward([v, a, r], [torch.from_numpy(results[f"grad_{x}"]) for x in "var"])
    return NetworkStep(
        {view: float(results[f"loss_{view}"]) for view in "var"}
        | {"total": float(results["total"])},
        {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None},
        {modality: results[f"updated_{modality}"] for modality in memories},
        statistics,
    )


def _end_of_first_half(labels: Array) -> int:
    """Return the number of rows in the first half of the clusters, the larger if they are odd."""
    starts = [row for row in range(len(labels)) if row == 0 or labels[row] != labels[row - 1]]
    assert len(starts) == len(set(labels)), "the rows are not cluster by cluster"
    return [*starts, len(labels)][(len(starts) + 1) // 2]


def _global_features(
    leaves: State, visible: Tensor, infrared: Tensor, statistics: State | None
) -> Tensor:
    """Return global features [N + M, C]; moves the running statistics unless they are None."""

    def normalize(x: Tensor, name: str) -> Tensor:
        others = [axis for axis in range(x.dim()) if axis != 1]
        mean = x.mean(others, keepdim=True)
        variance = ((x - mean) ** 2).mean(others, keepdim=True)
        if statistics is not None:
            count = x.numel() // x.shape[1]
            unbiased = variance * count / (count - 1)
            for leaf, value in (("mean", mean), ("var", unbiased)):
                old = statistics[f"{name}.running_{leaf}"]
                statistics[f"{name}.running_{leaf}"] = 0.9 * old + 0.1 * value.detach().flatten()
        shape = mean.shape
        scale, shift = (leaves[f"{name}.{leaf}"].view(shape) for leaf in ("weight", "bias"))
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def convolve(x: Tensor, name: str, stride: int) -> Tensor:
        kernel = leaves[f"{name}.weight"]
        groups = x.shape[1] // kernel.shape[1]
        return conv2d(x, kernel, stride=stride, padding=kernel.shape[2] // 2, groups=groups)

    def stem(x: Tensor, name: str) -> Tensor:
        x = normalize(convolve(x, f"{name}.conv1", 2), f"{name}.bn1")
        return max_pool2d(relu(x), 3, 2, 1)

    def block(x: Tensor, name: str, stride: int) -> Tensor:
        bottleneck = f"{name}.conv3.weight" in leaves
        convolutions = (1, 2, 3) if bottleneck else (1, 2)
        residual = x
        for number in convolutions:
            strided = number == (2 if bottleneck else 1)
            residual = convolve(residual, f"{name}.conv{number}", stride if strided else 1)
            residual = normalize(residual, f"{name}.bn{number}")
            residual = residual if number == convolutions[-1] else relu(residual)
        if f"{name}.downsample.0.weight" in leaves:
            x = normalize(convolve(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
        return relu(x + residual)

    sides = (("visible_stem", visible), ("infrared_stem", infrared))
    maps = torch.cat([stem(images, name) for name, images in sides if len(images)])
    for stage, stride in zip(STAGES, (1, 2, 2, 1), strict=True):
        index = 0
        while f"trunk.{stage}.{index}.conv1.weight" in leaves:
            maps = block(maps, f"trunk.{stage}.{index}", 1 if index else stride)
            index += 1
    return normalize(generalized_mean(maps), "global_neck")


def stage_one(data: Arrays) -> Arrays:
    """Return the results in stage_one.npz."""
    memories = ("memory_visible", "memory_infrared")
    names = ("in_v", "in_a", "in_r", "labels_visible", "labels_infrared", *memories)
    momentum, temperature = float(data["momentum"]), float(data["temperature"])
    outputs = [
        apply(image / 255, data["ltg_rectangles"][mine], data["ltg_factors"][mine])[0]
        for index, image in enumerate(data["ltg_images"])
        for mine in [data["ltg_image_of"] == index]
    ]
    step = objective_step(*(data[name] for name in names), momentum, temperature)
    return step | {"ltg_outputs": np.stack(outputs)}
