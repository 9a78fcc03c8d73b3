"""Plain formulation of the training views with torchvision and PIL, image by image."""

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
    crop = [t.Pad(10), t.RandomCrop((height, width)), t.RandomHorizontalFlip()]
    jitter = [*crop, t.ColorJitter(0.5, 0.5, 0.5, 0.5)]
    erasing = t.RandomErasing(p=0.5, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3), value=_FILL)
    mixing = [_mix_channels_locally] if ltg else []
    v = t.Compose([t.ToPILImage(), *crop, *mixing, _TO_TENSOR, erasing])
    a = t.Compose([t.ToPILImage(), *jitter, _TO_TENSOR, erasing, _copy_channel])
    r = t.Compose([t.ToPILImage(), *jitter, _TO_TENSOR, erasing, _copy_channel_or_gray])
    pairs = ((v, visible), (a, visible), (r, infrared))
    return [torch.stack([view(image) for image in images]) for view, images in pairs]


def _copy_channel(image: Tensor) -> Tensor:
    """Return an image [3, H, W] with one of its channels in all three."""
    return image[torch.randint(3, ())].expand(3, -1, -1).clone()


def _copy_channel_or_gray(image: Tensor) -> Tensor:
    """Return an image [3, H, W] with one of its channels, or its gray, in all three."""
    if torch.randint(4, ()) < 3:
        return _copy_channel(image)
    return torch.einsum("chw,c->hw", image, _LUMA).expand(3, -1, -1).clone()


def _mix_channels_locally(image: Image.Image) -> Image.Image:
    """Replace the channels in a rectangle by one mixture of them, with probability 0.5."""
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
