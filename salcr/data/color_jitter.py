"""Random changes of brightness, contrast, saturation and hue, with torchvision's semantics.

Images are float32 [B, 3, N] in [0, 1], N pixels in any order, or [B, 1, N] where the three
channels of every image are equal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salcr.types import Integers

LUMA = (0.2989, 0.5870, 0.1140)


class Jitter(NamedTuple):
    """How the colors of each image change: four operations in an order of its own.

    Brightness, contrast and saturation map the color linearly; contrast also adds a share of the
    image's mean gray. So one formula serves all three, whatever the order.
    """

    maps: Tensor
    """[B, 4, 3, 3], by position in the order; the identity where the hue is turned."""
    shares: Tensor
    """[B, 4, 3], by position: how much of each channel's mean to add to all channels."""
    ways: Tensor
    """[B, 3], in [-3, 3]: from a hue to how far its turned one is from red, green and blue."""
    brighten: list[list[bool]]
    """[B, 4], by position: whether a color can leave [0, 1]."""
    contrast_positions: list[int]
    """[B], where in the order the contrast changes."""
    hue_positions: list[int]
    """[B], where in the order the hue is turned."""

    def of(self, chunk: slice) -> Jitter:
        """Return the changes of some of the images."""
        return Jitter(
            self.maps[chunk],
            self.shares[chunk],
            self.ways[chunk],
            self.brighten[chunk],
            self.contrast_positions[chunk],
            self.hue_positions[chunk],
        )


def sample_jitter(
    batch: int, rng: np.random.Generator, strength: float, device: torch.device
) -> Jitter:
    """Return changes in random order.

    Factors are uniform in [1 - strength, 1 + strength], the hue shift in [-strength, strength]
    turns of the color circle.
    """
    order = np.argsort(rng.random((batch, 4)), axis=1)
    amounts = rng.uniform(-strength, strength, (batch, 4)) + np.array([1, 1, 1, 0])
    return make_jitter(order, amounts, device)


def make_jitter(order: Integers, amounts: NDArray[np.float64], device: torch.device) -> Jitter:
    """Return the changes with given order and amounts.

    Args:
        order: [B, 4], 0 for brightness, 1 contrast, 2 saturation, 3 hue.
        amounts: [B, 4], by number: factors of the first three, the shift of the hue in turns.
        device: where the images are.
    """
    factors = np.where(order == 3, 1, np.take_along_axis(amounts, order, axis=1))
    to_mean, to_gray = (np.where(order == number, 1 - factors, 0) for number in (1, 2))
    maps = factors[..., None, None] * np.eye(3) + to_gray[..., None, None] * np.array(LUMA)
    shares = to_mean[..., None] * np.array(LUMA)
    ways = (6 * amounts[:, 3:] - [0, 2, 4] + 3) % 6 - 3
    contrast, hue = (np.argmax(order == number, axis=1).tolist() for number in (1, 3))
    return Jitter(
        to_float_tensor(maps, device),
        to_float_tensor(shares, device),
        to_float_tensor(ways, device),
        (factors > 1).tolist(),
        contrast,
        hue,
    )


def to_float_tensor(values: NDArray[np.float64], device: torch.device) -> Tensor:
    """Return an array as a float32 tensor on a device, without waiting for it."""
    return torch.from_numpy(values.astype(np.float32)).to(device, non_blocking=True)


def apply_jitter(images: Tensor, spare: Tensor, jitter: Jitter) -> Tensor:
    """Return images with the colors changed, in `images` or in `spare`: both are overwritten."""
    maps, shares = jitter.maps, jitter.shares
    gray = images.shape[1] == 1
    if gray:  # a gray color stays gray, so one channel of the map says it all
        maps, shares = maps[:, :, :1].sum(dim=3, keepdim=True), shares.sum(dim=2, keepdim=True)
    for position in range(4):
        turned = [index for index, at in enumerate(jitter.hue_positions) if at == position]
        if len(turned) < len(images):
            torch.bmm(maps[:, position], images, out=spare)
            if position in jitter.contrast_positions:
                # The gray of the mean color is the mean of the gray values, and far less work.
                grays = (images.mean(dim=2) * shares[:, position]).sum(dim=1)
                spare.add_(grays[:, None, None])
            if any(image[position] for image in jitter.brighten):
                spare.clamp_(0, 1)
            images, spare = spare, images
        if gray or not turned:
            continue
        if len(turned) == len(images):  # always so for a single image: it is not copied
            _turn_hue(images, spare, jitter.ways)
        else:
            index = torch.tensor(turned).to(images.device, non_blocking=True)
            some = images[index]
            _turn_hue(some, spare[: len(turned)], jitter.ways[index])
            images[index] = some
    return images


def _turn_hue(images: Tensor, spare: Tensor, ways: Tensor) -> None:
    """Turn the hue of the HSV model in place; gray pixels do not change.

    Hue is measured in sixths of the circle, in which red, green and blue stand at 0, 2 and 4.
    The formula has no cases: choosing between values pixel by pixel takes a CPU longer than all
    of this arithmetic.
    """
    red, green, blue = images.split(1, dim=1)
    base, chroma, hue = spare.split(1, dim=1)
    torch.minimum(torch.minimum(red, green, out=base), blue, out=base)
    torch.maximum(torch.maximum(red, green, out=chroma), blue, out=chroma)
    chroma.sub_(base).clamp_min_(1e-8)
    base.sub_(chroma)
    # From red, hue runs over green to 3 and over blue to -3, and its distance from red is
    # 1 + (green + blue - red - minimum) / chroma, whichever of the channels is the greatest.
    torch.add(green, blue, out=hue).sub_(red).sub_(base).div_(chroma)
    hue.copysign_(green.sub_(blue))
    # A channel is full up to one sixth from its own hue and empty from two sixths on. With both
    # hue and its way in [-3, 3], | |hue + way| - 3 | is 3 less that distance.
    torch.add(hue, ways[:, :, None], out=images).abs_().sub_(3).abs_().clamp_(1, 2)
    torch.addcmul(base, chroma, images, out=images)
