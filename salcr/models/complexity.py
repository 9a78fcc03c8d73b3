"""The size of the network: its parameters, and the multiplications for one image."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from salcr.models.network import Network

_PART_PREFIX = "part_"  # of the names of the parameters that stage one does not use


class Size(NamedTuple):
    """Size of a network."""

    parameters: int
    """Number of parameters."""
    macs: int
    """Multiply-accumulate operations of convolutions and matrix products, for one image."""


def measure_sizes(network: Network, *, height: int, width: int) -> dict[str, Size]:
    """Return the sizes of the "baseline", which has no parts, and of the whole network, "salcr".

    Parameters include both stems, operations only one, since an image passes through one of them.
    Elementwise operations (normalization, activation, pooling) are not counted.

    Args:
        network: in evaluation mode, on the CPU.
        height: of an image, in pixels.
        width: of an image, in pixels.
    """
    image = torch.zeros(1, 3, height, width)
    named = {name: parameter.numel() for name, parameter in network.named_parameters()}
    shared = sum(count for name, count in named.items() if not name.startswith(_PART_PREFIX))
    return {
        "baseline": Size(shared, _count_macs(lambda: network.forward_global(image, image[:0]))),
        "salcr": Size(sum(named.values()), _count_macs(lambda: network(image, "visible"))),
    }


@torch.no_grad()
def _count_macs(compute: Callable[[], Tensor | tuple[Tensor, ...]]) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        compute()
    return counter.get_total_flops() // 2  # torch counts a multiplication and an addition
