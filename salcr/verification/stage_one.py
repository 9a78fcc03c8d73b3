"""Compare stage one with reference values: the local linear transform and the infrared views."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from salcr.data import linear_transform
from salcr.data.transforms import CHANNEL_FORMS
from salcr.types import Floats, Integers
from salcr.verification.comparison import Arrays, Comparison

# The shares in the file are those of so many views; four standard errors are allowed.
_NUM_VIEWS = 20_000


def linear_transform_and_forms(
    data: Arrays, folder: Path, device: torch.device
) -> Iterator[Comparison]:
    """Compare transformed images, and the chances of the forms of infrared views."""
    images = torch.tensor(data["ltg_images"]).float().permute(0, 2, 3, 1).contiguous()
    rectangles, draws = _by_image(data)
    together = linear_transform.scale_together(images.to(device), rectangles, draws)
    linear_transform.scale_one_by_one(images, rectangles, draws)
    for name, result in (("one by one", images), ("together", together.cpu())):
        outputs = result.permute(0, 3, 1, 2).numpy() / 255
        yield Comparison(f"ltg_outputs, {name}", outputs, data["ltg_outputs"])
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
