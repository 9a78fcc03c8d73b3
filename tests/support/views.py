"""The three views by name, with images and settings to test them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from salcr.config.method import Augment
from salcr.data import transforms

PAPER = Augment(
    pad=10, jitter=0.5, erasing_probability=0.5, erasing_max_area=0.4,
    linear_probability=0.5, linear_transform="radical", infrared_forms="five",
)  # fmt: skip
OFF = PAPER.model_copy(
    update={"pad": 0, "jitter": 0, "erasing_probability": 0, "linear_probability": 0}
)
LUMA = torch.tensor([0.2989, 0.587, 0.114])
FILL = torch.tensor([0.4914, 0.4822, 0.4465])
VIEWS = {
    "visible": lambda images, rng, augment: transforms.visible_view(images, rng, augment, ltg=True),
    "augmented": transforms.augmented_view,
    "infrared": transforms.infrared_view,
}


def pictures(rng: np.random.Generator, batch: int, height: int, width: int, device: Any) -> Tensor:
    """Return random uint8 images [B, H, W, 3]."""
    values = rng.integers(1, 256, (batch, height, width, 3), dtype=np.uint8)
    return torch.from_numpy(values).to(device)
