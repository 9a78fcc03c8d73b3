"""One round of stage two: an epoch of training on the round's labels (DAGL, FGSAL, GPCR)."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from salcr import files
from salcr.config import cli, schema
from salcr.data import transforms
from salcr.data.labels import read_labels
from salcr.data.samplers import PairBatch, pair_batch, shared_labels
from salcr.data.store import MODALITIES, Split, load_split
from salcr.errors import SalcrError
from salcr.log import progress, say, warn
from salcr.losses.objective import StageTwoObjective
from salcr.losses.refinement import Labels
from salcr.models.network import Network
from salcr.training import devices
from salcr.training.engine import (
    decayed_rate,
    descend,
    extract,
    generator,
    make_optimizer,
    part_blocks,
    read_model,
    resident,
    seed_torch,
    write_model,
)
from salcr.training.optimizer import Adam
from salcr.training.tensorboard import drawn
from salcr.types import Association, Integers

_SEED_OF_PARTS, _SEED_OF_BATCHES = 2, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    cli.add_split(parser)
    parser.add_argument("--round", type=int, required=True, help="number of the round, from 1")
    parser.add_argument("--checkpoint", type=Path, required=True, help="network of the last round")
    parser.add_argument(
        "--optimizer-state", type=Path, help="state of the last round; none starts stage two"
    )
    parser.add_argument("--labels", type=Path, required=True, help="csv that associate wrote")
    parser.add_argument("--out-checkpoint", type=Path, required=True, help="network to write")
    parser.add_argument("--out-optimizer-state", type=Path, required=True, help="to write")
    parser.add_argument("--losses", type=Path, required=True, help="csv to write, one line")
    cli.add_curves(parser)
    cli.add_compute(parser)


def run(
    arguments: argparse.Namespace,
    *,
    seed: int,
    numerics: schema.Numerics,
    memory: schema.Memory,
    augment: schema.Augment,
    optimizer: schema.Optimizer,
    train: schema.Train,
    fgsal: schema.Fgsal,
    gpcr: schema.Gpcr,
) -> None:
    """Train one epoch and write the checkpoint, the optimiser's state and the losses."""
    if (complaint := schema.parts_missing(fgsal, gpcr)) is not None:
        raise SalcrError(complaint)
    device = devices.prepare(arguments.device, arguments.threads)
    trial, round_ = arguments.trial, arguments.round
    split = resident(load_split(arguments.data, trial=trial, split="train"), device)
    say(f"train, trial {arguments.trial}: {split}")
    network, checkpoint = read_model(
        arguments.checkpoint, device, numerics, split=split, trial=trial
    )
    if checkpoint["round"] != round_ - 1:
        raise SalcrError(
            f"{arguments.checkpoint}: is of round {checkpoint['round']}, not {round_ - 1}"
        )
    labels, clusters = read_labels(
        arguments.labels, trial=trial, sizes=split.sizes, data_hash=split.data_hash
    )
    if round_ == 1:
        seed_torch(seed, trial, _SEED_OF_PARTS)
        network.reset_parts(fgsal.parts)
        network.to(device)
    origin = {"trial": trial, "data_hash": split.data_hash}
    rate = decayed_rate(train.learning_rate, train.milestones, round_)
    adam = make_optimizer(network, rate, optimizer.weight_decay)
    if round_ > 1:
        _restore(adam, arguments.optimizer_state, origin={**origin, "round": round_ - 1})

    started = time.monotonic()
    means = train_round(
        network, adam, split, labels, clusters, seeds=(seed, trial, _SEED_OF_BATCHES, round_),
        memory=memory, augment=augment, train=train, fgsal=fgsal, gpcr=gpcr,
    )  # fmt: skip
    shown = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
    say(f"round {round_}: {shown}, {time.monotonic() - started:.1f} s")
    with drawn(arguments.curves, first=round_) as add_points:
        add_points(round_, means)

    write_model(
        arguments.out_checkpoint, network, round_=round_, trial=trial,
        image_size=split.image_size, data_hash=split.data_hash, seed=seed,
        sections=[numerics, memory, augment, optimizer, train, fgsal, gpcr],
    )  # fmt: skip
    state = {**origin, "round": round_, "adam": adam.state_dict()}
    files.write_checkpoint(arguments.out_optimizer_state, state)
    record = {"round": round_, "learning_rate": rate, **means}
    files.write_table(arguments.losses, pd.DataFrame([record]))


