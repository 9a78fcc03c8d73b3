"""One step of stage two on the CPU and on the device: same weights, images and random numbers."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.device.check import Check
from benchmarks.device.steps import tf32
from salcr.data import transforms
from salcr.losses.objective import StageTwoObjective
from salcr.models.features import to_device
from salcr.models.network import Network
from salcr.training.optimizer import finite_values, make_optimizer
from salcr.types import MODALITIES, PseudoLabels

_PEOPLE, _IMAGES = 8, 40


class Way(NamedTuple):
    """Where and how a step is computed."""

    on_device: bool
    autocast: str = "never"
    channels_last: bool = False
    tf32: bool = False


WAYS = {
    "CPU, float32": Way(False),
    "CPU, float32, channels last": Way(False, channels_last=True),
    "float32": Way(True),
    "float32, channels last": Way(True, channels_last=True),
    "TF32": Way(True, channels_last=True, tf32=True),
    "bfloat16": Way(True, "always", channels_last=True),
}
"""The first is what the others are compared with."""


def equality(check: Check) -> None:
    """Compare a step in every way with that of the CPU: norms of differences, relative."""
    torch.manual_seed(7)
    model = check.settings.model
    start = Network(
        backbone=model.backbone, width=model.width, num_parts=check.settings.fgsal.parts
    )
    features = {
        m: normalize(torch.randn(1 + start.num_parts, _IMAGES, start.num_channels), dim=-1)
        for m in MODALITIES
    }
    expected: dict[str, Tensor] = {}
    for name, way in WAYS.items():
        with tf32(way.tf32):
            found = _step(check, copy.deepcopy(start), features, way)
        expected = expected or found
        if name in list(WAYS)[1:]:
            differences = {key: _relative(found[key], expected[key]) for key in expected}
            check.keep("equality", name, differences)


def _step(
    check: Check, network: Network, features: dict[str, Tensor], way: Way
) -> dict[str, Tensor]:
    """Return what a step computes, by name."""
    settings, split = check.settings, check.split(_IMAGES)
    device = check.device if way.on_device else torch.device("cpu")
    update = {"autocast": way.autocast, "channels_last": way.channels_last}
    to_device(network, device, settings.numerics.model_copy(update=update)).train()
    people = np.arange(_IMAGES) % _PEOPLE
    rows, rng = np.arange(_PEOPLE).repeat(2), np.random.default_rng(3)
    visible, infrared = (split.images[m].batch(rows, device) for m in MODALITIES)
    views = (
        transforms.visible_view(visible, rng, settings.augment, ltg=True),
        transforms.augmented_view(visible, rng, settings.augment),
        transforms.infrared_view(infrared, rng, settings.augment),
    )
    there = {m: rows_.to(device) for m, rows_ in features.items()}
    objective = StageTwoObjective(
        {m: rows_[0] for m, rows_ in there.items()},
        {m: rows_[1:] for m, rows_ in there.items()},
        dict.fromkeys(MODALITIES, people),
        memory=settings.memory,
        fgsal=settings.fgsal,
        gpcr=settings.gpcr,
        label_space="dual",
    )
    unit = objective.normalize(network.forward_aligned(*views))
    labels = torch.from_numpy(people[rows])
    adam = make_optimizer(network, 1e-4, settings.optimizer.weight_decay)
    losses = objective.losses(unit, PseudoLabels(*[labels.to(device)] * 4))
    adam.zero_grad()
    losses["total"].backward()
    adam.step()
    objective.update(unit, PseudoLabels(*[labels] * 4), np.random.default_rng(4))
    parameters = list(network.parameters())
    return {
        "views": torch.cat([view.flatten() for view in views]),
        "features": unit.global_features,
        "loss": torch.tensor(finite_values(losses)["total"]),
        "gradient": torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]),
        "weights": torch.cat([p.flatten() for p in parameters]),
        "memory": objective.part_memory["visible", "infrared"],
    }


def _relative(found: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference relative to that of the expected values."""
    there, here = (side.detach().double().cpu() for side in (found, expected))
    return float((there - here).norm() / here.norm().clamp_min(1e-30))
