"""Color operations and their random combination, against torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as oracle

from salcr.data import color_jitter
from tests.support.helpers import close

STEPS = (
    oracle.adjust_brightness,
    oracle.adjust_contrast,
    oracle.adjust_saturation,
    oracle.adjust_hue,
)


def colors(rng: np.random.Generator, batch: int) -> Tensor:
    """Return float images that also contain gray, black, white and pure colors."""
    images = torch.from_numpy(rng.random((batch, 3, 5, 6))).float()
    special = [(0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5), (1, 0, 0), (0, 1, 1), (0.3, 0.3, 0.9)]
    images[:, :, 0] = torch.tensor(special).T
    return images


def jittered(images: Tensor, order: Any, amounts: Any, device: torch.device) -> Tensor:
    """Return images [B, C, H, W] changed by our code; `images` are not modified."""
    flat = images.flatten(2).clone().to(device)
    jitter = color_jitter.make_jitter(np.array(order), np.array(amounts, float), device)
    return color_jitter.apply_jitter(flat, torch.empty_like(flat), jitter).cpu().view(images.shape)


def expected(images: Tensor, order: Any, amounts: Any) -> Tensor:
    """Return images changed by torchvision one after another."""
    changed = []
    for image, numbers, factors in zip(images, order, amounts, strict=True):
        for number in numbers:
            image = STEPS[number](image, float(factors[number]))
        changed.append(image)
    return torch.stack(changed)


@pytest.mark.parametrize(
    ("number", "amounts"),
    [
        (0, [0.5, 0.9, 1, 1.5]),
        (1, [0.5, 0.9, 1, 1.5]),
        (2, [0.5, 0.9, 1, 1.5]),
        (3, [-0.5, -0.2, 0, 0.37]),
    ],
)
@pytest.mark.parametrize("position", range(4))
def test_color_operations_are_torchvisions(rng, device, number, amounts, position):
    """Each image of a batch changes by its own amount, exactly as torchvision changes it alone."""
    images = colors(rng, len(amounts))
    neutral = np.tile([1.0, 1, 1, 0], (len(amounts), 1))
    neutral[:, number] = amounts
    others = [other for other in range(4) if other != number]
    order = [[*others[:position], number, *others[position:]]] * len(amounts)
    reference = [STEPS[number](i, a) for i, a in zip(images, amounts, strict=True)]
    close(jittered(images, order, neutral, device), torch.stack(reference), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 12])
def test_jitter_applies_torchvisions_operations_in_each_images_order(rng, device, batch):
    """Four operations, with an order and amounts per image, alone or in a batch."""
    for _ in range(12 // batch):
        images = colors(rng, batch)
        order = np.argsort(rng.random((batch, 4)), axis=1)
        amounts = rng.uniform([0.5, 0.5, 0.5, -0.5], [1.5, 1.5, 1.5, 0.5], (batch, 4))
        actual = jittered(images, order, amounts, device)
        close(actual, expected(images, order, amounts), atol=1e-4)


def test_a_chunk_is_jittered_like_its_images(rng, device):
    """Applying part of the changes to part of the images gives the same part of the full result."""
    images = colors(rng, 7).flatten(2).to(device)
    jitter = color_jitter.sample_jitter(7, rng, 0.5, device)
    complete = color_jitter.apply_jitter(images.clone(), torch.empty_like(images), jitter)
    for chunk in (slice(0, 3), slice(3, 4), slice(4, 9)):
        part = images[chunk].clone()
        close(
            color_jitter.apply_jitter(part, torch.empty_like(part), jitter.of(chunk)),
            complete[chunk],
        )


@pytest.mark.parametrize("batch", [1, 12])
def test_one_channel_represents_a_gray_image(rng, device, batch):
    """A single channel changes as torchvision changes each of three equal channels."""
    channel = torch.from_numpy(rng.random((batch, 1, 5, 6))).float()
    order = np.argsort(rng.random((batch, 4)), axis=1)
    amounts = rng.uniform([0.5, 0.5, 0.5, -0.5], [1.5, 1.5, 1.5, 0.5], (batch, 4))
    actual = jittered(channel, order, amounts, device).expand(-1, 3, -1, -1)
    close(actual, expected(channel.expand(-1, 3, -1, -1), order, amounts), atol=1e-5)


class Scripted:
    """A generator that yields prescribed sort keys and positions within the uniform range."""

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
def test_jitter_draws_orders_and_amounts_up_to_the_strength(rng, device, strength):
    """Orders come from sorting; factors lie within 1 +- strength, shifts within +- strength."""
    images = colors(rng, 12)
    keys, positions = rng.random((12, 4)), rng.random((12, 4))
    positions[0], positions[1] = 0, 1  # the ends of the ranges
    amounts = (2 * positions - 1) * strength + [1, 1, 1, 0]
    flat = images.flatten(2).clone().to(device)
    jitter = color_jitter.sample_jitter(12, Scripted(keys, positions), strength, device)
    actual = (
        color_jitter.apply_jitter(flat, torch.empty_like(flat), jitter).cpu().view(images.shape)
    )
    close(actual, expected(images, np.argsort(keys, axis=1), amounts), atol=1e-4)
