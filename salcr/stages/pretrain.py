"""Stage one: contrastive learning inside each modality (METHOD 2; the paper's baseline, DCL)."""

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
from salcr.data.samplers import cluster_batch
from salcr.data.store import Split, load_split
from salcr.errors import SalcrError
from salcr.log import progress, say, warn
from salcr.losses.memory import cluster_loss, initial_memory, updated_memory
from salcr.models.network import Network
from salcr.training import devices
from salcr.training.engine import (
    cluster,
    decayed_rate,
    descend,
    extract,
    generator,
    make_optimizer,
    read_model,
    resident,
    seed_torch,
    to_device,
    unit,
    write_model,
)
from salcr.training.optimizer import Adam
from salcr.training.resume import Resume
from salcr.training.tensorboard import drawn
from salcr.types import Integers

# Stage one trains no parts: stage two draws its own. One is the least that a network can hold.
_NUM_PARTS = 1
_SEED_OF_WEIGHTS, _SEED_OF_BATCHES = 0, 1
_COLUMNS = ["epoch", "learning_rate", "visible", "infrared", "total"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    cli.add_split(parser)
    parser.add_argument(
        "--weights-file", type=Path,
        help="state dict to start from; needed unless --model-weights is random",
    )  # fmt: skip
    parser.add_argument(
        "--from-checkpoint", type=Path,
        help="the file of --pretrain-checkpoint; nothing is trained then",
    )  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, required=True, help="network to write")
    parser.add_argument("--losses", type=Path, required=True, help="csv to write, a line an epoch")
    cli.add_curves(parser)
    cli.add_compute(parser)


def run(
    arguments: argparse.Namespace,
    *,
    seed: int,
    model: schema.Model,
    numerics: schema.Numerics,
    clustering: schema.Clustering,
    memory: schema.Memory,
    augment: schema.Augment,
    optimizer: schema.Optimizer,
    pretrain: schema.Pretrain,
) -> None:
    """Train from initial weights, or take a trained network, and write it and the losses.

    A run that was killed is continued after its last whole epoch.
    """
    device = devices.prepare(arguments.device, arguments.threads)
    split = load_split(arguments.data, trial=arguments.trial, split="train")
    say(f"pretrain, trial {arguments.trial}: {split}")
    sections = [model, numerics, clustering, memory, augment, optimizer, pretrain]
    origin = {"trial": arguments.trial, "data_hash": split.data_hash, "seed": seed}
    resume = Resume(arguments.checkpoint, stage="pretrain", sections=sections, origin=origin)
    if pretrain.checkpoint is not None:
        records: list[dict[str, float]] = []
        network = _trained_network(
            arguments.from_checkpoint, device, split=split, trial=arguments.trial, model=model,
            numerics=numerics,
        )  # fmt: skip
    else:
        seed_torch(seed, arguments.trial, _SEED_OF_WEIGHTS)
        network = Network(backbone=model.backbone, width=model.width, num_parts=_NUM_PARTS)
        if model.weights != "random":
            load_backbone(network, arguments.weights_file)
        records = _train(
            to_device(network, device, numerics), resident(split, device), resume,
            seeds=(seed, arguments.trial, _SEED_OF_BATCHES), clustering=clustering,
            memory=memory, augment=augment, optimizer=optimizer, settings=pretrain,
            folder_of_curves=arguments.curves,
        )  # fmt: skip
    write_model(
        arguments.checkpoint, network, round_=0, trial=arguments.trial,
        image_size=split.image_size, data_hash=split.data_hash, seed=seed, sections=sections,
    )  # fmt: skip
    files.write_table(arguments.losses, pd.DataFrame(records, columns=_COLUMNS))
    resume.finish()


def _trained_network(
    path: Path | None,
    device: torch.device,
    *,
    split: Split,
    trial: int,
    model: schema.Model,
    numerics: schema.Numerics,
) -> Network:
    """Return the network of a checkpoint that takes the place of stage one."""
    if path is None:
        raise SalcrError("--from-checkpoint is needed where --pretrain-checkpoint is set")
    network, _ = read_model(path, device, numerics, split=split, trial=trial)
    if (network.backbone, network.width) != (model.backbone, model.width):
        raise SalcrError(
            f"{path}: is a {network.backbone} of width {network.width}; set model.backbone and "
            "model.width to these"
        )
    say(f"{path}: takes the place of stage one")
    return network


