"""Plain formulation of the training views with torchvision and PIL, image by image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import transforms as t

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FILL = (0.4914, 0.4822, 0.4465)
_LUMA = torch.tensor([0.2989, 0.587, 0.114])
_NORMALIZE = t.Normalize(_MEAN, _STD)


def triples(visible: NDArray[np.uint8], infrared: NDArray[np.uint8], *, ltg: bool) -> list[Tensor]:
    """Return the views v, a and r [B, 3, H, W] of images [B, H, W, 3], stage one's if `ltg`."""
    height, width = visible.shape[1:3]
    crop = [t.Pad(10), t.RandomCrop((height, width)), t.RandomHorizontalFlip()]
    jitter = [*crop, t.ColorJitter(0.5, 0.5, 0.5, 0.5)]
    erasing = t.RandomErasing(p=0.5, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3), value=_FILL)
    linear = [t.RandomApply([transform_linearly], p=0.5)] if ltg else []
    v = t.Compose([t.ToPILImage(), *crop, t.ToTensor(), *linear, _NORMALIZE, erasing])
    a = t.Compose([t.ToPILImage(), *jitter, t.ToTensor(), _NORMALIZE, erasing, _copy_channel])
    r = t.Compose([t.ToPILImage(), *jitter, t.ToTensor(), _NORMALIZE, erasing, _choose_form])
    pairs = ((v, visible), (a, visible), (r, infrared))
    return [torch.stack([view(image) for image in images]) for view, images in pairs]


def _copy_channel(image: Tensor) -> Tensor:
    """Return an image [3, H, W] with one of its channels in all three."""
    return image[torch.randint(3, ())].expand(3, -1, -1).clone()


def _choose_form(image: Tensor) -> Tensor:
    """Return an image [3, H, W] with a channel or, in half of the rest, its gray in all three."""
    if torch.randint(4, ()) < 3:
        return _copy_channel(image)
    if torch.rand(()) < 0.5:
        return image
    return torch.einsum("chw,c->hw", image, _LUMA).expand(3, -1, -1).clone()


def transform_linearly(image: Tensor) -> Tensor:
    """Return the local linear transform of an image [3, H, W] in [0, 1]."""
    rng = np.random.default_rng()
    image, accumulated = image.clone(), torch.ones_like(image)
    for _ in range(100):
        rows, columns = _sample_rectangle(rng, *image.shape[1:])
        patch = image[:, rows, columns]
        largest = patch.amax(dim=(1, 2))
        draws = torch.from_numpy(rng.beta(0.5, 0.5, size=3)).float()
        factors = torch.where(largest > 0, draws / largest, 1)[:, None, None]
        patch *= factors
        accumulated[:, rows, columns] *= factors
        if accumulated.min() <= 1e-6:
            break
    return image


def _sample_rectangle(rng: np.random.Generator, height: int, width: int) -> tuple[slice, slice]:
    """Return rows and columns of a rectangle of 2 to 40 % of an image."""
    while True:
        area, aspect = rng.uniform(0.02, 0.4) * height * width, rng.uniform(0.3, 1 / 0.3)
        tall, wide = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if tall < height and wide < width:
            top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
            return slice(top, top + tall), slice(left, left + wide)
