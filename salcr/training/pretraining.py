"""The training loop of stage one: contrastive learning within each modality (METHOD 2)."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from salcr.config.schema import Augment, Config
from salcr.data import transforms
from salcr.data.samplers import sample_cluster_batch
from salcr.data.store import Split
from salcr.log import progress, say, warn
from salcr.losses.memory import cluster_loss, initialize_memory, update_memory
from salcr.models.features import extract, l2_normalize
from salcr.models.network import Network
from salcr.pseudo_labels.clustering import cluster
from salcr.training.optimizer import Adam, decayed_rate, make_optimizer, optimizer_step
from salcr.training.resume import Resume
from salcr.training.seeding import make_generator
from salcr.training.tensorboard import curve_writer
from salcr.types import Integers

_SEED_OF_BATCHES = 1


def pretrain(
    network: Network,
    split: Split,
    settings: Config,
    *,
    trial: int,
    resume: Resume,
    curves: Path | None,
) -> list[dict[str, float]]:
    """Train the network, in place, for the remaining epochs.

    Args:
        network: on the training device.
        split: the training images.
        settings: of the stage pretrain.
        trial: number of the split, part of the seeds.
        resume: the state after the last complete epoch of a job that was stopped.
        curves: folder for TensorBoard; None for no curves.

    Returns:
        for each epoch, including earlier ones, its number, learning rate and mean losses.

    Raises:
        SalcrError: a modality has no cluster, or a loss is not finite.
    """
    stage = settings.pretrain
    adam = make_optimizer(network, stage.learning_rate, settings.optimizer.weight_decay)
    records: list[dict[str, float]] = []
    if (saved := resume.load(network.part_tokens.device)) is not None:
        network.load_state_dict(saved["network"])
        adam.load_state_dict(saved["adam"])
        records = saved["records"]
        say(f"{resume.path}: resuming after epoch {len(records)}")
    with curve_writer(curves, first=len(records)) as add_points:
        for epoch in range(len(records), stage.epochs):
            started = time.monotonic()
            adam.learning_rate = decayed_rate(stage.learning_rate, stage.milestones, epoch)
            seeds = (settings.seed, trial, _SEED_OF_BATCHES, epoch)
            means = _train_epoch(network, adam, split, settings, seeds=seeds)
            records.append({"epoch": epoch, "learning_rate": adam.learning_rate, **means})
            summary = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
            say(f"epoch {epoch + 1}/{stage.epochs}: {summary}, {time.monotonic() - started:.1f} s")
            state = {"network": network.state_dict(), "adam": adam.state_dict()}
            resume.save({**state, "records": records})
            add_points(epoch, means)
    return records


def _train_epoch(
    network: Network, adam: Adam, split: Split, settings: Config, *, seeds: tuple[int, ...]
) -> dict[str, float]:
    """Cluster each modality, train for `iterations` steps and return the mean losses."""
    stage, memory = settings.pretrain, settings.memory
    labels, memories = {}, {}
    for modality, images in split.images.items():
        features, _ = extract(network, images, modality)
        labels[modality] = cluster(features, settings.clustering, modality)
        memories[modality] = initialize_memory(features, labels[modality])
        if len(memories[modality]) < stage.clusters:
            warn(
                f"{modality}: fewer clusters than the {stage.clusters} of a batch "
                "(pretrain.clusters); the batches of this epoch are smaller"
            )
    network.train()
    totals: Counter[str] = Counter()
    for iteration in progress(range(stage.iterations), title="pretrain"):
        rng = make_generator(*seeds, iteration)
        rows = {
            m: sample_cluster_batch(
                labels[m], clusters=stage.clusters, instances=stage.instances, rng=rng
            )
            for m in split.images
        }
        batch = _batch_features(network, split, rows, rng, settings.augment)
        targets = {
            "visible": np.tile(labels["visible"][rows["visible"]], 2),  # of v, then of a
            "infrared": labels["infrared"][rows["infrared"]],
        }
        losses = {
            m: cluster_loss(
                batch[m],
                memories[m],
                torch.from_numpy(targets[m]).to(batch[m].device),
                memory.temperature,
            )
            for m in targets
        }
        losses["total"] = losses["visible"] + losses["infrared"]
        totals.update(optimizer_step(losses, adam))
        for m in targets:
            memories[m] = update_memory(memories[m], batch[m], targets[m], memory.momentum)
    return {name: total / stage.iterations for name, total in totals.items()}


def _batch_features(
    network: Network,
    split: Split,
    rows: dict[str, Integers],
    rng: np.random.Generator,
    augment: Augment,
) -> dict[str, torch.Tensor]:
    """Return the unit global features of a batch by modality; the visible rows are [v; a]."""
    device = network.part_tokens.device
    visible, infrared = (side.batch(rows[m]).to(device) for m, side in split.images.items())
    v = transforms.visible_view(visible, rng, augment, ltg=True)
    a = transforms.augmented_view(visible, rng, augment)
    r = transforms.infrared_view(infrared, rng, augment)
    features = l2_normalize(network.forward_global(torch.cat([v, a]), r))
    return {"visible": features[: 2 * len(v)], "infrared": features[2 * len(v) :]}