def _restore(adam: Adam, path: Path | None, *, origin: dict[str, object]) -> None:
    if path is None:
        raise SalcrError("--optimizer-state is needed from round 2 on: the file of the last round")
    saved = files.read_checkpoint(path)
    for name, wanted in origin.items():
        if saved.get(name) != wanted:
            raise SalcrError(f"{path}: is of {name} {saved.get(name)}, not of {wanted}")
    try:
        adam.load_state_dict(saved["adam"])
    except (KeyError, ValueError) as error:
        raise SalcrError(f"{path}: does not fit the network ({error})") from None


def train_round(
    network: Network,
    adam: Adam,
    split: Split,
    labels: Association,
    clusters: dict[str, Integers],
    *,
    seeds: tuple[int, ...],
    memory: schema.Memory,
    augment: schema.Augment,
    train: schema.Train,
    fgsal: schema.Fgsal,
    gpcr: schema.Gpcr,
) -> dict[str, float]:
    """Train the network for an epoch, in place, and return the mean losses by name.

    `labels` are those of the round in both label spaces; from the DBSCAN labels `clusters`, by
    modality, the memories start; `seeds` are those of this unit of work.
    """
    objective = _objective(
        network, split, clusters, memory=memory, fgsal=fgsal, gpcr=gpcr, space=train.label_space
    )
    shared = _checked_shared_labels(labels, train)
    sizes = ", ".join(f"{len(rows)} {space}" for space, rows in objective.global_memory.items())
    say(f"first of {train.iterations} batches; clusters: {sizes}")
    network.train()
    totals: Counter[str] = Counter()
    for iteration in progress(range(train.iterations), title="train"):
        rng = generator(*seeds, iteration)
        batch = pair_batch(
            labels, shared, num_labels=train.labels, instances=train.instances, rng=rng
        )
        device = network.part_tokens.device
        visible = split.visible.batch(batch.visible).to(device)
        infrared = split.infrared.batch(batch.infrared).to(device)
        features = objective.normalised(
            network.forward_aligned(
                transforms.visible_view(visible, rng, augment, ltg=False),
                transforms.augmented_view(visible, rng, augment),
                transforms.infrared_view(infrared, rng, augment),
            )
        )
        targets = _targets(labels, batch, device)
        totals.update(descend(objective.losses(features, targets), adam))
        objective.update(features, targets, rng)
    return {name: total / train.iterations for name, total in totals.items()}


def _objective(
    network: Network,
    split: Split,
    clusters: dict[str, Integers],
    *,
    memory: schema.Memory,
    fgsal: schema.Fgsal,
    gpcr: schema.Gpcr,
    space: str,
) -> StageTwoObjective:
    """Return the objective with memories started from the network's present features."""
    global_, parts = {}, {}
    for modality, images in zip(MODALITIES, (split.visible, split.infrared), strict=True):
        global_[modality], joint = extract(network, images, modality)
        parts[modality] = part_blocks(joint, network.num_parts)
    return StageTwoObjective(
        global_, parts, clusters, memory=memory, fgsal=fgsal, gpcr=gpcr, label_space=space
    )


def _checked_shared_labels(
    labels: Association, settings: schema.Train
) -> tuple[Integers, Integers]:
    shared = shared_labels(labels, settings.label_space)
    if not any(len(candidates) for candidates in shared):
        raise SalcrError(
            "no pseudo-label is carried by both a visible and an infrared image: raise "
            "clustering.eps or lower clustering.min_samples, so that more images are clustered"
        )
    for space, candidates in zip(("visible", "infrared"), shared, strict=True):
        wanted = {"dual": settings.labels // 2, space: settings.labels}.get(settings.label_space, 0)
        if len(candidates) < wanted:
            warn(
                f"{space} space: {len(candidates)} labels are shared by both modalities, a batch "
                f"wants {wanted} of the {settings.labels} in train.labels; the batches are smaller"
            )
    return shared


def _targets(labels: Association, batch: PairBatch, device: torch.device) -> Labels:
    rows = (batch.visible, batch.visible, batch.infrared, batch.infrared)
    columns = (np.ascontiguousarray(c[r]) for c, r in zip(labels, rows, strict=True))
    return Labels(*(torch.from_numpy(column).to(device) for column in columns))
