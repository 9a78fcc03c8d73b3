"""Train one round of stage two: an epoch on the round's pseudo-labels (FGSAL, GPCR)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from salcr import files
from salcr.config import cli
from salcr.config.checkpoint_kinds import OptimizerState
from salcr.config.schema import Config
from salcr.data.labels import read_labels
from salcr.data.store import Split, load_split, preload
from salcr.errors import SalcrError
from salcr.log import say
from salcr.models import tensor_files
from salcr.models.checkpoint import read_model, write_model
from salcr.models.features import Extracted
from salcr.models.network import Network
from salcr.training import devices, memory
from salcr.training.optimizer import Adam, decayed_rate, make_optimizer
from salcr.training.round import train_round
from salcr.training.seeding import seed_torch
from salcr.training.tensorboard import curve_writer
from salcr.types import Integers, PseudoLabels

_SEED_OF_PARTS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    cli.add_split(parser)
    parser.add_argument(
        "--round", action=cli.Integer, most=999, required=True, help="number of the round, from 1"
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="network of the round before"
    )
    parser.add_argument(
        "--optimizer-state", type=Path, help="state of the previous round; none in round 1"
    )
    parser.add_argument("--labels", type=Path, required=True, help="csv that associate wrote")
    parser.add_argument("--out-checkpoint", type=Path, required=True, help="network to write")
    parser.add_argument("--out-optimizer-state", type=Path, required=True, help="to write")
    parser.add_argument("--losses", type=Path, required=True, help="csv to write, one line")
    cli.add_curves(parser)
    cli.add_compute(parser)


class Outputs(NamedTuple):
    """The files that a round of training writes."""

    checkpoint: Path
    optimizer_state: Path
    losses: Path


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Train one epoch and write the checkpoint, the optimizer's state and the losses."""
    device = devices.prepare(arguments.device, arguments.threads)
    trial, round_ = arguments.trial, arguments.round
    split = load_split(arguments.data, trial=trial, split="train")
    say(f"train, trial {trial}: {split}")
    network = read_previous(arguments.checkpoint, device, split, settings, trial, round_)
    labels, clusters = read_labels(
        arguments.labels, trial=trial, sizes=split.sizes, data_hash=split.data_hash
    )
    adam = read_optimizer(arguments.optimizer_state, network, split, settings, trial, round_)
    split = preload_for_training(split, network, settings)
    outputs = Outputs(arguments.out_checkpoint, arguments.out_optimizer_state, arguments.losses)
    means = train_and_write(
        network, adam, split, labels, clusters, settings, outputs, trial=trial, round_=round_
    )
    with curve_writer(arguments.curves, first=round_) as add_points:
        add_points(round_, means)


def read_previous(
    path: Path, device: torch.device, split: Split, settings: Config, trial: int, round_: int
) -> Network:
    """Return the network of the round before; at the start of stage two, with new parts.

    Raises:
        SalcrError: the file is damaged, or of another round, trial or data set.
    """
    network, checkpoint = read_model(path, device, settings.numerics, split=split, trial=trial)
    if checkpoint["round"] != round_ - 1:
        raise SalcrError(f"{path}: is of round {checkpoint['round']}, not {round_ - 1}")
    if round_ == 1:
        seed_torch(settings.seed, trial, _SEED_OF_PARTS)
        network.reset_parts(settings.fgsal.parts)
        network.to(device)
    return network


def preload_for_training(split: Split, network: Network, settings: Config) -> Split:
    """Return the split with its images on the network's GPU, if they fit beside a step."""
    num_images = memory.images_of_train_step(settings.train)
    needed = memory.training_bytes(network, split, num_images)
    return preload(split, network.part_tokens.device, needed=needed)


def read_optimizer(
    path: Path | None, network: Network, split: Split, settings: Config, trial: int, round_: int
) -> Adam:
    """Return the optimizer of a network, in the state after the round before.

    Raises:
        SalcrError: the file is damaged, of another round, trial or data set, or not given after
            the first round.
    """
    adam = make_optimizer(network, settings.train.learning_rate, settings.optimizer.weight_decay)
    if round_ > 1:
        _restore(adam, path, {**_origin(split, trial), "round": round_ - 1})
    return adam


def train_and_write(
    network: Network,
    adam: Adam,
    split: Split,
    labels: PseudoLabels[Integers],
    clusters: dict[str, Integers],
    settings: Config,
    outputs: Outputs,
    *,
    trial: int,
    round_: int,
    extracted: dict[str, Extracted] | None = None,
) -> dict[str, float]:
    """Train one round, write its files and return its mean losses; arguments as `train_round`'s."""
    stage = settings.train
    adam.learning_rate = decayed_rate(stage.learning_rate, stage.milestones, round_)
    means = train_round(
        network,
        adam,
        split,
        labels,
        clusters,
        settings,
        trial=trial,
        round_=round_,
        extracted=extracted,
    )
    write_model(
        outputs.checkpoint,
        network,
        round_=round_,
        trial=trial,
        image_size=split.image_size,
        data_hash=split.data_hash,
        settings=settings,
    )
    state = {**_origin(split, trial), "round": round_, "adam": adam.state_dict()}
    tensor_files.write_checkpoint(outputs.optimizer_state, state)
    record = {"round": round_, "learning_rate": adam.learning_rate, **means}
    files.write_table(outputs.losses, pd.DataFrame([record]))
    return means


def _origin(split: Split, trial: int) -> dict[str, object]:
    return {"trial": trial, "data_hash": split.data_hash}


def _restore(adam: Adam, path: Path | None, origin: dict[str, object]) -> None:
    if path is None:
        raise SalcrError("--optimizer-state, of the round before, is needed from round 2 on")
    saved = tensor_files.read_checkpoint(path, OptimizerState)
    for name, wanted in origin.items():
        if saved[name] != wanted:
            raise SalcrError(f"{path}: is of {name} {saved[name]}, not of {wanted}")
    try:
        adam.load_state_dict(saved["adam"])
    except ValueError as error:
        raise SalcrError(f"{path}: does not fit the network ({error})") from None
