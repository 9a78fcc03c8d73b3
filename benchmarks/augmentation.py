"""Rows of the benchmark: augmentation on one thread, to channels-last batches of normalized views.

A run computes 1000 triples (v, a, r), so seconds per run are milliseconds per triple; likewise for
the local linear transform (LTG) alone, of 1000 images.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import plain_augmentation
from benchmarks.row import Row
from salcr.config.method import Augment
from salcr.data import linear_transform, transforms

_BATCH, _BATCHES = 50, 20
_AUGMENT = Augment(
    pad=10, jitter=0.5, erasing_probability=0.5, erasing_max_area=0.4,
    linear_probability=0.5, linear_transform="radical", infrared_forms="five",
)  # fmt: skip


class _Inputs(NamedTuple):
    visible: NDArray[np.uint8]
    """[50, 288, 144, 3]."""
    infrared: NDArray[np.uint8]
    ltg: bool


def _prepare(ltg: bool, gray: bool) -> _Inputs:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    visible, infrared = (_smooth(rng.random((_BATCH, 3, 18, 9))) for _ in range(2))
    if gray:
        infrared = np.repeat(infrared[..., :1], 3, axis=3)
    return _Inputs(visible, infrared, ltg)


def _smooth(coarse: NDArray[np.float64], height: int = 288, width: int = 144) -> NDArray[np.uint8]:
    """Return uint8 images [B, H, W, 3], interpolated from [B, 3, h, w] in [0, 1]."""
    size = (height, width)
    fine = torch.nn.functional.interpolate(torch.from_numpy(coarse), size, mode="bilinear")
    return (fine * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def _ours(inputs: _Inputs) -> Tensor:
    rng = np.random.default_rng(0)
    return _collect(partial(_our_triples, inputs, rng))


def _our_triples(inputs: _Inputs, rng: np.random.Generator) -> list[Tensor]:
    visible, infrared = torch.from_numpy(inputs.visible), torch.from_numpy(inputs.infrared)
    return [
        transforms.visible_view(visible, rng, _AUGMENT, ltg=inputs.ltg),
        transforms.augmented_view(visible, rng, _AUGMENT),
        transforms.infrared_view(infrared, rng, _AUGMENT),
    ]


def _plain(inputs: _Inputs) -> Tensor:
    visible, infrared, ltg = inputs
    return _collect(partial(plain_augmentation.triples, visible, infrared, ltg=ltg))


def _collect(make: Callable[[], list[Tensor]]) -> Tensor:
    """Return every 144th pixel of all views, [3, 1000, 3, 18, 16]; all would be 1.5 GB."""
    batches = []
    for _ in range(_BATCHES):
        views = [view.contiguous(memory_format=torch.channels_last) for view in make()]
        batches.append(torch.stack([view[..., ::16, ::9] for view in views]))
    return torch.cat(batches, dim=1)


def _agree(ours: Tensor, plain: Tensor) -> None:
    """Compare mean and standard deviation of each view's channels: the random numbers differ.

    Jitter changes the mean of an image by about 0.5, and that of 1000 images by 0.016.
    """
    assert ours.shape == plain.shape
    for statistic in (torch.mean, torch.std):
        gap = statistic(ours, dim=(1, 3, 4)) - statistic(plain, dim=(1, 3, 4))
        assert gap.abs().max() < 0.1, f"{statistic.__name__} differs: {gap}"


def _prepare_images(height: int, width: int) -> Tensor:
    """Return float32 images [50, H, W, 3] in [0, 255]."""
    torch.set_num_threads(1)
    coarse = np.random.default_rng(0).random((_BATCH, 3, 18, 9))
    return torch.from_numpy(_smooth(coarse, height, width)).float()


def _our_transform(images: Tensor) -> Tensor:
    rng, everything = np.random.default_rng(0), np.arange(_BATCH)
    batches = []
    for _ in range(_BATCHES):
        batch = images.clone()
        linear_transform.transform_images(batch, rng.integers(2**63, size=_BATCH), everything)
        batches.append(batch[:, ::8, ::8].clone())  # all would be 0.5 GB
    return torch.cat(batches)


def _plain_transform(images: Tensor) -> Tensor:
    scaled = images.permute(0, 3, 1, 2).contiguous() / 255
    transformed = [
        plain_augmentation.transform_linearly(image)[:, ::8, ::8].clone()
        for _ in range(_BATCHES)
        for image in scaled
    ]
    return torch.stack(transformed).permute(0, 2, 3, 1) * 255


def _agree_in_blackness(ours: Tensor, plain: Tensor) -> None:
    """Compare the mean and the share of black values; each varies by 0.1 between images."""
    assert ours.shape == plain.shape
    for statistic in (ours.mean() / 255 - plain.mean() / 255, _black(ours) - _black(plain)):
        assert statistic.abs() < 0.02, f"differs by {statistic}"


def _black(images: Tensor) -> Tensor:
    return (images < 0.02 * 255).float().mean()


ROWS = [
    Row(
        name=f"augmentation, 1000 of 288x144, {stage}, {kind}",
        wanted="1.5 ms per triple on one thread",
        prepare=partial(_prepare, ltg=stage == "stage one", gray=kind == "gray r"),
        ours=_ours,
        plain=_plain,
        agree=_agree,
    )
    for stage in ("stage two", "stage one")
    for kind in ("gray r", "color r")
] + [
    Row(
        name=f"LTG, 1000 of {height}x{width}",
        wanted="half of the plain time on one thread",
        prepare=partial(_prepare_images, height, width),
        ours=_our_transform,
        plain=_plain_transform,
        agree=_agree_in_blackness,
    )
    for height, width in ((288, 144), (96, 48))
]
