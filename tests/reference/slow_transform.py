"""The linear transform LTG (METHOD 3.4) again, with plain loops; see slow_method.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.reference.slow_method import Array

MOST_RECTANGLES, SMALLEST_FACTOR = 100, 1e-6


def linear_transform(image: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return an image after LTG, its rectangles and their factors, all in their order.

    Args:
        image: [3, H, W], values in [0, 1].
        rng: draws rectangles and factors.

    Returns:
        the image, rectangles [n, 4] (top, left, height, width), and Beta draws [n, 3], NaN for a
        channel that is black in the rectangle.
    """
    output, accumulated = np.array(image, np.float64), np.ones(image.shape)
    rectangles: list[tuple[int, ...]] = []
    factors: list[list[float]] = []
    while len(rectangles) < MOST_RECTANGLES and accumulated.min() > SMALLEST_FACTOR:
        top, left, height, width = _rectangle(*image.shape[1:], rng)
        window = output[:, top : top + height, left : left + width]
        rectangles.append((top, left, height, width))
        factors.append([rng.beta(0.5, 0.5) if (c > 0).any() else np.nan for c in window])
        _multiply(output, accumulated, rectangles[-1], factors[-1])
    return output, np.array(rectangles), np.array(factors)


def apply(image: Array, rectangles: Array, factors: Array) -> tuple[Array, list[float]]:
    """Return the image after given rectangles, and the smallest accumulated factor after each."""
    output, accumulated = np.array(image, np.float64), np.ones(image.shape)
    smallest = []
    for rectangle, factor in zip(rectangles, factors, strict=True):
        _multiply(output, accumulated, rectangle, factor)
        smallest.append(float(accumulated.min()))
    return output, smallest


def _rectangle(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    while True:
        area = rng.uniform(0.02, 0.4) * height * width
        aspect = rng.uniform(0.3, 1 / 0.3)
        rows, columns = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if rows < height and columns < width:
            top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
            return int(top), int(left), rows, columns


def _multiply(
    output: Array, accumulated: Array, rectangle: Sequence[int], factors: Sequence[float]
) -> None:
    top, left, height, width = rectangle
    for channel, factor in enumerate(factors):
        if not np.isnan(factor):
            window = (channel, slice(top, top + height), slice(left, left + width))
            scale = factor / output[window].max()
            output[window] *= scale
            accumulated[window] *= scale


def transform_statistics(images: Array, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Return mean and standard error over uint8 images [N, 3, H, W], as in stage_one.npz."""
    rows = []
    for image in images / 255:
        output, rectangles, _ = linear_transform(image, rng)
        change = np.abs(output - image)
        changed = (change > 1e-6).any(axis=0).mean()
        rows.append((len(rectangles), changed, change.mean(), (output < 0.02).mean()))
    names = ("rectangles", "changed", "change", "black")
    return {
        name: (float(np.mean(column)), float(np.std(column) / np.sqrt(len(column))))
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def smooth_images(rng: np.random.Generator, count: int, height: int, width: int) -> Array:
    """Return uint8 images [count, 3, height, width]: gradients between random colors, noise."""
    coarse = rng.random((count, 3, 4, 3))
    rows, columns = np.linspace(0, 3, height), np.linspace(0, 2, width)
    down = np.maximum(0, 1 - np.abs(rows[:, None] - np.arange(4)))
    across = np.maximum(0, 1 - np.abs(columns[:, None] - np.arange(3)))
    noisy = down @ coarse @ across.T + rng.normal(0, 0.05, (count, 3, height, width))
    return (255 * noisy.clip(0, 1)).astype(np.uint8)


def infrared_shares(rng: np.random.Generator, count: int) -> Array:
    """Return how often the infrared view is channel 0, 1, 2, gray and unchanged."""
    forms = [form if form < 3 else 3 + rng.integers(2) for form in rng.integers(4, size=count)]
    return np.bincount(forms, minlength=5) / count
