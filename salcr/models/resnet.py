"""ResNet trunks of any width, with torchvision's parameter names.

torchvision fixes the width at 64 and takes over a second to import, in every job; the tests compare
these modules with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

# backbone -> (bottleneck blocks?, blocks of layer1..4, groups, width per group)
ARCHITECTURES: dict[str, tuple[bool, tuple[int, int, int, int], int, int]] = {
    "resnet18": (False, (2, 2, 2, 2), 1, 64),
    "resnet34": (False, (3, 4, 6, 3), 1, 64),
    "resnet50": (True, (3, 4, 6, 3), 1, 64),
    "resnet101": (True, (3, 4, 23, 3), 1, 64),
    "resnet152": (True, (3, 8, 36, 3), 1, 64),
    "resnext50_32x4d": (True, (3, 4, 6, 3), 32, 4),
    "resnext101_32x8d": (True, (3, 4, 23, 3), 32, 8),
    "resnext101_64x4d": (True, (3, 4, 23, 3), 64, 4),
    "wide_resnet50_2": (True, (3, 4, 6, 3), 1, 128),
    "wide_resnet101_2": (True, (3, 4, 23, 3), 1, 128),
}


class Block(nn.Module):
    """A basic or bottleneck residual block; the stride is that of the 3x3 convolution."""

    def __init__(
        self, inputs: int, planes: int, stride: int, *, bottleneck: bool, groups: int, base: int
    ) -> None:
        super().__init__()
        outputs = planes * 4 if bottleneck else planes
        inner = int(planes * base / 64) * groups
        if bottleneck:
            self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
            self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
            self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(outputs)
        else:
            inner = planes
            self.conv1 = nn.Conv2d(inputs, inner, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(inner, inner, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(inner), nn.BatchNorm2d(inner)
        self.relu = nn.ReLU(inplace=True)
        self.bottleneck = bottleneck
        self.downsample = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(shortcut(x) + residual(x))."""
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        if self.bottleneck:
            residual = self.bn3(self.conv3(self.relu(residual)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(residual + shortcut)


class Stem(nn.Module):
    """conv1, bn1, relu and maxpool of one modality."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, width, H/4, W/4] from images [B, 3, H, W]."""
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))


CHECKPOINTED = {"none": 0, "early": 2, "all": 4}
"""Values of numerics.checkpoint, and of how many layers the blocks are computed again."""


class Trunk(nn.Module):
    """layer1 .. layer4, the last with stride 1."""

    def __init__(self, backbone: str, width: int) -> None:
        super().__init__()
        bottleneck, depths, groups, base = ARCHITECTURES[backbone]
        inputs = width
        for stage, (depth, stride) in enumerate(zip(depths, (1, 2, 2, 1), strict=True)):
            planes = width * 2**stage
            blocks = []
            for index in range(depth):
                first = stride if index == 0 else 1
                blocks.append(
                    Block(inputs, planes, first, bottleneck=bottleneck, groups=groups, base=base)
                )
                inputs = planes * 4 if bottleneck else planes
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.num_channels = inputs
        self.num_checkpointed = 0  # layers

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature map [B, num_channels, H/16, W/16] of the stem's output."""
        for number, layer in enumerate(self.children()):
            if number < self.num_checkpointed:
                for block in layer.children():
                    x = keep_input_only(block, x)
            else:
                x = layer(x)
        return x


def keep_input_only(module: nn.Module, x: Tensor) -> Tensor:
    """Return the module's output; the backward pass computes its activations again from the input.

    The second time, batch norm uses the batch's statistics without recording them, so results are
    those of the module.
    """
    if not (module.training and torch.is_grad_enabled()):
        return module(x)
    from torch.utils.checkpoint import checkpoint  # whose first call imports torch's compiler

    return checkpoint(
        module,
        x,
        use_reentrant=False,
        preserve_rng_state=False,  # nothing in it is random
        context_fn=lambda: (nullcontext(), unchanged_running_statistics(module)),
    )


@contextmanager
def unchanged_running_statistics(module: nn.Module) -> Iterator[None]:
    """Let batch norm in training mode use a batch's statistics without recording them."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    layers = [layer for layer in module.modules() if isinstance(layer, kinds)]
    before = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        # Not track_running_stats, without which other tensors are kept for the backward pass.
        layer.momentum, layer.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(layers, before, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, count


def initialize(module: nn.Module) -> None:
    """Initialize convolutions like torchvision (He, fan out), from torch's global random state."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
