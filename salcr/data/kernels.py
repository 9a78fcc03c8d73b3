"""Compiled loops of the local linear transform; like `salcr/pseudo_labels/kernels.py`, with numba.

It is imported inside the functions that need it, because importing numba takes half a second. The
loops release Python's lock, so the caller may run them in threads; an image is computed by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from salcr.errors import cache_without_errors
from salcr.types import Floats, Integers

_ATTEMPTS = 100
# Constants of the generator SplitMix64 (Steele et al., OOPSLA 2014).
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _compiled(function: Callable[..., Any]) -> Any:
    return cache_without_errors(numba.njit(nogil=True)(function))


@numba.njit(inline="always")
def _uniform(seed: np.uint64, count: np.uint64) -> float:
    """Return number `count` of a seed's sequence, in [0, 1)."""
    bits = seed + count * _STEP
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return float((bits ^ (bits >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@_compiled
def sample(
    seeds: Integers,
    height: int,
    width: int,
    areas: tuple[float, float],
    min_aspect: float,
    rectangles: Integers,
    draws: Floats,
) -> None:
    """Sample the rectangles of the local linear transform and their Beta(0.5, 0.5) draws.

    Args:
        seeds: [B], of everything random about an image.
        height: of the images.
        width: of the images.
        areas: the smallest and the largest area of a rectangle, as shares of the image.
        min_aspect: its smallest aspect ratio, and the inverse of the largest.
        rectangles: [B, N, 4]; top, bottom, left, right are written, zeros if none fits.
        draws: [B, N, 3], one for each channel. Written.
    """
    min_area, max_area = areas
    for image in range(len(seeds)):
        seed, count = np.uint64(seeds[image]), np.uint64(1)
        for number in range(rectangles.shape[1]):
            rectangles[image, number] = 0
            for _ in range(_ATTEMPTS):
                share = min_area + (max_area - min_area) * _uniform(seed, count)
                aspect = _uniform(seed, count + np.uint64(1))
                aspect = min_aspect + (1 / min_aspect - min_aspect) * aspect
                count += np.uint64(2)
                tall = round(np.sqrt(share * height * width * aspect))
                wide = round(np.sqrt(share * height * width / aspect))
                if tall < height and wide < width:
                    top = int(_uniform(seed, count) * (height - tall + 1))
                    left = int(_uniform(seed, count + np.uint64(1)) * (width - wide + 1))
                    count += np.uint64(2)
                    corners = rectangles[image, number]
                    corners[0], corners[1] = top, top + tall
                    corners[2], corners[3] = left, left + wide
                    break
            for channel in range(3):
                angle = np.pi / 2 * _uniform(seed, count)
                draws[image, number, channel] = np.sin(angle) ** 2  # is Beta(0.5, 0.5)
                count += np.uint64(1)


@_compiled
def scale_rectangles(
    images: Floats,
    places: Integers,
    rectangles: Integers,
    draws: Floats,
    stop: np.float32,
    share: Integers,
) -> None:
    """Scale rectangles of some images, one after another, as `linear_transform` describes.

    Args:
        images: [B, H, W * 3], in [0, 255]. Changed in place.
        places: [n], the images that rectangles and draws are for.
        rectangles: [n, N, 4], see `sample`.
        draws: [n, N, 3].
        stop: an image is finished when one of its accumulated factors is at most this.
        share: which of the n to change.
    """
    _, height, width = images.shape
    accumulated = np.empty((height, width), np.float32)
    line = np.empty(width, np.float32)  # of a rectangle; loops over columns use vector instructions
    factors = np.empty(width, np.float32)
    for index in share:
        image = images[places[index]]
        accumulated[:] = 1
        for number in range(rectangles.shape[1]):
            top, bottom = rectangles[index, number, 0], rectangles[index, number, 1]
            start = 3 * rectangles[index, number, 2]
            length = 3 * rectangles[index, number, 3] - start
            if top == bottom or length == 0:
                continue
            line[:length] = 0
            for row in range(top, bottom):
                values = image[row, start : start + length]
                for column in range(length):
                    line[column] = values[column] if values[column] > line[column] else line[column]
            for channel in range(3):
                largest = line[channel:length:3].max()
                factor = np.float32(1)
                if largest > 0:
                    factor = draws[index, number, channel] * np.float32(255) / largest
                factors[channel:length:3] = factor
            line[:length] = 1
            for row in range(top, bottom):
                values = image[row, start : start + length]
                scales = accumulated[row, start : start + length]
                for column in range(length):
                    values[column] *= factors[column]
                    scales[column] *= factors[column]
                    line[column] = scales[column] if scales[column] < line[column] else line[column]
            if line[:length].min() <= stop:
                break
