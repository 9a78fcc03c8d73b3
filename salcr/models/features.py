"""Features of images: extraction, mirror images, part blocks, normalization."""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F
from torch import Tensor

from salcr.config.schema import Numerics
from salcr.data import transforms
from salcr.data.store import Images
from salcr.errors import SalcrError
from salcr.log import say
from salcr.models.network import Network, inference_features
from salcr.models.resnet import CHECKPOINTED

_BATCH = 128
_AMPERE = (8, 0)  # the first compute capability with bfloat16

Extracted = tuple[Tensor, Tensor]
"""Global features [N, C] and joint features [N, P*C + C] of N images, as `extract` returns them."""


@torch.no_grad()
def extract(network: Network, images: Images, modality: str) -> Extracted:
    """Return the evaluation-mode features of all images of a split (METHOD 2.1).

    Args:
        network: put into evaluation mode.
        images: of one modality.
        modality: "visible" or "infrared".

    Returns:
        global features [N, C] and joint features [parts, global] [N, P*C + C], unit rows, float32,
        on the network's device.

    Raises:
        SalcrError: a feature is not finite.
    """
    network.eval()
    batches = [
        inference_features(*network(transforms.normalize_images(batch), modality))
        for batch in images.batches(_BATCH, network.part_tokens.device)
    ]
    global_features, joint = (torch.cat(kind) for kind in zip(*batches, strict=True))
    _require_finite(torch.isfinite(joint).all(), modality)
    return global_features, joint


@torch.no_grad()
def mirrored_features(network: Network, images: Images, modality: str) -> Tensor:
    """Return the features of evaluation: the normalized sum for an image and its mirror image.

    Args:
        network: put into evaluation mode.
        images: of one modality.
        modality: "visible" or "infrared".

    Returns:
        [N, C], unit rows, float32, on the network's device.

    Raises:
        SalcrError: a feature is not finite.
    """
    network.eval()
    sums, finite = [], []
    for batch in images.batches(_BATCH, network.part_tokens.device):
        image = transforms.normalize_images(batch)
        (direct, joint), (mirror, mirror_joint) = (
            inference_features(*network(view, modality)) for view in (image, image.flip(3))
        )
        sums.append(direct + mirror)
        finite.append(torch.isfinite(joint + mirror_joint).all())
    _require_finite(torch.stack(finite).all(), modality)
    return l2_normalize(torch.cat(sums))


def _require_finite(finite: Tensor, modality: str) -> None:
    """Refuse features that are not finite; one wait for the device, not one a batch."""
    if not finite:
        raise SalcrError(
            f"features of the {modality} images are not finite: training has diverged; lower the "
            "learning rate (pretrain.learning_rate, train.learning_rate)"
        )


def part_blocks(joint: Tensor, num_parts: int) -> Tensor:
    """Return the part blocks [P, N, C] of joint features [N, P*C + C], without normalization."""
    return joint.unflatten(1, (num_parts + 1, -1))[:, :num_parts].transpose(0, 1)


def to_device(network: Network, device: torch.device, numerics: Numerics) -> Network:
    """Return the network on the device, set up for all that the section numerics says."""
    network.autocast = {"auto": _has_bfloat16(device), "always": True, "never": False}[
        numerics.autocast
    ]
    if numerics.channels_last:
        network.memory_format = torch.channels_last
    if numerics.compile:
        network.trunk.compile()
    network.trunk.num_checkpointed = CHECKPOINTED[numerics.checkpoint]
    if (
        device.type == "cuda"
        and numerics.deterministic != torch.are_deterministic_algorithms_enabled()
    ):
        _set_deterministic(numerics.deterministic)
    return network.to(device, memory_format=network.memory_format)  # type: ignore[call-overload]


def _has_bfloat16(device: torch.device) -> bool:
    """Tell whether the device is a GPU that computes in bfloat16; before Ampere they emulate it."""
    if device.type != "cuda":
        return False
    if torch.cuda.get_device_capability(device) >= _AMPERE:
        return True
    say("numerics.autocast: auto, but this GPU does not compute in bfloat16: single precision")
    return False


def _set_deterministic(deterministic: bool) -> None:
    """Let torch use algorithms with the same bits each time on a GPU, where it has them."""
    if deterministic == torch.are_deterministic_algorithms_enabled():
        return  # the switch imports torch's compiler, which takes seconds
    if deterministic:  # read when cuBLAS starts; without it, its results may differ
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    # Otherwise memory is filled before it is written, for programs that read it too early.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def l2_normalize(features: Tensor) -> Tensor:
    """Return features [..., C] scaled to length 1 in the last dimension."""
    return F.normalize(features, dim=-1)
