"""Random image transforms on whole batches, with parameters drawn anew for every image.

All randomness comes from the NumPy generator passed in, so a batch is the same on every device
and whatever else runs. Images are float32 [B, 3, H, W] in [0, 1] unless a name says otherwise.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salcr.schema import Augment

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The filling of erased rectangles, used on normalised images as the field's code bases do.
_ERASING_FILL = (0.4914, 0.4822, 0.4465)
_LUMA = (0.2989, 0.5870, 0.1140)
_MIN_AREA = 0.02
_MIN_ASPECT = 0.3


def plain(images: Tensor) -> Tensor:
    """Return normalised [B, 3, H, W] float32 images from uint8 [B, H, W, 3]; nothing random."""
    return _normalise(_to_unit_range(images))


def visible_view(images: Tensor, rng: np.random.Generator, augment: Augment, ltg: bool) -> Tensor:
    """Return the plain training view v of uint8 visible images [B, H, W, 3].

    Crop, flip, the local linear transform if `ltg` (stage one), normalisation, erasing.
    """
    view = _to_unit_range(_crop_and_flip(images, rng, augment.pad))
    if ltg:
        _mix_channels_locally(view, rng, augment.linear_probability)
    return _erased(_normalise(view), rng, augment)


def augmented_view(images: Tensor, rng: np.random.Generator, augment: Augment) -> Tensor:
    """Return the channel-augmented training view a of uint8 visible images [B, H, W, 3].

    Crop, flip, colour jitter, normalisation, erasing, one random channel copied to all three.
    """
    view = _to_unit_range(_crop_and_flip(images, rng, augment.pad))
    view = _erased(_normalise(_jittered(view, rng, augment.jitter)), rng, augment)
    return _one_channel(view, rng.integers(3, size=len(view)))


def infrared_view(images: Tensor, rng: np.random.Generator, augment: Augment) -> Tensor:
    """Return the training view r of uint8 infrared images [B, H, W, 3].

    Crop, flip, colour jitter, normalisation, erasing, one random channel or grey in all three.
    """
    view = _to_unit_range(_crop_and_flip(images, rng, augment.pad))
    view = _erased(_normalise(_jittered(view, rng, augment.jitter)), rng, augment)
    return _one_channel(view, rng.integers(4, size=len(view)))


def _to_unit_range(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2).float().div_(255)


def _normalise(images: Tensor) -> Tensor:
    mean = images.new_tensor(IMAGENET_MEAN).view(3, 1, 1)
    return (images - mean) / images.new_tensor(IMAGENET_STD).view(3, 1, 1)


def _crop_and_flip(images: Tensor, rng: np.random.Generator, pad: int) -> Tensor:
    """Return uint8 [B, H, W, 3] crops of the zero-padded images, half of them mirrored."""
    batch, height, width, _ = images.shape
    top = rng.integers(2 * pad + 1, size=(batch, 1)) - pad
    left = rng.integers(2 * pad + 1, size=(batch, 1)) - pad
    rows = np.arange(height) + top
    columns = np.where(rng.random((batch, 1)) < 0.5, np.arange(width), np.arange(width)[::-1])
    columns = columns + left
    inside = _inside(rows, height)[:, :, None] & _inside(columns, width)[:, None, :]
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    crops = images[
        torch.arange(batch, device=images.device)[:, None, None], _on(images, rows)[:, :, None],
        _on(images, columns)[:, None, :],
    ]  # fmt: skip
    return crops * _on(images, inside)[..., None]


def _inside(positions: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    return (positions >= 0) & (positions < size)


def _rectangles(
    shape: tuple[int, int], rng: np.random.Generator, probability: NDArray[np.float64], area: float
) -> NDArray[np.bool_]:
    """Return a [B, H, W] mask of one random rectangle per image, empty for images not chosen.

    Area uniform in [2 %, `area`] of the image, aspect ratio uniform in [0.3, 1/0.3], redrawn
    while it does not fit.
    """
    height, width = shape
    mask = np.zeros((len(probability), height, width), dtype=bool)
    for index in np.flatnonzero(rng.random(len(probability)) < probability):
        for _ in range(100):
            size = rng.uniform(_MIN_AREA, area) * height * width
            aspect = rng.uniform(_MIN_ASPECT, 1 / _MIN_ASPECT)
            tall, wide = round(math.sqrt(size * aspect)), round(math.sqrt(size / aspect))
            if tall < height and wide < width:
                top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
                mask[index, top : top + tall, left : left + wide] = True
                break
    return mask


def _erased(images: Tensor, rng: np.random.Generator, augment: Augment) -> Tensor:
    chosen = np.full(len(images), augment.erasing_probability)
    mask = _rectangles(_size(images), rng, chosen, augment.erasing_max_area)
    fill = images.new_tensor(_ERASING_FILL).view(3, 1, 1)
    return torch.where(_on(images, mask)[:, None], fill, images)


def _mix_channels_locally(images: Tensor, rng: np.random.Generator, probability: float) -> None:
    """Replace, in a random rectangle, all three channels by one random mixture of them (LTG).

    The weights are Beta(0.5, 0.5) draws scaled to sum 1.
    """
    chosen = np.full(len(images), probability)
    mask = _rectangles(_size(images), rng, chosen, 0.4)
    weights = rng.beta(0.5, 0.5, size=(len(images), 3))
    weights /= weights.sum(axis=1, keepdims=True)
    mixed = torch.einsum("bchw,bc->bhw", images, _on(images, weights).float())
    images.copy_(torch.where(_on(images, mask)[:, None], mixed[:, None], images))


def _one_channel(images: Tensor, choice: NDArray[np.int64]) -> Tensor:
    """Return images whose channels are all channel `choice` (0, 1, 2) or grey (3), per image."""
    weights = np.concatenate([np.eye(3), [_LUMA]])[choice]
    grey = torch.einsum("bchw,bc->bhw", images, _on(images, weights).float())
    return grey[:, None].expand(-1, 3, -1, -1)


def _jittered(images: Tensor, rng: np.random.Generator, strength: float) -> Tensor:
    """Return images with brightness, contrast, saturation and hue changed in random order.

    Factors are uniform in [1 - strength, 1 + strength], the hue shift in [-strength, strength]
    turns of the colour circle.
    """
    batch = len(images)
    order = np.argsort(rng.random((batch, 4)), axis=1)
    amounts = rng.uniform(-strength, strength, size=(batch, 4))
    amounts[:, :3] += 1
    operations = (_brightness, _contrast, _saturation, _hue)
    for position in range(4):
        for number, operation in enumerate(operations):
            rows = np.flatnonzero(order[:, position] == number)
            if len(rows):
                index = _on(images, rows)
                amount = _on(images, amounts[rows, number]).float().view(-1, 1, 1, 1)
                images[index] = operation(images[index], amount)
    return images


def _brightness(images: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).clamp_(0, 1)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    return _blend(images, _grey(images).mean(dim=(2, 3), keepdim=True), factor)


def _saturation(images: Tensor, factor: Tensor) -> Tensor:
    return _blend(images, _grey(images), factor)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (images * factor + other * (1 - factor)).clamp_(0, 1)


def _grey(images: Tensor) -> Tensor:
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(_LUMA))[:, None]


def _hue(images: Tensor, shift: Tensor) -> Tensor:
    """Return images with the hue of the HSV model turned; grey pixels do not change."""
    value, _ = images.max(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    safe = chroma.clamp_min(1e-8)
    sixth = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sector = sixth + 6 * shift
    offset = images.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)
    k = (offset + sector) % 6
    return value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1)


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]


def _on(images: Tensor, values: NDArray[np.generic]) -> Tensor:
    """Return an array as a tensor on the images' device."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(images.device)
