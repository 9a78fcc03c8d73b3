"""`python -m benchmarks.memory`: bytes that a training step needs for each image, by counting.

What a step of the paper's network allocates and has not yet released is followed operation by
operation, on a CPU with a few images of the paper's size. A GPU's libraries need workspace beside
it, and its allocator leaves gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from salcr.models.network import Network
from salcr.models.resnet import CHECKPOINTED

_HEIGHT, _WIDTH = 288, 144
_IMAGES = 6


class _Allocations(TorchDispatchMode):
    """Follows how many bytes of results are alive."""

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        result = function(*arguments, **(options or {}))
        self._alive = {k: one for k, one in self._alive.items() if not one[0].expired()}
        given = {tensor.untyped_storage()._cdata for tensor in _tensors((arguments, options))}
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if storage._cdata not in given:
                self._alive.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return result


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def peak_bytes(compute: Callable[[], object]) -> int:
    """Return the most bytes that a computation has allocated and not released at a time."""
    with _Allocations() as allocations:
        compute()
    return allocations.peak


def step_bytes(network: Network, images: torch.Tensor, checkpoint: str) -> int:
    """Return the peak of a step's forward and backward pass, without gradients of parameters.

    Args:
        network: in training mode.
        images: [B, 3, H, W]; one of three is infrared.
        checkpoint: value of numerics.checkpoint.
    """
    network.trunk.num_checkpointed = CHECKPOINTED[checkpoint]
    for parameter in network.parameters():  # so that no gradient is allocated in the step
        parameter.grad = torch.zeros_like(parameter)
    boundary = len(images) * 2 // 3

    def step() -> None:
        features = network.forward_global(images[:boundary], images[boundary:])
        features.square().sum().backward()

    return peak_bytes(step)


def main() -> None:
    """Print the table: megabytes for each image, by numerics.checkpoint and arithmetic."""
    network = Network(backbone="resnet50", width=64, num_parts=3).train()
    network.to(memory_format=torch.channels_last)
    network.memory_format = torch.channels_last
    sizes = (_IMAGES, 2 * _IMAGES)
    print(f"{'checkpoint':<12}{'bfloat16':>10}{'float32':>10}   MB an image")
    for checkpoint in CHECKPOINTED:
        row = []
        for autocast in (True, False):
            network.autocast = autocast
            peaks = [
                step_bytes(network, torch.rand(n, 3, _HEIGHT, _WIDTH), checkpoint) for n in sizes
            ]
            row.append((peaks[1] - peaks[0]) / _IMAGES / 1e6)
        print(f"{checkpoint:<12}{row[0]:>10.1f}{row[1]:>10.1f}")


if __name__ == "__main__":
    main()
