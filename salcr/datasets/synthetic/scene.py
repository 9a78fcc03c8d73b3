"""The scene of a synthetic person: prints, detector box, background, occlusion, light, noise.

Images are float32 arrays [height, width, channels] with values around [0, 1]; one channel for
infrared, three for visible.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from salcr.datasets.synthetic.body import Frame

FloatArray = NDArray[np.float32]

PRINTS = ("horizontal", "vertical", "diagonal", "checks", "dots", "zigzag", "emblem")
DEFAULT_OCCLUSION = 0.06


def print_mask(kind: str, period: float, x: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
    """Return which points of a garment are on the printed half of its pattern.

    Args:
        kind: one of `PRINTS`.
        period: distance after which the pattern repeats, in body heights.
        x: body x of the columns, [1, width].
        y: body y of the rows, [height, 1].

    Returns:
        Mask [height, width].

    Raises:
        ValueError: the print is unknown.
    """
    across, down = x / period, y / period
    shape = np.broadcast_shapes(x.shape, y.shape)
    if kind == "horizontal":
        return np.broadcast_to(down % 1 < 0.5, shape)
    if kind == "vertical":
        return np.broadcast_to(across % 1 < 0.5, shape)
    if kind == "diagonal":
        return (across + down) * 0.8 % 1 < 0.5
    if kind == "checks":
        # Slightly larger, because a check needs more pixels than a stripe to be visible.
        return (across * 0.8 % 1 < 0.5) ^ (down * 0.8 % 1 < 0.5)
    if kind == "dots":
        return (across % 1 - 0.5) ** 2 + (down % 1 - 0.5) ** 2 < 0.33**2
    if kind == "zigzag":
        return (down + np.abs(across * 0.7 % 1 - 0.5) * 1.4) % 1 < 0.5
    if kind == "emblem":
        return across**2 + ((y - 0.3) / period) ** 2 < 0.85**2
    raise ValueError(f"unknown print {kind!r}, expected one of {PRINTS}")


def reduce_image(image: FloatArray, factor: int) -> FloatArray:
    """Return the image [height, width, channels] with each factor x factor block averaged."""
    rows, columns, channels = image.shape
    blocks = image.reshape(rows // factor, factor, columns // factor, factor, channels)
    # In NumPy, two sums are several times faster than one mean over both block axes.
    return blocks.sum(axis=1).sum(axis=2) / np.float32(factor * factor)


def render_background(
    color: FloatArray, height: int, width: int, rng: np.random.Generator
) -> FloatArray:
    """Render a wall, a floor and one soft vertical stripe (a door, a tree) in similar colors.

    Returns:
        Image [height, width, channels] that deviates from `color` [channels] by at most 0.07.
    """
    rows = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    columns = np.linspace(0.0, 1.0, width, dtype=np.float32)[None, :]
    slope_across, slope_down = rng.uniform(-0.02, 0.02, size=2)
    floor = rng.uniform(-0.02, 0.02) * (rows > rng.uniform(0.72, 0.9))
    center, half_width = rng.uniform(0.0, 1.0), rng.uniform(0.05, 0.2)
    stripe = rng.uniform(-0.03, 0.03) * (np.abs(columns - center) < half_width)
    relief = slope_across * (columns - 0.5) + slope_down * (rows - 0.5) + floor + stripe
    return color + relief[:, :, None].astype(np.float32)


def misalign(
    frame: Frame, share: float, height: int, width: int, rng: np.random.Generator
) -> Frame:
    """Return the frame of a body in an image whose detector box is wrong.

    Args:
        frame: position of the body with the right box.
        share: largest shift of the box, of the image's height and width, and largest change of its
            size, of the size. The body may be cut off.
        height: of the image, in pixels.
        width: of the image, in pixels.
        rng: source of shift and size.
    """
    right, down, growth = share * rng.uniform(-1, 1, size=3)
    return replace(
        frame,
        axis=float(frame.axis + right * width + growth * (frame.axis - 0.5 * width)),
        crown=float(frame.crown + down * height + growth * (frame.crown - 0.5 * height)),
        size=float(frame.size + growth * frame.size),
    )


def occlude(image: FloatArray, probability: float, rng: np.random.Generator) -> FloatArray:
    """Cover part of some images with a flat box, like a passing object.

    Returns:
        The image itself, or with the given probability a copy with the box.
    """
    is_occluded = rng.random() < probability
    top, left = rng.uniform(0.2, 0.75), rng.uniform(-0.1, 0.7)
    extent_down, extent_across = rng.uniform(0.15, 0.35), rng.uniform(0.25, 0.5)
    tone = rng.uniform(0.2, 0.7)
    if not is_occluded:
        return image
    height, width = image.shape[:2]
    covered = image.copy()
    rows = slice(int(top * height), int((top + extent_down) * height))
    columns = slice(max(0, int(left * width)), int((left + extent_across) * width))
    covered[rows, columns] = tone
    return covered


def expose(image: FloatArray, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Apply slight changes of brightness and contrast, and sensor noise.

    Returns:
        Image of the same shape, values 0 .. 255.
    """
    gain, offset = rng.uniform(0.96, 1.04), rng.uniform(-0.015, 0.015)
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(0.02)
    exposed = image * np.float32(gain) + np.float32(offset) + noise
    return np.clip(exposed * 255 + 0.5, 0, 255).astype(np.uint8)
