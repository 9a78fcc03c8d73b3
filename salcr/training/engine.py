"""What the training stages share: features, optimiser, seeds, the step, the model's file."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from salcr import __version__, files
from salcr.config.schema import Clustering, Numerics, Section
from salcr.data import transforms
from salcr.data.store import Images, Split
from salcr.errors import SalcrError
from salcr.log import say, warn
from salcr.models.network import Network, inference_features
from salcr.pseudo_labels import clustering
from salcr.pseudo_labels.neighbors import nearest_within
from salcr.training.optimizer import Adam
from salcr.types import Integers

_EXTRACTION_BATCH = 128
_OF_A_MODEL = {"round", "trial", "data_hash", "model", "state"}
_SHARE_FOR_IMAGES = 0.25
"""Of a GPU's free memory; the rest is the network's."""


def generator(*seeds: int) -> np.random.Generator:
    """Return the random generator of one unit of work, such as (seed, trial, round, iteration).

    A unit draws the same numbers whatever ran before it, in this process or another.
    """
    return np.random.default_rng(seeds)


def seed_torch(*seeds: int) -> None:
    """Seed torch's global state, from which new weights are drawn."""
    torch.manual_seed(int(generator(*seeds).integers(2**63)))


def resident(split: Split, device: torch.device) -> Split:
    """Return the split with its images copied to the GPU, or as it is: on the CPU, or too large."""
    sides = (split.visible, split.infrared)
    if not _fits(sum(images.array[0].nbytes * len(images) for images in sides), device):
        return split
    visible, infrared = (_copied(images, device) for images in sides)
    return split._replace(visible=visible, infrared=infrared)


def _fits(num_bytes: int, device: torch.device) -> bool:
    if device.type == "cpu":  # the system keeps the pages of a mapped file in memory
        return False
    return num_bytes <= _SHARE_FOR_IMAGES * torch.cuda.mem_get_info(device)[0]


def _copied(images: Images, device: torch.device) -> Images:
    """Return images whose batches come from a copy on the device."""
    shape = (len(images), *images.array.shape[1:])
    copy = torch.empty(shape, dtype=torch.uint8, device=device)
    for start in range(0, len(images), _EXTRACTION_BATCH):
        part = copy[start : start + _EXTRACTION_BATCH]
        part.copy_(images.batch(np.arange(start, start + len(part))))
    return replace(images, resident=copy)


