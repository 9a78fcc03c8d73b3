"""Checkpoints of networks: written after each stage of training, read by all later stages."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from salcr import __version__, files
from salcr.config.checkpoint_kinds import Checkpoint
from salcr.config.schema import Config, Model, Numerics
from salcr.data.store import Split
from salcr.errors import SalcrError
from salcr.log import warn
from salcr.models import tensor_files
from salcr.models.features import to_device
from salcr.models.network import Network, misfits


def write_model(
    path: Path,
    network: Network,
    *,
    round_: int,
    trial: int,
    image_size: tuple[int, int],
    data_hash: str | None,
    settings: Config,
) -> None:
    """Write a network and its origin.

    Args:
        path: file to write.
        network: network to write.
        round_: 0 after stage one, else the round of stage two.
        trial: number of the split that it was trained on.
        image_size: height and width of the training images, which are those of all later input.
        data_hash: of the stored data set; None for an imported network, for which it is unknown.
        settings: of the stage that trained it, with the seed if it is known.
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
    config = settings.model_dump()
    tensor_files.write_checkpoint(
        path,
        {
            "round": round_,
            "trial": trial,
            "image_size": list(image_size),
            "data_hash": data_hash,
            "model": model,
            "state": state,
            "seed": config.pop("seed", None),
            "config": config,
            "versions": versions,
        },
    )


def read_model(
    path: Path, device: torch.device, numerics: Numerics, *, split: Split, trial: int
) -> tuple[Network, dict[str, Any]]:
    """Return the network of a checkpoint, on the device, and the checkpoint itself.

    Args:
        path: file that `write_model` wrote.
        device: device to compute on.
        numerics: how to compute.
        split: images of the data set that the network must have been trained on.
        trial: number of the split that it must have been trained on.

    Raises:
        SalcrError: the file is damaged, or was trained on another data set or another trial:
            training on one split and testing on another would inflate the results.
    """
    network, checkpoint = read_network(path, device, numerics)
    check_training_images(path, checkpoint, split=split, trial=trial)
    return network, checkpoint


def check_training_images(
    path: Path, checkpoint: dict[str, Any], *, split: Split, trial: int
) -> None:
    """Refuse a checkpoint of other training images; arguments and errors as of `read_model`."""
    if checkpoint["data_hash"] is None:
        warn(f"{path}: imported, so its training images cannot be checked")
    for name, wanted in (("trial", trial), ("data_hash", split.data_hash)):
        if checkpoint[name] is not None and checkpoint[name] != wanted:
            raise SalcrError(
                f"{path}: was trained on {name} {checkpoint[name]}, not on {wanted}; a model may "
                "only be used with the split that it was trained on"
            )


def read_network(
    path: Path, device: torch.device, numerics: Numerics
) -> tuple[Network, dict[str, Any]]:
    """Return what `read_model` returns, without a check of the training images.

    Raises:
        SalcrError: the file is damaged or does not hold a network, or its tensors are not those of
            the network that it describes.
    """
    checkpoint = tensor_files.read_checkpoint(path, Checkpoint, device)
    return to_device(_build(path, checkpoint), device, numerics), checkpoint


def _build(path: Path, checkpoint: dict[str, Any]) -> Network:
    """Return the network that a checkpoint describes, with its state."""
    shape = {name: checkpoint["model"][name] for name in ("backbone", "width", "num_parts")}
    try:
        network = Network(**shape)
    except (KeyError, ValueError) as error:  # an unknown backbone, or a width that it cannot have
        raise SalcrError(f"{path}: describes no network: {shape} ({error})") from None
    if names := misfits(network, checkpoint["state"]):
        raise SalcrError(
            f"{path}: does not fit the network that it describes, {shape}: {len(names)} parameters "
            f"are missing, unknown or of another shape or type, the first {names[0]}; "
            f"{files.RERUN_HINT}"
        )
    network.load_state_dict(checkpoint["state"])
    return network


def check_backbone(path: Path, network: Network, model: Model) -> None:
    """Refuse a network that is not of the configured backbone.

    Raises:
        SalcrError: it has another backbone or width.
    """
    if (network.backbone, network.width) != (model.backbone, model.width):
        raise SalcrError(
            f"{path}: is a {network.backbone} of width {network.width}; set model.backbone and "
            "model.width to these"
        )


def load_trained(network: Network, path: Path, model: Model, *, split: Split, trial: int) -> None:
    """Load what stage one trains, stems, trunk, and global neck, from a checkpoint.

    Args:
        network: network to load into.
        path: checkpoint of a network that was trained on other images, or on these.
        model: settings of the network.
        split: images that the network is going to be trained on.
        trial: number of the split.

    Raises:
        SalcrError: the file is damaged or of another backbone, or was trained on another trial of
            this data set, whose training people may be test people here.
    """
    checkpoint = tensor_files.read_checkpoint(path, Checkpoint)
    source = _build(path, checkpoint)
    check_backbone(path, source, model)
    if checkpoint["data_hash"] in (split.data_hash, None):
        check_training_images(path, checkpoint, split=split, trial=trial)
    for name in ("visible_stem", "infrared_stem", "trunk", "global_neck"):
        getattr(network, name).load_state_dict(getattr(source, name).state_dict())


def load_backbone(network: Network, path: Path) -> None:
    """Load a torchvision state dict into the trunk and both stems.

    Args:
        network: network to load into.
        path: state-dict file.

    Raises:
        SalcrError: the file is missing, damaged, or of another backbone.
    """
    state = tensor_files.read_state_dict(path)
    for module in (network.trunk, network.visible_stem, network.infrared_stem):
        # Counters of batches are not in torchvision's older files, and they are not used.
        wanted = {
            name: value
            for name, value in module.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        for name, value in wanted.items():
            if name not in state or state[name].shape != value.shape:
                raise SalcrError(
                    f"{path}: does not fit model.backbone {network.backbone} of model.width "
                    f"{network.width}: {name} is missing or has another shape"
                )
        module.load_state_dict({name: state[name] for name in wanted}, strict=False)
