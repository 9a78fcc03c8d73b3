"""Windows and rectangles of images: their random numbers, crops, and fills (METHOD 3.4).

Images are a loop over slices on a CPU, whose copies are then of whole rows. On a GPU each of them
would be a kernel that runs shorter than it takes to start, so a place is data there: all images are
computed in the same few operations.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salcr.config.method import Augment
from salcr.types import Integers

MIN_AREA, MAX_AREA = 0.02, 0.4  # of a rectangle, shares of the image; the largest is LTG's
MIN_ASPECT = 0.3  # and at most its inverse


def sample_windows(batch: int, rng: np.random.Generator, pad: int) -> Integers:
    """Return [B, 3]: offsets down and right of a window in its image; 1 to mirror the image."""
    corners = rng.integers(2 * pad + 1, size=(batch, 2)) - pad
    return np.column_stack([corners, rng.random(batch) < 0.5])


def sample_erased(images: Tensor, rng: np.random.Generator, augment: Augment) -> Integers:
    """Return [B, 4], the rectangles to erase in images [B, H, W, 3]."""
    return sample_rectangles(images, rng, augment.erasing_probability, augment.erasing_max_area)


def sample_rectangles(
    images: Tensor, rng: np.random.Generator, probability: float, area: float
) -> Integers:
    """Return [B, 4]: top, bottom, left, right of a rectangle in images [B, H, W, 3], or zeros.

    The area is uniform in [2 %, `area`] of the image, the aspect ratio uniform in [0.3, 1/0.3];
    both are sampled again while the rectangle does not fit.
    """
    batch, height, width, _ = images.shape
    rectangles = np.zeros((batch, 4), dtype=np.int64)
    waiting = np.flatnonzero(rng.random(batch) < probability)
    for _ in range(100):
        size = rng.uniform(MIN_AREA, area, len(waiting)) * height * width
        aspect = rng.uniform(MIN_ASPECT, 1 / MIN_ASPECT, len(waiting))
        tall, wide = _round(np.sqrt(size * aspect)), _round(np.sqrt(size / aspect))
        fits = (tall < height) & (wide < width)
        tall, wide = tall[fits], wide[fits]
        top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
        rectangles[waiting[fits]] = np.column_stack([top, top + tall, left, left + wide])
        waiting = waiting[~fits]
        if len(waiting) == 0:
            break
    return rectangles


def _round(sides: NDArray[np.float64]) -> Integers:
    return np.rint(sides).astype(np.int64)


def crop(images: Tensor, windows: Integers, out: Tensor) -> None:
    """Write windows [B, 3] of uint8 images [B, H, W, 3] as float32, with 0 outside the images."""
    height, width = images.shape[1:3]
    if images.is_cuda:
        down, right, mirrored = to_device(windows, images).T[:, :, None]
        rows = torch.arange(height, device=images.device) + down
        columns = torch.arange(width, device=images.device) + right
        image_rows, image_columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        covered = (image_rows == rows)[:, :, None] & (image_columns == columns)[:, None]
        image_columns = torch.where(mirrored > 0, width - 1 - image_columns, image_columns)
        index = torch.arange(len(images), device=images.device)[:, None, None]
        pixels = images[index, image_rows[:, :, None], image_columns[:, None]]
        torch.mul(pixels, covered[..., None], out=out)
        return
    out.zero_()
    for image, (down, right, mirrored), window in zip(images, windows.tolist(), out, strict=True):
        rows, image_rows = _overlap(down, height)
        columns, image_columns = _overlap(right, width)
        source = image.flip(1) if mirrored else image
        window[rows, columns] = source[image_rows, image_columns]


def _overlap(offset: int, size: int) -> tuple[slice, slice]:
    """Return the part of a window that its image covers, and the same part in the image."""
    covered = max(size - abs(offset), 0)
    start, image_start = max(-offset, 0), max(offset, 0)
    return slice(start, start + covered), slice(image_start, image_start + covered)


def mix_channels(images: Tensor, rectangles: Integers, mixtures: Tensor) -> None:
    """Replace a color by its image's mixture [B, 3, 3] in a rectangle of images [B, H, W, 3]."""
    if images.is_cuda:
        mixed = torch.bmm(images.flatten(1, 2), mixtures).view_as(images)
        torch.where(_inside(rectangles, images), mixed, images, out=images)
        return
    for index, (top, bottom, left, right) in enumerate(rectangles.tolist()):
        if top < bottom:
            patch = images[index, top:bottom, left:right]
            patch.copy_(patch @ mixtures[index])


def erase(images: Tensor, rectangles: Integers, fills: Tensor) -> None:
    """Fill a rectangle of each image [B, H, W, 3] with its fill [B, 3]."""
    if images.is_cuda:
        torch.where(_inside(rectangles, images), fills[:, None, None], images, out=images)
        return
    for index, (top, bottom, left, right) in enumerate(rectangles.tolist()):
        if top < bottom:
            images[index, top:bottom, left:right] = fills[index]


def _inside(rectangles: Integers, images: Tensor) -> Tensor:
    """Return [B, H, W, 1], whether a pixel is in its image's rectangle."""
    high, wide = inside_rectangles(to_device(rectangles, images), *images.shape[1:3])
    return (high[:, :, None] & wide[:, None])[..., None]


def inside_rectangles(rectangles: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return whether rows [..., H] and columns [..., W] are those of rectangles [..., 4]."""
    top, bottom, left, right = rectangles.unsqueeze(-1).unbind(-2)
    rows, columns = (torch.arange(size, device=rectangles.device) for size in (height, width))
    return (top <= rows) & (rows < bottom), (left <= columns) & (columns < right)


def to_device(values: Integers, images: Tensor) -> Tensor:
    """Return integers on the device of images, copied without waiting."""
    return torch.from_numpy(values).to(images.device, non_blocking=True)
