"""The training loop of stage one: contrastive learning within each modality (METHOD 2)."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from salcr.config.method import Augment
from salcr.config.schema import Config
from salcr.data import transforms
from salcr.data.samplers import sample_cluster_batch
from salcr.data.store import Split
from salcr.log import progress, say, warn
from salcr.losses.memory import initialize_memory
from salcr.losses.stage_one import MODALITY_OF_VIEW, StageOneObjective
from salcr.models.features import extract, l2_normalize
from salcr.models.network import Network
from salcr.models.resnet import unchanged_running_statistics
from salcr.pseudo_labels.clustering import cluster
from salcr.training.optimizer import Adam, decayed_rate, finite_values, make_optimizer
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
    stage = settings.pretrain
    clusters, memories = {}, {}
    for modality, images in split.images.items():
        features, _ = extract(network, images, modality)
        clusters[modality] = cluster(features, settings.clustering, modality, tracks=images.tracks)
        memories[modality] = initialize_memory(features, clusters[modality])
        if len(memories[modality]) < stage.clusters:
            warn(
                f"{modality}: fewer clusters than the {stage.clusters} of a batch "
                "(pretrain.clusters); the batches of this epoch are smaller"
            )
    objective = StageOneObjective(
        memories,
        settings.memory,
        visible_loss=stage.visible_loss,
        last_update=stage.last_update,
    )
    network.train()
    totals: Counter[str] = Counter()
    for iteration in progress(range(stage.iterations), title="pretrain"):
        rng = make_generator(*seeds, iteration)
        rows = {
            m: sample_cluster_batch(
                clusters[m], clusters=stage.clusters, instances=stage.instances, rng=rng
            )
            for m in split.images
        }
        views = _views(split, rows, rng, settings.augment, network.part_tokens.device)
        labels = {view: clusters[m][rows[m]] for view, m in MODALITY_OF_VIEW.items()}
        adam.zero_grad()
        losses = backpropagate(network, objective, views, labels, stage.batch_norm)
        totals.update(finite_values(losses))
        adam.step()
    return {name: total / stage.iterations for name, total in totals.items()}


def _views(
    split: Split,
    rows: dict[str, Integers],
    rng: np.random.Generator,
    augment: Augment,
    device: torch.device,
) -> dict[str, torch.Tensor]:
    """Return the images of a batch, view -> [B, 3, H, W]."""
    visible, infrared = (side.batch(rows[m], device) for m, side in split.images.items())
    return {
        "plain": transforms.visible_view(visible, rng, augment, ltg=True),
        "augmented": transforms.augmented_view(visible, rng, augment),
        "infrared": transforms.infrared_view(infrared, rng, augment),
    }


def backpropagate(
    network: Network,
    objective: StageOneObjective,
    views: dict[str, torch.Tensor],
    labels: dict[str, Integers],
    batch_norm: str,
) -> dict[str, torch.Tensor]:
    """Add the gradients of a step to the network's and update the memories (METHOD 2.6 to 2.8).

    In halves, batch statistics are those of {plain view, first half of the infrared clusters} and
    {augmented view, second half}, and only the first half changes the running statistics. No loss
    couples the halves, so each is processed completely before the other, in half of the memory.

    Args:
        network: in training mode.
        objective: losses and memories.
        views: view -> [B, 3, H, W], normalized.
        labels: view -> [B], cluster of each image; infrared images cluster by cluster.
        batch_norm: "whole" or "halves".

    Returns:
        losses by name and their "total", without gradient.
    """
    num_rows = {view: len(images) for view, images in views.items()}
    whole = [dict.fromkeys(views, slice(None))]
    totals: dict[str, torch.Tensor] = {}
    objective.start_step()
    for part in _halves(objective.visible_views, labels) if batch_norm == "halves" else whole:
        images = {view: views[view][rows] for view, rows in part.items()}
        with nullcontext() if "plain" in part else unchanged_running_statistics(network):
            features = _unit_features(network, images)
        losses = objective.compare_and_update(
            features, {v: labels[v][part[v]] for v in part}, num_rows
        )
        losses["total"].backward()
        for name, loss in losses.items():
            totals[name] = totals.get(name, 0) + loss.detach()
    return totals


def _halves(visible_views: tuple[str, str], labels: dict[str, Integers]) -> list[dict[str, slice]]:
    """Return the rows of each half by view, in the order in which they update the memory."""
    infrared = labels["infrared"]
    starts = np.flatnonzero(np.diff(infrared, prepend=-1))  # of each cluster's rows
    middle = [*starts, len(infrared)][(len(starts) + 1) // 2]
    of_infrared = {"plain": slice(0, middle), "augmented": slice(middle, None)}
    return [{view: slice(None), "infrared": of_infrared[view]} for view in visible_views]


def _unit_features(network: Network, images: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the unit global features of the images, view -> [B, C], in one pass."""
    visible = [view for view in images if view != "infrared"]
    stacked = torch.cat([images[view] for view in visible])
    features = l2_normalize(network.forward_global(stacked, images["infrared"]))
    sizes = [len(images[view]) for view in (*visible, "infrared")]
    return dict(zip((*visible, "infrared"), features.split(sizes), strict=True))
