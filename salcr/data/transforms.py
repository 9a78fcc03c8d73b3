"""Random image transforms, each image with parameters of its own (METHOD 3.4).

All randomness comes from the NumPy generator passed in, so a batch is the same on every device
and whatever else runs. The numbers of a batch are drawn at once; its images are then computed in
chunks, on a GPU all together, on a CPU as few as its cache holds. Temporaries are used again:
memory that is not in the cache takes longer than the arithmetic.

Views are normalized float32 [B, 3, H, W], in memory channels-last, as the network wants them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salcr.config.schema import Augment
from salcr.data import color_jitter
from salcr.types import Integers

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The filling of erased rectangles, used on normalized images as the field's code bases do.
_ERASING_FILL = (0.4914, 0.4822, 0.4465)
_MIN_AREA = 0.02
_MIN_ASPECT = 0.3
_MAX_MIXED_AREA = 0.4
# With so many pixels a CPU's temporaries, 12 bytes a pixel each, stay in its cache.
_PIXELS_AT_ONCE = 2**16


def normalize_images(images: Tensor) -> Tensor:
    """Return normalized [B, 3, H, W] float32 images from uint8 [B, H, W, 3]; nothing random."""
    scale, offset = _normalization(images)
    normalized = images.float()
    normalized.flatten(2).mul_(scale).add_(offset)
    return normalized.permute(0, 3, 1, 2)


def visible_view(images: Tensor, rng: np.random.Generator, augment: Augment, ltg: bool) -> Tensor:
    """Return the plain training view v of uint8 visible images [B, H, W, 3].

    Crop, flip, the local linear transform if `ltg` (stage one), normalization, erasing.
    """
    windows = _draw_windows(len(images), rng, augment.pad)
    probability = augment.linear_probability if ltg else 0.0
    mixed = _draw_rectangles(images, rng, probability, _MAX_MIXED_AREA)
    mixtures = _on(images, _draw_mixtures(len(images), rng))
    erased = _draw_rectangles(images, rng, augment.erasing_probability, augment.erasing_max_area)
    fills = _on(images, np.tile(_ERASING_FILL, (len(images), 1)))
    scale, offset = _normalization(images)
    view = images.new_empty(images.shape, dtype=torch.float32)
    work = torch.empty_like(view[: _at_once(images)])
    with torch.inference_mode():  # without the book-keeping of hundreds of small operations
        for chunk in _chunks(images):
            crops, part = work[: len(windows[chunk])], view[chunk]
            _crop(images[chunk], windows[chunk], out=crops)
            _mix_channels(crops, mixed[chunk], mixtures[chunk])
            torch.addcmul(offset, crops.flatten(2), scale, out=part.flatten(2))
            _erase(part, erased[chunk], fills[chunk])
    return view.permute(0, 3, 1, 2)


def augmented_view(images: Tensor, rng: np.random.Generator, augment: Augment) -> Tensor:
    """Return the channel-augmented training view a of uint8 visible images [B, H, W, 3].

    Crop, flip, color jitter, normalization, erasing, one random channel copied to all three.
    """
    return _one_channel_view(images, rng, augment, num_choices=3)


def infrared_view(images: Tensor, rng: np.random.Generator, augment: Augment) -> Tensor:
    """Return the training view r of uint8 infrared images [B, H, W, 3].

    Crop, flip, color jitter, normalization, erasing, one random channel or gray in all three.
    """
    return _one_channel_view(images, rng, augment, num_choices=4)


def _one_channel_view(
    images: Tensor, rng: np.random.Generator, augment: Augment, num_choices: int
) -> Tensor:
    """Return a view whose channels are all channel 0, 1 or 2 or, if 4 are to choose from, gray."""
    batch, height, width, _ = images.shape
    windows = _draw_windows(batch, rng, augment.pad)
    jitter = color_jitter.sample_jitter(batch, rng, augment.jitter, images.device)
    erased = _draw_rectangles(images, rng, augment.erasing_probability, augment.erasing_max_area)
    kept = np.concatenate([np.eye(3), [color_jitter.LUMA]])[rng.integers(num_choices, size=batch)]
    fills = _on(images, kept @ _ERASING_FILL)
    # Normalization and erasing act on every channel alone, so the choice may come before them.
    weights = _on(images, kept[:, None] / IMAGENET_STD)
    offsets = _on(images, -(kept / IMAGENET_STD) @ IMAGENET_MEAN)[:, None, None]
    scale = (torch.eye(3, device=images.device) / 255).expand(batch, 3, 3)
    spread = _spread(images)
    view = images.new_empty(images.shape, dtype=torch.float32)
    work = torch.empty_like(view[: _at_once(images)])
    other = work.new_empty(len(work), 3, height * width)
    with torch.inference_mode():  # without the book-keeping of hundreds of small operations
        for chunk in _chunks(images):
            crops, planes = work[: len(windows[chunk])], other[: len(windows[chunk])]
            _crop(images[chunk], windows[chunk], out=crops)
            # Sorted by channel with a product: half the time of a strided copy.
            torch.bmm(scale[chunk], crops.flatten(1, 2).mT, out=planes)
            planes, mixture = _without_copies(planes), weights[chunk]
            if planes.shape[1] == 1:
                mixture = mixture.sum(dim=2, keepdim=True)
            spare = crops.view(len(crops), 3, -1)[:, : planes.shape[1]]
            planes = color_jitter.apply_jitter(planes, spare, jitter.of(chunk))
            plane = torch.baddbmm(offsets[chunk], mixture, planes).view(-1, height, width)
            _erase(plane, erased[chunk], fills[chunk])
            torch.mm(plane.view(-1, len(spread)), spread, out=view[chunk].view(-1, 3 * len(spread)))
    return view.permute(0, 3, 1, 2)


def _at_once(images: Tensor) -> int:
    """Return how many images [B, H, W, 3] to compute at once."""
    batch, height, width, _ = images.shape
    return batch if images.is_cuda else max(1, _PIXELS_AT_ONCE // (height * width))


def _chunks(images: Tensor) -> Iterator[slice]:
    size = _at_once(images)
    return (slice(start, start + size) for start in range(0, len(images), size))


def _draw_windows(batch: int, rng: np.random.Generator, pad: int) -> list[list[int]]:
    """Return [B, 3]: how far down and right of its image a window begins; 1 to mirror the image."""
    corners = rng.integers(2 * pad + 1, size=(batch, 2)) - pad
    windows: list[list[int]] = np.column_stack([corners, rng.random(batch) < 0.5]).tolist()
    return windows


def _draw_rectangles(
    images: Tensor, rng: np.random.Generator, probability: float, area: float
) -> list[list[int]]:
    """Return [B, 4]: top, bottom, left, right of a rectangle in images [B, H, W, 3], or zeros.

    Area uniform in [2 %, `area`] of the image, aspect ratio uniform in [0.3, 1/0.3], redrawn
    while it does not fit.
    """
    batch, height, width, _ = images.shape
    found = np.zeros((batch, 4), dtype=np.int64)
    waiting = np.flatnonzero(rng.random(batch) < probability)
    for _ in range(100):
        size = rng.uniform(_MIN_AREA, area, len(waiting)) * height * width
        aspect = rng.uniform(_MIN_ASPECT, 1 / _MIN_ASPECT, len(waiting))
        tall, wide = _rounded(np.sqrt(size * aspect)), _rounded(np.sqrt(size / aspect))
        fits = (tall < height) & (wide < width)
        tall, wide = tall[fits], wide[fits]
        top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
        found[waiting[fits]] = np.column_stack([top, top + tall, left, left + wide])
        waiting = waiting[~fits]
        if len(waiting) == 0:
            break
    rectangles: list[list[int]] = found.tolist()
    return rectangles


def _rounded(sides: NDArray[np.float64]) -> Integers:
    return np.rint(sides).astype(np.int64)


def _draw_mixtures(batch: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return [B, 3, 3]: maps of a color to one mixture of its channels, three times.

    The weights are Beta(0.5, 0.5) draws scaled to sum 1.
    """
    weights = rng.beta(0.5, 0.5, size=(batch, 3, 1))
    return np.repeat(weights / weights.sum(axis=1, keepdims=True), 3, axis=2)


