"""Random image transforms with individual parameters for each image (METHOD 3.4).

All random numbers are from the NumPy generator that is passed in, so a batch is the same on every
device. The numbers of a batch are sampled at once; images with jitter are then computed in chunks:
all together on a GPU, as few as fit the cache on a CPU. Temporaries are reused, because access to
memory outside the cache takes longer than the arithmetic.

Views are normalized float32 [B, 3, H, W] in channels-last memory format, as the network uses them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salcr.config.method import Augment
from salcr.data import color_jitter, windows
from salcr.data.linear_transform import transform_images

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Value of erased rectangles, used on normalized images as in most code of the field.
_ERASING_FILL = (0.4914, 0.4822, 0.4465)
# With this number of pixels a CPU's temporaries, 12 bytes per pixel each, remain in its cache.
_PIXELS_AT_ONCE = 2**16

_COPIES = np.repeat(np.eye(3)[:, :, None], 3, axis=2)
_GRAY = np.repeat(np.array(color_jitter.LUMA)[None, :, None], 3, axis=2)
_UNCHANGED = np.eye(3)[None]
CHANNEL_FORMS = {
    "three": _COPIES,
    "four": np.concatenate([_COPIES, _GRAY]),
    "five": np.concatenate([_COPIES, _GRAY, _UNCHANGED, _COPIES]),
}
"""[K, 3, 3]: maps of a normalized color to the view's color, with a chance of 1/K each. The
different ones come first: channel 0, 1, 2, gray, unchanged."""


def normalize_images(images: Tensor) -> Tensor:
    """Return normalized float32 images [B, 3, H, W] of uint8 images [B, H, W, 3]; not random."""
    scale, offset = _normalization(images)
    normalized = images.float()
    normalized.flatten(2).mul_(scale).add_(offset)
    return normalized.permute(0, 3, 1, 2)


def visible_view(images: Tensor, rng: np.random.Generator, augment: Augment, ltg: bool) -> Tensor:
    """Return the plain training view v of uint8 visible images [B, H, W, 3].

    Crop, flip, the local linear transform if `ltg` (stage one), normalization, erasing.

    Args:
        images: uint8 [B, H, W, 3].
        rng: source of all random numbers.
        augment: strengths and probabilities.
        ltg: whether to apply the local linear transform.

    Returns:
        float32 [B, 3, H, W].
    """
    places = windows.sample_windows(len(images), rng, augment.pad)
    view = images.new_empty(images.shape, dtype=torch.float32)
    with torch.inference_mode():  # without autograd's overhead for hundreds of small operations
        windows.crop(images, places, out=view)
        if ltg:
            _transform_linearly(view, rng, augment)
        scale, offset = _normalization(images)
        torch.addcmul(offset, view.flatten(2), scale, out=view.flatten(2))
        erased = windows.sample_erased(images, rng, augment)
        windows.erase(view, erased, _on(images, np.tile(_ERASING_FILL, (len(images), 1))))
    return view.permute(0, 3, 1, 2)


def augmented_view(images: Tensor, rng: np.random.Generator, augment: Augment) -> Tensor:
    """Return the channel-augmented training view a of uint8 visible images [B, H, W, 3].

    Crop, flip, color jitter, normalization, erasing, one random channel copied to all three.

    Returns:
        float32 [B, 3, H, W], three equal channels.
    """
    return _jittered_view(images, rng, augment, CHANNEL_FORMS["three"])


def infrared_view(images: Tensor, rng: np.random.Generator, augment: Augment) -> Tensor:
    """Return the training view r of uint8 infrared images [B, H, W, 3].

    Crop, flip, color jitter, normalization, erasing, then one of the forms of
    `augment.infrared_forms`: a channel or the gray in all three or, of five, the image unchanged.

    Returns:
        float32 [B, 3, H, W].
    """
    return _jittered_view(images, rng, augment, CHANNEL_FORMS[augment.infrared_forms])


def _jittered_view(
    images: Tensor, rng: np.random.Generator, augment: Augment, forms: NDArray[np.float64]
) -> Tensor:
    """Return a view whose channels are mapped by one of `forms` [K, 3, 3] at its end."""
    batch, height, width, _ = images.shape
    places = windows.sample_windows(batch, rng, augment.pad)
    jitter = color_jitter.sample_jitter(batch, rng, augment.jitter, images.device)
    erased = windows.sample_erased(images, rng, augment)
    maps = forms[rng.integers(len(forms), size=batch)]
    unchanged = (maps == _UNCHANGED).all(axis=(1, 2))
    fills = _on(images, _ERASING_FILL @ maps)
    # Normalization and erasing act on each channel separately, so the map may precede them. All
    # but the unchanged images have equal channels, of which only the first is computed.
    kept = maps[:, None, :, 0] / IMAGENET_STD
    weights, offsets = _on(images, kept), _on(images, -kept @ IMAGENET_MEAN)[..., None]
    std, mean = np.array(IMAGENET_STD)[:, None], np.array(IMAGENET_MEAN)[:, None]
    color_scale, color_offset = _on(images, 1 / std), _on(images, -mean / std)
    scale = (torch.eye(3, device=images.device) / 255).expand(batch, 3, 3)
    spread = _spread(images)
    view = images.new_empty(images.shape, dtype=torch.float32)
    work = torch.empty_like(view[: _at_once(images)])
    other = work.new_empty(len(work), 3, height * width)
    with torch.inference_mode():  # without autograd's overhead for hundreds of small operations
        for chunk in _chunks(images):
            part, crops = view[chunk], work[: len(places[chunk])]
            planes, mixture = other[: len(crops)], weights[chunk]
            windows.crop(images[chunk], places[chunk], out=crops)
            # Sorted by channel with a matrix product, in half the time of a strided copy.
            torch.bmm(scale[chunk], crops.flatten(1, 2).mT, out=planes)
            planes = _drop_equal_channels(planes)
            if planes.shape[1] == 1:
                mixture = mixture.sum(dim=2, keepdim=True)
            spare = crops.view(len(crops), 3, -1)[:, : planes.shape[1]]
            planes = color_jitter.apply_jitter(planes, spare, jitter.of(chunk))
            plane = torch.baddbmm(offsets[chunk], mixture, planes)
            torch.mm(plane.view(-1, len(spread)), spread, out=part.view(-1, 3 * len(spread)))
            colored = np.flatnonzero(unchanged[chunk])
            if len(colored):
                index = windows.to_device(colored, images)
                color = torch.addcmul(color_offset, planes[index], color_scale)
                part[index] = color.mT.unflatten(1, (height, width))
            windows.erase(part, erased[chunk], fills[chunk])
    return view.permute(0, 3, 1, 2)


def _at_once(images: Tensor) -> int:
    """Return the number of images [B, H, W, 3] to compute at once."""
    batch, height, width, _ = images.shape
    return batch if images.is_cuda else max(1, _PIXELS_AT_ONCE // (height * width))


def _chunks(images: Tensor) -> Iterator[slice]:
    size = _at_once(images)
    return (slice(start, start + size) for start in range(0, len(images), size))


def _sample_mixtures(batch: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return [B, 3, 3]: maps of a color to one mixture of its channels, three times.

    The weights are samples of Beta(0.5, 0.5), scaled to sum 1.
    """
    weights = rng.beta(0.5, 0.5, size=(batch, 3, 1))
    return np.repeat(weights / weights.sum(axis=1, keepdims=True), 3, axis=2)


