"""GPU memory that a training step needs, so that images are kept on the card only beside it."""

from __future__ import annotations

from salcr.config.method import Pretrain, Train
from salcr.data.store import Split
from salcr.models.network import Network
from salcr.models.resnet import ARCHITECTURES

# Counted by benchmarks/memory.py at the peak of a step of ResNet-50: 47.5 MB an image of 288x144 in
# bfloat16, 85.8 MB in float32, divided by its convolutions' outputs. Most of them are kept twice,
# before and after batch norm, for the backward pass.
_BYTES_PER_OUTPUT = {"bfloat16": 4.53, "float32": 8.18}
SHARE_KEPT = {0: 1.0, 2: 0.58, 4: 0.33}
"""Of these bytes, by the number of layers that are computed twice (numerics.checkpoint)."""
_GRADIENTS_AND_MOMENTS = 3 * 4  # bytes per parameter, beside the network's own
_COPIES_OF_FEATURES = 3  # as extracted, concatenated, and in the memories of the losses
_WORKSPACE = 2 * 10**9  # libraries, views of the batch, and what is lost between blocks of memory


def images_of_pretrain_step(stage: Pretrain) -> int:
    """Return how many images pass through the network at once in stage one."""
    images = stage.clusters * stage.instances
    first_half = -(-stage.clusters // 2) * stage.instances
    # Plain, augmented, and infrared; in halves, one of the former with half of the latter.
    return images + first_half if stage.batch_norm == "halves" else 3 * images


def images_of_train_step(stage: Train) -> int:
    """Return how many images pass through the network at once in stage two."""
    return 3 * stage.labels * stage.instances


def step_bytes(
    num_images: int,
    image_size: tuple[int, int],
    *,
    backbone: str,
    width: int,
    bfloat16: bool,
    share: float = 1.0,
) -> int:
    """Return the memory that the activations of a training step take, in bytes.

    Args:
        num_images: that pass through the network at once.
        image_size: height and width.
        backbone: a key of ARCHITECTURES.
        width: channels of the stem.
        bfloat16: whether the convolutions are computed in bfloat16.
        share: of the activations that is kept for the backward pass.
    """
    height, columns = image_size
    outputs = height * columns * outputs_per_pixel(backbone, width)
    kind = "bfloat16" if bfloat16 else "float32"
    return round(num_images * outputs * _BYTES_PER_OUTPUT[kind] * share)


def outputs_per_pixel(backbone: str, width: int) -> float:
    """Return the number of outputs of all convolutions of a network for each pixel of an image."""
    bottleneck, depths, groups, base = ARCHITECTURES[backbone]
    expansion = 4 if bottleneck else 1
    total = width / 4  # the stem, which halves the image once; its pooling does so again
    inputs, area = width, 1 / 16
    for stage, (depth, stride) in enumerate(zip(depths, (1, 2, 2, 1), strict=True)):
        planes = width * 2**stage
        outputs = planes * expansion
        inner = int(planes * base / 64) * groups if bottleneck else planes
        before, area = area, area / stride**2
        if bottleneck:  # the first convolution of a block precedes its stride
            total += inner * (before + (depth - 1) * area)
        total += depth * (inner + outputs) * area
        total += outputs * area if stride > 1 or inputs != outputs else 0  # the shortcut
        inputs = outputs
    return total


def training_bytes(network: Network, split: Split, num_images: int) -> int:
    """Return the memory that training takes on a GPU, beside the network and the split's images.

    Args:
        network: that is trained.
        split: the training images.
        num_images: that pass through the network in a step, at once.
    """
    parameters = sum(parameter.numel() for parameter in network.parameters())
    columns = (network.num_parts + 1) * network.num_channels
    features = 4 * columns * sum(split.sizes.values())
    activations = step_bytes(
        num_images,
        split.image_size,
        backbone=network.backbone,
        width=network.width,
        bfloat16=network.autocast,
        share=SHARE_KEPT[network.trunk.num_checkpointed],
    )
    return (
        activations
        + _GRADIENTS_AND_MOMENTS * parameters
        + _COPIES_OF_FEATURES * features
        + _WORKSPACE
    )
