"""Compare stage one with reference values: losses of a step, LTG, and the infrared views."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from salcr.config.method import Memory
from salcr.data import linear_transform
from salcr.data.transforms import CHANNEL_FORMS
from salcr.losses.stage_one import MODALITY_OF_VIEW, StageOneObjective
from salcr.types import MODALITIES, Floats, Integers
from salcr.verification.comparison import Arrays, Comparison, to_array

# The shares in the file are those of so many views; four standard errors are allowed.
_NUM_VIEWS = 20_000
_VIEWS = {"plain": "v", "augmented": "a", "infrared": "r"}


def stage_one(data: Arrays, folder: Path, device: torch.device) -> Iterator[Comparison]:
    """Compare losses, gradients and memories of a step, LTG, and the forms of infrared views."""
    yield from _step(data, device)
    yield from _linear_transform(data, device)
    yield from _infrared_forms(data)


def _step(data: Arrays, device: torch.device) -> Iterator[Comparison]:
    """Compare a step with the released order and gradient of the visible memory."""
    objective = StageOneObjective(
        {m: torch.tensor(data[f"memory_{m}"], device=device) for m in MODALITIES},
        Memory(
            momentum=float(data["momentum"]),
            temperature=float(data["temperature"]),
            released_gradient=True,
        ),
        visible_loss="sum",
        last_update="plain",
    )
    inputs = {
        view: torch.tensor(data[f"in_{name}"], device=device, requires_grad=True)
        for view, name in _VIEWS.items()
    }
    losses = objective.compare_and_update(
        {view: normalize(rows, dim=1) for view, rows in inputs.items()},
        {view: data[f"labels_{m}"] for view, m in MODALITY_OF_VIEW.items()},
        {view: len(rows) for view, rows in inputs.items()},
    )
    losses["total"].backward()
    for view, name in _VIEWS.items():
        yield Comparison(f"loss_{name}", to_array(losses[view]), data[f"loss_{name}"])
        yield Comparison(f"grad_{name}", to_array(inputs[view].grad), data[f"grad_{name}"])
    yield Comparison("total", to_array(losses["total"]), data["total"])
    for m in MODALITIES:
        yield Comparison(f"updated_{m}", to_array(objective.memories[m]), data[f"updated_{m}"])


def _linear_transform(data: Arrays, device: torch.device) -> Iterator[Comparison]:
    images = torch.tensor(data["ltg_images"]).float().permute(0, 2, 3, 1).contiguous()
    rectangles, draws = _by_image(data)
    together = linear_transform.scale_together(images.to(device), rectangles, draws)
    linear_transform.scale_one_by_one(images, rectangles, draws)
    for name, result in (("one by one", images), ("together", together.cpu())):
        outputs = result.permute(0, 3, 1, 2).numpy() / 255
        yield Comparison(f"ltg_outputs, {name}", outputs, data["ltg_outputs"])


def _infrared_forms(data: Arrays) -> Iterator[Comparison]:
    forms = CHANNEL_FORMS["five"]  # the different ones come first, in the order of the file
    for number, expected in enumerate(data["infrared_shares"]):
        chance = (forms == forms[number]).all(axis=(1, 2)).mean()
        atol = 4 * float(np.sqrt(chance * (1 - chance) / _NUM_VIEWS))
        yield Comparison(f"infrared_shares {number}", chance, expected, atol)


def _by_image(data: Arrays) -> tuple[Integers, Floats]:
    """Return rectangles [B, N, 4] and draws [B, N, 3] of all images; the last ones may be empty."""
    owner = data["ltg_image_of"]
    number = np.arange(len(owner)) - np.searchsorted(owner, owner)
    shape = (len(data["ltg_images"]), number.max() + 1)
    rectangles, draws = np.zeros((*shape, 4), np.int64), np.zeros((*shape, 3), np.float32)
    top, left, tall, wide = data["ltg_rectangles"].T
    rectangles[owner, number] = np.column_stack([top, top + tall, left, left + wide])
    draws[owner, number] = data["ltg_factors"]
    return rectangles, draws
