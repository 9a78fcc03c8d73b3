"""LTG, the local linear transform of stage one (METHOD 3.4): radical random linear enhancement.

Rectangle after rectangle, each channel by itself is multiplied by a Beta(0.5, 0.5) draw divided by
the channel's present maximum in the rectangle, in units of the largest possible value; a channel
that is 0 there is left alone. An image is finished when the product of the factors of one of its
pixels in one channel is at most 1e-6, at the latest after 100 rectangles.

Everything random about an image follows from a seed of its own. The numbers are sampled on the
CPU, so a batch is the same on every device.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from salcr.data.windows import MAX_AREA, MIN_AREA, MIN_ASPECT, inside_rectangles, to_device
from salcr.types import Floats, Integers

_RECTANGLES = 100
_STOP = 1e-6
# Rectangles on a GPU between two tests of which images are finished, each of which waits for it.
# Half of the images have at most 12, one of twenty more than 20.
_BETWEEN_TESTS = 20


def transform_images(images: Tensor, seeds: Integers, chosen: Integers) -> None:
    """Apply the transform to some images in place.

    Args:
        images: float32 [B, H, W, 3] in [0, 255], contiguous. Changed in place.
        seeds: [B], not negative.
        chosen: [n], the images to transform.
    """
    height, width = images.shape[1:3]
    rectangles, draws = sample_rectangles(seeds[chosen], height, width)
    if images.is_cuda:
        index = to_device(chosen, images)
        images[index] = scale_together(images[index], rectangles, draws)
    else:
        scale_one_by_one(images, rectangles, draws, chosen)


def sample_rectangles(seeds: Integers, height: int, width: int) -> tuple[Integers, Floats]:
    """Return rectangles and draws for images of this size, each from its seed.

    Areas are uniform in 2 to 40 % of the image, aspect ratios in 0.3 to 1/0.3, both sampled again
    while the rectangle does not fit.

    Returns:
        [B, 100, 4], top, bottom, left, right, and [B, 100, 3], Beta(0.5, 0.5) for each channel.
    """
    from salcr.data import kernels  # here, because importing numba takes half a second

    rectangles = np.empty((len(seeds), _RECTANGLES, 4), np.int64)
    draws = np.empty((len(seeds), _RECTANGLES, 3), np.float32)
    kernels.sample(seeds, height, width, (MIN_AREA, MAX_AREA), MIN_ASPECT, rectangles, draws)
    return rectangles, draws


def scale_one_by_one(
    images: Tensor, rectangles: Integers, draws: Floats, chosen: Integers | None = None
) -> None:
    """Scale rectangles of images in place, in a compiled loop with torch's number of threads.

    Args:
        images: float32 [B, H, W, 3] in [0, 255] on the CPU, contiguous. Changed in place.
        rectangles: [n, N, 4], in the order in which they act; empty ones change nothing.
        draws: float32 [n, N, 3].
        chosen: [n], the images that these are for; all by default.
    """
    from salcr.data import kernels

    places = np.arange(len(images)) if chosen is None else chosen
    rows = images.flatten(2).numpy()
    scale = partial(kernels.scale_rectangles, rows, places, rectangles, draws, np.float32(_STOP))
    threads = torch.get_num_threads()
    # Not numba's threads: its layer must not be entered by two threads of Python.
    shares = [np.arange(first, len(places), threads) for first in range(threads)]
    if threads == 1:
        scale(shares[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(scale, shares))


def scale_together(images: Tensor, rectangles: Integers, draws: Floats) -> Tensor:
    """Return `scale_one_by_one` of all images at once, on any device, in few large operations.

    Args:
        images: float32 [B, H, W, 3] in [0, 255].
        rectangles: [B, N, 4].
        draws: [B, N, 3].

    Returns:
        [B, H, W, 3], the same up to rounding.
    """
    high, wide = inside_rectangles(to_device(rectangles, images), *images.shape[1:3])
    levels = 255 * torch.from_numpy(draws).to(images.device, non_blocking=True)
    # The image and the product of its factors, which are multiplied together.
    result = torch.stack([images, torch.ones_like(images)])
    left = torch.arange(len(images), device=images.device)
    for first in range(0, rectangles.shape[1], _BETWEEN_TESTS):
        block = slice(first, first + _BETWEEN_TESTS)
        part = result[:, left]
        active = torch.ones_like(left, dtype=torch.bool)
        of_block = (values[left, block].unbind(1) for values in (high, wide, levels))
        for rows, columns, level in zip(*of_block, strict=True):
            inside = (rows[:, :, None] & columns[:, None])[..., None]
            largest = torch.where(inside, part[0], 0).amax(dim=(1, 2))
            changes = (largest > 0) & active[:, None]
            factors = torch.where(changes, level / largest, 1)
            part *= torch.where(inside, factors[:, None, None], 1)
            active = part[1].amin(dim=(1, 2, 3)) > _STOP
        result[:, left] = part
        left = left[active]  # waits for the GPU
        if len(left) == 0:
            break
    return result[0]
