"""Stage one: contrastive learning within each modality (METHOD 2; the paper's baseline, DCL)."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch

from salcr import files
from salcr.config import cli
from salcr.config.schema import Config
from salcr.config.synthetic import SYNTHETIC_WEIGHTS
from salcr.data.store import Split, load_split, preload
from salcr.errors import SalcrError
from salcr.log import say
from salcr.losses.stage_one import MODALITY_OF_VIEW
from salcr.models.checkpoint import (
    check_backbone,
    load_backbone,
    load_trained,
    read_model,
    write_model,
)
from salcr.models.features import to_device
from salcr.models.network import Network
from salcr.models.tensor_files import is_checkpoint
from salcr.training import devices, memory
from salcr.training.pretraining import pretrain
from salcr.training.resume import Resume
from salcr.training.seeding import seed_torch

# Stage one does not train parts, and stage two initializes them. A network has at least one.
_NUM_PARTS = 1
_SEED_OF_WEIGHTS = 0
_COLUMNS = ["epoch", "learning_rate", *MODALITY_OF_VIEW, "total"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    cli.add_split(parser)
    parser.add_argument(
        "--weights-file",
        type=Path,
        help="state dict or checkpoint; needed unless --model-weights is random or synthetic",
    )
    parser.add_argument(
        "--from-checkpoint",
        type=Path,
        help="the file of --pretrain-checkpoint, used instead of training",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="network to write")
    parser.add_argument("--losses", type=Path, required=True, help="csv to write, a line per epoch")
    cli.add_curves(parser)
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Train from initial weights, or read a trained network, and write it and the losses.

    A run that was killed resumes after its last complete epoch.
    """
    device = devices.prepare(arguments.device, arguments.threads)
    trial = arguments.trial
    split = load_split(arguments.data, trial=trial, split="train")
    say(f"pretrain, trial {trial}: {split}")
    weights = _initial_weights(arguments.weights_file, settings)
    origin = {
        "trial": trial,
        "data_hash": split.data_hash,
        "weights": files.sha256(weights) if weights else None,
    }
    resume = Resume(arguments.checkpoint, stage="pretrain", settings=settings, origin=origin)
    records: list[dict[str, float]] = []
    if settings.pretrain.checkpoint is not None:
        network = _read_trained(arguments.from_checkpoint, device, split, settings, trial=trial)
    else:
        network = to_device(
            _initial_network(weights, settings, split, trial=trial),
            device,
            settings.numerics,
        )
        num_images = memory.images_of_pretrain_step(settings.pretrain)
        needed = memory.training_bytes(network, split, num_images)
        records = pretrain(
            network,
            preload(split, device, needed=needed),
            settings,
            trial=trial,
            resume=resume,
            curves=arguments.curves,
        )
    write_model(
        arguments.checkpoint,
        network,
        round_=0,
        trial=trial,
        image_size=split.image_size,
        data_hash=split.data_hash,
        settings=settings,
    )
    files.write_table(arguments.losses, pd.DataFrame(records, columns=_COLUMNS))
    resume.finish()


def _initial_weights(given: Path | None, settings: Config) -> Path | None:
    """Return the state dict that training starts from; None for random weights or no training."""
    if settings.model.weights == "random" or settings.pretrain.checkpoint is not None:
        return None
    if given is None and settings.model.weights != "synthetic":
        raise SalcrError("--weights-file is needed unless --model-weights is random or synthetic")
    return given or SYNTHETIC_WEIGHTS


def _initial_network(
    weights: Path | None, settings: Config, split: Split, *, trial: int
) -> Network:
    """Return the network with random weights, or those of a backbone or a trained network."""
    model = settings.model
    seed_torch(settings.seed, trial, _SEED_OF_WEIGHTS)
    network = Network(backbone=model.backbone, width=model.width, num_parts=_NUM_PARTS)
    if weights is None:
        return network
    if is_checkpoint(weights):
        load_trained(network, weights, model, split=split, trial=trial)
        say(f"{weights}: a trained network; training starts from its weights")
    else:
        load_backbone(network, weights)
    return network


def _read_trained(
    path: Path | None, device: torch.device, split: Split, settings: Config, *, trial: int
) -> Network:
    """Return the network of a checkpoint that replaces stage one."""
    if path is None:
        raise SalcrError("--from-checkpoint is needed where --pretrain-checkpoint is set")
    network, _ = read_model(path, device, settings.numerics, split=split, trial=trial)
    check_backbone(path, network, settings.model)
    say(f"{path}: replaces stage one")
    return network
