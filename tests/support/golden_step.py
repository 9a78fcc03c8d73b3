"""One step of stage two as golden/losses.npz holds it, in the shapes of the package."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from salcr.models.network import Features
from salcr.types import PseudoLabels
from tests.support.helpers import ATOL, close, golden_arrays

SPACES = ("visible", "infrared")


class Step(NamedTuple):
    """Inputs of the step; `leaves` are the tensors, by name, whose gradients the file holds."""

    leaves: dict[str, Tensor]
    features: Features
    labels: PseudoLabels[Any]
    global_memory: dict[str, Tensor]
    part_memory: dict[tuple[str, str], Tensor]
    """(side, space) -> [P, K, C]."""
    instances: dict[str, Tensor]
    part_instances: dict[str, Tensor]
    k: int
    temperature: float


def golden_step(device: Any) -> Step:
    """Return the step with new leaves that require a gradient."""
    data = golden_arrays("losses")

    def tensor(name: str) -> Tensor:
        return torch.tensor(data[name], device=device)

    def parts(name: str) -> Tensor:
        return torch.stack([tensor(f"{name}_{i}") for i in range(int(data["parts"]))])

    names = [name.removeprefix("in_") for name in data if name.startswith("in_")]
    leaves = {name: tensor(f"in_{name}").requires_grad_() for name in names}

    def rows(name: str) -> Tensor:
        return torch.cat([leaves[f"{name}_visible"], leaves[f"{name}_infrared"]])

    def blocks(name: str) -> Tensor:
        return rows(name).unflatten(1, (int(data["parts"]), -1))

    return Step(
        leaves,
        Features(rows("global"), blocks("part_self"), blocks("part_pg1"), blocks("part_pg2")),
        PseudoLabels(
            visible=tensor("visible_label"),
            visible_to_infrared=tensor("visible_cross_label"),
            infrared=tensor("infrared_label"),
            infrared_to_visible=tensor("infrared_cross_label"),
        ),
        {space: tensor(f"memory_global_{space}") for space in SPACES},
        {
            (side, space): parts(f"memory_{side}_pattern_{space}_space")
            for side in SPACES
            for space in SPACES
        },
        {space: tensor(f"memory_instance_global_{space}") for space in SPACES},
        {space: parts(f"memory_instance_part_{space}") for space in SPACES},
        int(data["k"]),
        float(data["temperature"]),
    )


def check_gradients(step: Step, prefix: str) -> None:
    """Assert that all leaves have the file's gradients, with `prefix` "" or "released_"."""
    data = golden_arrays("losses")
    assert len(step.leaves) == 8
    for name, leaf in step.leaves.items():
        assert leaf.grad is not None, name
        close(leaf.grad, data[f"{prefix}grad_{name}"], atol=ATOL / 10)
