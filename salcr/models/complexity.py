"""How large the network is: its parameters, and the multiplications that one image takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from salcr.models.network import Network

_PARTS = "part_"  # begins the names of what stage one's network has no use for


class Size(NamedTuple):
    """What a network costs."""

    parameters: int
    macs: int
    """Multiply-accumulate operations of convolutions and matrix products, for one image."""


def measure_sizes(network: Network, *, height: int, width: int) -> dict[str, Size]:
    """Return the sizes of the baseline, which has no parts, and of the whole network.

    Both stems count as parameters; an image goes through one of them. Elementwise work
    (normalization, activation, pooling) is not counted.

    Args:
        network: in evaluation mode, on the CPU.
        height: of an image.
        width: of an image.
    """
    image = torch.zeros(1, 3, height, width)
    named = {name: parameter.numel() for name, parameter in network.named_parameters()}
    shared = sum(count for name, count in named.items() if not name.startswith(_PARTS))
    return {
        "baseline": Size(shared, _macs(lambda: network.forward_global(image, image[:0]))),
        "salcr": Size(sum(named.values()), _macs(lambda: network(image, "visible"))),
    }


@torch.no_grad()
def _macs(compute: Callable[[], Tensor | tuple[Tensor, ...]]) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        compute()
    return counter.get_total_flops() // 2  # torch counts a multiplication and an addition