def _crop(images: Tensor, windows: list[list[int]], out: Tensor) -> None:
    """Write windows of uint8 images [B, H, W, 3] as float32, with 0 beyond the images."""
    height, width = images.shape[1:3]
    out.zero_()
    for image, (down, right, mirrored), crop in zip(images, windows, out, strict=True):
        rows, image_rows = _overlap(down, height)
        columns, image_columns = _overlap(right, width)
        source = image.flip(1) if mirrored else image
        crop[rows, columns] = source[image_rows, image_columns]


def _overlap(offset: int, size: int) -> tuple[slice, slice]:
    """Return which part of a window its image covers, and which part of the image that is."""
    covered = max(size - abs(offset), 0)
    start, image_start = max(-offset, 0), max(offset, 0)
    return slice(start, start + covered), slice(image_start, image_start + covered)


def _mix_channels(images: Tensor, rectangles: list[list[int]], mixtures: Tensor) -> None:
    """Replace, in a rectangle of images [B, H, W, 3], all channels by one mixture (LTG)."""
    for index, (top, bottom, left, right) in enumerate(rectangles):
        if top < bottom:
            patch = images[index, top:bottom, left:right]
            patch.copy_(patch @ mixtures[index])


def _erase(images: Tensor, rectangles: list[list[int]], fills: Tensor) -> None:
    """Fill a rectangle of images [B, H, W] or [B, H, W, 3] with the image's fill, [B] or [B, 3]."""
    for index, (top, bottom, left, right) in enumerate(rectangles):
        if top < bottom:
            images[index, top:bottom, left:right] = fills[index]


def _normalization(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and offset [W * 3] for rows of values in [0, 255]: loops over 3 are slow."""
    width = images.shape[2]
    std, mean = 255 * np.tile(IMAGENET_STD, width), 255 * np.tile(IMAGENET_MEAN, width)
    return _on(images, 1 / std), _on(images, -mean / std)


def _spread(images: Tensor) -> Tensor:
    """Return [n, 3 n]: runs of n pixels times this are the pixels with each value three times.

    Such a product takes half the time of a strided copy.
    """
    run = math.gcd(8, images.shape[1] * images.shape[2])
    return torch.eye(run, device=images.device).repeat_interleave(3, dim=1)


def _without_copies(planes: Tensor) -> Tensor:
    """Return [B, 1, N] of images [B, 3, N] that are gray all, if it is a CPU that computes them.

    It saves a CPU two thirds of the work; a GPU would have to wait for the answer.
    """
    red, green, blue = planes.split(1, dim=1)
    if planes.is_cuda or not (torch.equal(red, green) and torch.equal(red, blue)):
        return planes
    return red.contiguous()


def _on(images: Tensor, values: NDArray[np.float64]) -> Tensor:
    """Return an array as float32 on the images' device."""
    return color_jitter.to_float_tensor(values, images.device)