@torch.no_grad()
def extract(
    network: Network, images: Images, modality: str, *, mirrored: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the eval-mode features of all images of a split, or of their mirror images.

    Returns:
        global features [N, C] and [parts, global] features [N, P*C + C], unit rows, float32, on
        the network's device.
    """
    network.eval()
    device = network.part_tokens.device
    found = []
    for positions in np.array_split(
        np.arange(len(images)), max(1, -(-len(images) // _EXTRACTION_BATCH))
    ):
        batch = transforms.plain(images.batch(positions).to(device))
        batch = batch.flip(3) if mirrored else batch
        found.append(inference_features(*network(batch, modality)))
    global_, joint = (torch.cat(side) for side in zip(*found, strict=True))
    if not torch.isfinite(joint).all():
        raise SalcrError(
            f"features of the {modality} images are not finite: training has diverged; lower the "
            "learning rate (pretrain.learning_rate, train.learning_rate)"
        )
    return global_, joint


def mirrored_features(network: Network, images: Images, modality: str) -> Tensor:
    """Return unit features [N, C]: the mean of those of each image and of its mirror image."""
    direct, _ = extract(network, images, modality)
    mirror, _ = extract(network, images, modality, mirrored=True)
    return unit(direct + mirror)


def part_blocks(joint: Tensor, num_parts: int) -> Tensor:
    """Return the part blocks [P, N, C] of [N, P*C + C] features, scaled as they stand there."""
    return joint.unflatten(1, (num_parts + 1, -1))[:, :num_parts].transpose(0, 1)


def cluster(
    features: Tensor, settings: Clustering, modality: str, *, neighbours: Integers | None = None
) -> Integers:
    """Return the DBSCAN labels [N] of one modality's global features, -1 for outliers.

    Args:
        features: [N, C], unit rows.
        settings: of the clustering.
        modality: whose features they are, for messages.
        neighbours: indices of k1 or more neighbours of each image, or None to search them.

    Raises:
        SalcrError: there is no image, or every image is an outlier.
    """
    if len(features) == 0:
        raise SalcrError(f"there are no {modality} images to cluster")
    if neighbours is None:
        neighbours = nearest_within(features, settings.k1).indices
    distance = clustering.jaccard_distance(
        features.cpu().numpy(),
        k1=settings.k1,
        k2=settings.k2,
        at_most=settings.eps,
        neighbours=neighbours,
    )
    labels = clustering.dbscan(distance, eps=settings.eps, min_samples=settings.min_samples)
    num_clusters, outliers = int(labels.max(initial=-1)) + 1, float((labels < 0).mean())
    say(f"{modality}: {num_clusters} clusters, {outliers:.1%} outliers of {len(labels)} images")
    if num_clusters == 0:
        raise SalcrError(
            f"no cluster among the {modality} images: raise clustering.eps or lower "
            "clustering.min_samples"
        )
    return labels


def make_optimizer(network: nn.Module, learning_rate: float, weight_decay: float) -> Adam:
    """Return Adam over the parameters that are trained."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return Adam(trained, learning_rate=learning_rate, weight_decay=weight_decay)


def decayed_rate(learning_rate: float, milestones: Iterable[int], epoch: int) -> float:
    """Return the learning rate of an epoch: a tenth for every milestone that was reached."""
    return learning_rate * 0.1 ** sum(epoch >= milestone for milestone in milestones)


def descend(losses: dict[str, Tensor], optimizer: Adam) -> dict[str, float]:
    """Take one step down losses["total"] and return all losses as numbers.

    Raises:
        SalcrError: the total is not finite; the parameters are not touched then.
    """
    values = {name: loss.item() for name, loss in losses.items()}
    if not np.isfinite(values["total"]):
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise SalcrError(
            f"the loss is not finite ({shown}): lower the learning rate "
            "(pretrain.learning_rate, train.learning_rate) or raise memory.temperature"
        )
    optimizer.zero_grad()
    losses["total"].backward()
    optimizer.step()
    return values


def write_model(
    path: Path,
    network: Network,
    *,
    round_: int,
    trial: int,
    image_size: tuple[int, int],
    data_hash: str | None,
    seed: int | None,
    sections: Iterable[Section],
) -> None:
    """Write a network with everything that says where it comes from.

    Args:
        path: file to write.
        network: to write.
        round_: 0 after stage one, else the round of stage two.
        trial: whose training images it saw.
        image_size: height and width of these images, and so of those that it may be shown.
        data_hash: of the stored data set; None for an imported network, where nobody knows.
        seed: of everything random; None where nobody knows.
        sections: the configuration of the stage that trained it.
    """
    state = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    model = {"backbone": network.backbone, "width": network.width, "num_parts": network.num_parts}
    versions = {
        "salcr": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    files.write_checkpoint(
        path,
        {
            "round": round_,
            "trial": trial,
            "image_size": list(image_size),
            "data_hash": data_hash,
            "model": model,
            "state": state,
            "seed": seed,
            "config": {
                type(section).__name__.lower(): section.model_dump() for section in sections
            },
            "versions": versions,
        },
    )


def read_model(
    path: Path, device: torch.device, numerics: Numerics, *, split: Split, trial: int
) -> tuple[Network, dict[str, Any]]:
    """Return the network of a checkpoint, on the device, and the checkpoint itself.

    Raises:
        SalcrError: the file is damaged, or was trained on another data set or another trial.
            Training on one split and testing on another would inflate every number.
    """
    network, checkpoint = read_network(path, device, numerics)
    if checkpoint["data_hash"] is None:
        warn(f"{path}: imported, so on which images it was trained cannot be checked")
    for name, wanted in (("trial", trial), ("data_hash", split.data_hash)):
        if checkpoint[name] is not None and checkpoint[name] != wanted:
            raise SalcrError(
                f"{path}: was trained on {name} {checkpoint[name]}, not on {wanted}; a model may "
                "only be used with the split that it was trained on"
            )
    return network, checkpoint


def read_network(
    path: Path, device: torch.device, numerics: Numerics
) -> tuple[Network, dict[str, Any]]:
    """Return what `read_model` returns, whatever images the network was trained on.

    Raises:
        SalcrError: the file is damaged or holds no network.
    """
    checkpoint = files.read_checkpoint(path, device)
    if not checkpoint.keys() >= _OF_A_MODEL:
        raise SalcrError(
            f"{path}: holds no network; give a round's checkpoint.pt. If that is one, {files.AGAIN}"
        )
    network = Network(**checkpoint["model"])
    network.load_state_dict(checkpoint["state"])
    return to_device(network, device, numerics), checkpoint


def to_device(network: Network, device: torch.device, numerics: Numerics) -> Network:
    """Return the network on the device, to be computed as the configuration says."""
    network.autocast = {"auto": device.type == "cuda", "always": True, "never": False}[
        numerics.autocast
    ]
    if numerics.channels_last:
        network.memory_format = torch.channels_last
    if numerics.compile:
        network.trunk.compile()
    return network.to(device, memory_format=network.memory_format)  # type: ignore[call-overload]


def unit(features: Tensor) -> Tensor:
    """Return L2-normalised rows."""
    return F.normalize(features, dim=-1)
