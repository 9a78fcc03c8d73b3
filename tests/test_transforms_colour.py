"""Colour operations and their random combination, against torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import close
from torch import Tensor
from torchvision.transforms.v2 import functional as oracle

from salcr import transforms


def colours(rng: np.random.Generator, batch: int) -> Tensor:
    """Return float images that also hold grey, black, white and pure colours."""
    images = torch.from_numpy(rng.random((batch, 3, 5, 6))).float()
    special = [(0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5), (1, 0, 0), (0, 1, 1), (0.3, 0.3, 0.9)]
    images[:, :, 0] = torch.tensor(special).T
    return images


@pytest.mark.parametrize(
    ("operation", "reference", "amounts"),
    [
        (transforms._brightness, oracle.adjust_brightness, [0.5, 0.9, 1, 1.5]),
        (transforms._contrast, oracle.adjust_contrast, [0.5, 0.9, 1, 1.5]),
        (transforms._saturation, oracle.adjust_saturation, [0.5, 0.9, 1, 1.5]),
        (transforms._hue, oracle.adjust_hue, [-0.5, -0.2, 0, 0.37]),
    ],
)
def test_colour_operations_are_torchvisions(rng, device, operation, reference, amounts):
    """Each image of a batch changes by its own amount, as torchvision changes it alone."""
    images = colours(rng, len(amounts))
    expected = torch.stack([reference(i, a) for i, a in zip(images, amounts, strict=True)])
    factors = torch.tensor(amounts, device=device).view(-1, 1, 1, 1)
    close(operation(images.to(device), factors), expected)


class Scripted:
    """A generator that gives prescribed order keys and positions within the uniform range."""

    def __init__(self, keys: np.ndarray, positions: np.ndarray) -> None:
        self.keys, self.positions = keys, positions

    def random(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the keys, whose sorting gives the order of the operations."""
        assert shape == self.keys.shape
        return self.keys

    def uniform(self, low: float, high: float, size: tuple[int, ...]) -> np.ndarray:
        """Return values at the prescribed positions of [low, high]."""
        assert size == self.positions.shape
        return low + (high - low) * self.positions


@pytest.mark.parametrize("strength", [0.5, 0.2])
def test_jitter_applies_torchvisions_operations_in_each_images_order(rng, device, strength):
    """Four operations with amounts up to the strength, in an order of the image's own."""
    images = colours(rng, 12)
    keys, positions = rng.random((12, 4)), rng.random((12, 4))
    positions[0], positions[1] = 0, 1  # the ends of the ranges
    amounts = (2 * positions - 1) * strength + [1, 1, 1, 0]
    steps = (
        oracle.adjust_brightness,
        oracle.adjust_contrast,
        oracle.adjust_saturation,
        oracle.adjust_hue,
    )
    expected = []
    for image, order, factors in zip(images, np.argsort(keys, axis=1), amounts, strict=True):
        for number in order:
            image = steps[number](image, float(factors[number]))
        expected.append(image)
    found = transforms._jittered(images.to(device), Scripted(keys, positions), strength)
    close(found, torch.stack(expected), atol=1e-4)