def load_backbone(network: Network, path: Path | None) -> None:
    """Load a torchvision state dict into the trunk and both stems.

    Raises:
        SalcrError: the file is missing, damaged, or of another backbone.
    """
    if path is None:
        raise SalcrError("--weights-file is needed unless --model-weights is random")
    state = files.read_state_dict(path)
    for module in (network.trunk, network.visible_stem, network.infrared_stem):
        # Counters of batches are not in torchvision's older files, nor does anything use them.
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


def _train(
    network: Network,
    split: Split,
    resume: Resume,
    *,
    seeds: tuple[int, ...],
    clustering: schema.Clustering,
    memory: schema.Memory,
    augment: schema.Augment,
    optimizer: schema.Optimizer,
    settings: schema.Pretrain,
    folder_of_curves: Path | None,
) -> list[dict[str, float]]:
    """Train the network, in place, for the epochs that are left; return the records of all."""
    adam = make_optimizer(network, settings.learning_rate, optimizer.weight_decay)
    records: list[dict[str, float]] = []
    if (saved := resume.load(network.part_tokens.device)) is not None:
        network.load_state_dict(saved["network"])
        adam.load_state_dict(saved["adam"])
        records = saved["records"]
        say(f"{resume.path}: going on after epoch {len(records)}")
    with drawn(folder_of_curves, first=len(records)) as add_points:
        for epoch in range(len(records), settings.epochs):
            started = time.monotonic()
            adam.learning_rate = decayed_rate(settings.learning_rate, settings.milestones, epoch)
            means = _train_epoch(
                network, adam, split, seeds=(*seeds, epoch),
                settings=settings, clustering=clustering, memory=memory, augment=augment,
            )  # fmt: skip
            records.append({"epoch": epoch, "learning_rate": adam.learning_rate, **means})
            shown = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
            say(f"epoch {epoch + 1}/{settings.epochs}: {shown}, {time.monotonic() - started:.1f} s")
            state = {"network": network.state_dict(), "adam": adam.state_dict()}
            resume.save({**state, "records": records})
            add_points(epoch, means)
    return records


def _train_epoch(
    network: Network,
    adam: Adam,
    split: Split,
    *,
    seeds: tuple[int, ...],
    settings: schema.Pretrain,
    clustering: schema.Clustering,
    memory: schema.Memory,
    augment: schema.Augment,
) -> dict[str, float]:
    """Cluster each modality, train `iterations` steps, return the mean losses."""
    sides = {"visible": split.visible, "infrared": split.infrared}
    labels, memories = {}, {}
    for modality, images in sides.items():
        extracted, _ = extract(network, images, modality)
        labels[modality] = cluster(extracted, clustering, modality)
        memories[modality] = initial_memory(extracted, labels[modality])
        if len(memories[modality]) < settings.clusters:
            warn(
                f"{modality}: fewer than the {settings.clusters} clusters that a batch wants "
                "(pretrain.clusters); the batches of this epoch are smaller"
            )
    network.train()
    totals: Counter[str] = Counter()
    for iteration in progress(range(settings.iterations), title="pretrain"):
        rng = generator(*seeds, iteration)
        rows = {
            modality: cluster_batch(
                labels[modality], clusters=settings.clusters, instances=settings.instances, rng=rng
            )
            for modality in sides
        }
        features = _forward(network, split, rows, rng, augment)
        targets = {
            "visible": np.tile(labels["visible"][rows["visible"]], 2),  # rows of v, then of a
            "infrared": labels["infrared"][rows["infrared"]],
        }
        losses = {
            m: cluster_loss(
                features[m],
                memories[m],
                torch.from_numpy(targets[m]).to(features[m].device),
                memory.temperature,
            )
            for m in sides
        }
        losses["total"] = losses["visible"] + losses["infrared"]
        totals.update(descend(losses, adam))
        for m in sides:
            memories[m] = updated_memory(memories[m], features[m], targets[m], memory.momentum)
    return {name: total / settings.iterations for name, total in totals.items()}


def _forward(
    network: Network,
    split: Split,
    rows: dict[str, Integers],
    rng: np.random.Generator,
    augment: schema.Augment,
) -> dict[str, torch.Tensor]:
    """Return the unit global features of a batch: "visible" rows [v; a] and "infrared" rows."""
    device = network.part_tokens.device
    visible = split.visible.batch(rows["visible"]).to(device)
    infrared = split.infrared.batch(rows["infrared"]).to(device)
    v = transforms.visible_view(visible, rng, augment, ltg=True)
    a = transforms.augmented_view(visible, rng, augment)
    r = transforms.infrared_view(infrared, rng, augment)
    features = unit(network.forward_global(torch.cat([v, a]), r))
    return {"visible": features[: 2 * len(v)], "infrared": features[2 * len(v) :]}