def _transform_linearly(images: Tensor, rng: np.random.Generator, augment: Augment) -> None:
    """Apply the local linear transform to random ones of float32 images [B, H, W, 3], in place."""
    batch, probability = len(images), augment.linear_probability
    if augment.linear_transform == "radical":
        chosen = np.flatnonzero(rng.random(batch) < probability)
        seeds = rng.integers(2**63, size=batch)
        transform_images(images, seeds, chosen)
    else:
        mixed = windows.sample_rectangles(images, rng, probability, windows.MAX_AREA)
        windows.mix_channels(images, mixed, _on(images, _sample_mixtures(batch, rng)))


def _normalization(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and offset [W * 3] for rows of values in [0, 255]; loops over 3 are slow."""
    width = images.shape[2]
    std, mean = 255 * np.tile(IMAGENET_STD, width), 255 * np.tile(IMAGENET_MEAN, width)
    return _on(images, 1 / std), _on(images, -mean / std)


def _spread(images: Tensor) -> Tensor:
    """Return [n, 3 n]: n pixels times this matrix are the pixels with each value three times.

    The product takes half the time of a strided copy.
    """
    run = math.gcd(8, images.shape[1] * images.shape[2])
    return torch.eye(run, device=images.device).repeat_interleave(3, dim=1)


def _drop_equal_channels(planes: Tensor) -> Tensor:
    """Return one channel, [B, 1, N], of images [B, 3, N] that are all gray, on a CPU.

    It saves a CPU two thirds of the work; a GPU would have to be synchronized for the test.
    """
    red, green, blue = planes.split(1, dim=1)
    if planes.is_cuda or not (torch.equal(red, green) and torch.equal(red, blue)):
        return planes
    return red.contiguous()


def _on(images: Tensor, values: NDArray[np.float64]) -> Tensor:
    """Return an array as float32 on the images' device."""
    return color_jitter.to_float_tensor(values, images.device)
