"""Random changes of brightness, contrast, saturation and hue, with torchvision's semantics.

Images are float32 [B, 3, N] in [0, 1], N pixels in any order, or [B, 1, N] if the three channels
of every image are equal.
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
    """Parameters of the color change of each image: four operations in an individual order.

    Brightness, contrast and saturation map the color linearly; contrast also adds a share of the
    image's mean gray. One formula is therefore sufficient for all three.
    """

    maps: Tensor
    """[B, 4, 3, 3], by position in the order; the identity for the rotation of the hue."""
    shares: Tensor
    """[B, 4, 3], by position: weights with which channel means are added to all channels."""
    hue_offsets: Tensor
    """[B, 3], in [-3, 3]: add to a hue to get its rotated distance from red, green and blue."""
    brighten: list[list[bool]]
    """[B, 4], by position: whether a color can leave [0, 1]."""
    contrast_positions: list[int]
    """[B], position of the contrast in the order."""
    hue_positions: list[int]
    """[B], position of the hue in the order."""

    def of(self, chunk: slice) -> Jitter:
        """Return the parameters of a slice of the images."""
        return Jitter(
            self.maps[chunk],
            self.shares[chunk],
            self.hue_offsets[chunk],
            self.brighten[chunk],
            self.contrast_positions[chunk],
            self.hue_positions[chunk],
        )


def sample_jitter(
    batch: int, rng: np.random.Generator, strength: float, device: torch.device
) -> Jitter:
    """Return random changes in random order.

    Args:
        batch: number of images.
        rng: random generator.
        strength: factors are uniform in [1 - strength, 1 + strength], the shift of the hue in
            [-strength, strength] turns of the color circle.
        device: device of the images.
    """
    order = np.argsort(rng.random((batch, 4)), axis=1)
    amounts = rng.uniform(-strength, strength, (batch, 4)) + np.array([1, 1, 1, 0])
    return make_jitter(order, amounts, device)


def make_jitter(order: Integers, amounts: NDArray[np.float64], device: torch.device) -> Jitter:
    """Return the changes with given order and amounts.

    Args:
        order: [B, 4], 0 for brightness, 1 contrast, 2 saturation, 3 hue.
        amounts: [B, 4], by number: factors of the first three, the shift of the hue in turns.
        device: device of the images.
    """
    factors = np.where(order == 3, 1, np.take_along_axis(amounts, order, axis=1))
    to_mean, to_gray = (np.where(order == number, 1 - factors, 0) for number in (1, 2))
    maps = factors[..., None, None] * np.eye(3) + to_gray[..., None, None] * np.array(LUMA)
    shares = to_mean[..., None] * np.array(LUMA)
    hue_offsets = (6 * amounts[:, 3:] - [0, 2, 4] + 3) % 6 - 3
    contrast, hue = (np.argmax(order == number, axis=1).tolist() for number in (1, 3))
    return Jitter(
        to_float_tensor(maps, device),
        to_float_tensor(shares, device),
        to_float_tensor(hue_offsets, device),
        (factors > 1).tolist(),
        contrast,
        hue,
    )


def to_float_tensor(values: NDArray[np.float64], device: torch.device) -> Tensor:
    """Return an array as a float32 tensor on a device; the copy is asynchronous."""
    return torch.from_numpy(values.astype(np.float32)).to(device, non_blocking=True)


def apply_jitter(images: Tensor, spare: Tensor, jitter: Jitter) -> Tensor:
    """Return images with changed colors, [B, C, N].

    Args:
        images: [B, C, N] with C = 3 or 1. Overwritten.
        spare: a tensor of the same shape to work in. Overwritten.
        jitter: the changes.

    Returns:
        `images` or `spare`, whichever holds the result.
    """
    maps, shares = jitter.maps, jitter.shares
    gray = images.shape[1] == 1
    if gray:  # a gray color stays gray, so one channel of the map is sufficient
        maps, shares = maps[:, :, :1].sum(dim=3, keepdim=True), shares.sum(dim=2, keepdim=True)
    for position in range(4):
        rotated = [index for index, at in enumerate(jitter.hue_positions) if at == position]
        if len(rotated) < len(images):
            torch.bmm(maps[:, position], images, out=spare)
            if position in jitter.contrast_positions:
                # The gray of the mean color is the mean of the gray values, with far less work.
                grays = (images.mean(dim=2) * shares[:, position]).sum(dim=1)
                spare.add_(grays[:, None, None])
            if any(image[position] for image in jitter.brighten):
                spare.clamp_(0, 1)
            images, spare = spare, images
        if gray or not rotated:
            continue
        if len(rotated) == len(images):  # always true for a single image, which is not copied
            _rotate_hue(images, spare, jitter.hue_offsets)
        else:
            index = torch.tensor(rotated).to(images.device, non_blocking=True)
            subset = images[index]
            _rotate_hue(subset, spare[: len(rotated)], jitter.hue_offsets[index])
            images[index] = subset
    return images


def _rotate_hue(images: Tensor, spare: Tensor, hue_offsets: Tensor) -> None:
    """Rotate the hue of the HSV model in place; gray pixels do not change.

    Hue is measured in sixths of the circle, with red, green and blue at 0, 2 and 4. The formula
    does not distinguish cases: on a CPU, selecting values pixel by pixel takes longer than all of
    this arithmetic.
    """
    red, green, blue = images.split(1, dim=1)
    base, chroma, hue = spare.split(1, dim=1)
    torch.minimum(torch.minimum(red, green, out=base), blue, out=base)
    torch.maximum(torch.maximum(red, green, out=chroma), blue, out=chroma)
    chroma.sub_(base).clamp_min_(1e-8)
    base.sub_(chroma)
    # From red, hue increases over green to 3 and decreases over blue to -3. Its distance from red
    # is 1 + (green + blue - red - minimum) / chroma, whichever channel is the largest.
    torch.add(green, blue, out=hue).sub_(red).sub_(base).div_(chroma)
    hue.copysign_(green.sub_(blue))
    # A channel is at its maximum up to one sixth from its own hue and at its minimum from two
    # sixths on. With hue and offset in [-3, 3], | |hue + offset| - 3 | is 3 minus that distance.
    torch.add(hue, hue_offsets[:, :, None], out=images).abs_().sub_(3).abs_().clamp_(1, 2)
    torch.addcmul(base, chroma, images, out=images)
