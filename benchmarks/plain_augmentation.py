"""The training views as torchvision and PIL make them, an image at a time."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision import transforms as t

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FILL = (0.4914, 0.4822, 0.4465)
_LUMA = torch.tensor([0.2989, 0.587, 0.114])
_TO_TENSOR = t.Compose([t.ToTensor(), t.Normalize(_MEAN, _STD)])


def triples(visible: NDArray[np.uint8], infrared: NDArray[np.uint8], *, ltg: bool) -> list[Tensor]:
    """Return the views v, a and r [B, 3, H, W] of images [B, H, W, 3], stage one's if `ltg`."""
    height, width = visible.shape[1:3]
    moved = [t.Pad(10), t.RandomCrop((height, width)), t.RandomHorizontalFlip()]
    jittered = [*moved, t.ColorJitter(0.5, 0.5, 0.5, 0.5)]
    erasing = t.RandomErasing(p=0.5, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3), value=_FILL)
    mixing = [_mix_channels_locally] if ltg else []
    v = t.Compose([t.ToPILImage(), *moved, *mixing, _TO_TENSOR, erasing])
    a = t.Compose([t.ToPILImage(), *jittered, _TO_TENSOR, erasing, _exchanged])
    r = t.Compose([t.ToPILImage(), *jittered, _TO_TENSOR, erasing, _exchanged_or_gray])
    pairs = ((v, visible), (a, visible), (r, infrared))
    return [torch.stack([view(image) for image in images]) for view, images in pairs]


def _exchanged(image: Tensor) -> Tensor:
    """Copy one of the channels to all three."""
    return image[torch.randint(3, ())].expand(3, -1, -1).clone()


def _exchanged_or_gray(image: Tensor) -> Tensor:
    """Copy one of the channels, or their gray, to all three."""
    if torch.randint(4, ()) < 3:
        return _exchanged(image)
    return torch.einsum("chw,c->hw", image, _LUMA).expand(3, -1, -1).clone()


def _mix_channels_locally(image: Image.Image) -> Image.Image:
    """Replace the channels by one mixture of them, in a rectangle, in one of two images."""
    if torch.rand(()) < 0.5:
        return image
    pixels = np.array(image)
    top, left, tall, wide, _ = t.RandomErasing.get_params(
        torch.from_numpy(pixels).permute(2, 0, 1), scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3)
    )
    weights = np.random.default_rng().beta(0.5, 0.5, size=3)
    patch = pixels[top : top + tall, left : left + wide]
    patch[:] = (patch @ (weights / weights.sum()))[..., None].astype(np.uint8)
    return Image.fromarray(pixels)
