"""The training loop of stage two: one round trains an epoch on its pseudo-labels (METHOD 3)."""

from __future__ import annotations

import math
import time
from collections import Counter

import numpy as np
import torch

from salcr.config.schema import Config
from salcr.data import transforms
from salcr.data.samplers import PairBatch, sample_pair_batch, shared_labels
from salcr.data.store import Split
from salcr.errors import SalcrError
from salcr.log import progress, say, warn
from salcr.losses.objective import StageTwoObjective
from salcr.models.features import Extracted, extract, part_blocks
from salcr.models.network import Network
from salcr.training.optimizer import Adam, finite_values
from salcr.training.seeding import make_generator
from salcr.types import MODALITIES, Integers, PseudoLabels

_SEED_OF_BATCHES = 3


def train_round(
    network: Network,
    adam: Adam,
    split: Split,
    labels: PseudoLabels[Integers],
    clusters: dict[str, Integers],
    settings: Config,
    *,
    trial: int,
    round_: int,
    extracted: dict[str, Extracted] | None = None,
) -> dict[str, float]:
    """Train the network for an epoch, in place, and return the mean losses by name.

    Args:
        network: on the training device.
        adam: optimizer of the network.
        split: the training images.
        labels: pseudo-labels of the round, in both label spaces.
        clusters: modality -> [N] DBSCAN labels, which initialize the memories.
        settings: of the stage train.
        trial: number of the split, part of the seeds.
        round_: number of the round, from 1, part of the seeds.
        extracted: modality -> what `extract` returns for this network, emptied once it is used, so
            that its memory is free; None: they are extracted.

    Raises:
        SalcrError: the modalities do not share a pseudo-label, images have no label in a space in
            which they are trained, or a loss is not finite.
    """
    started = time.monotonic()
    stage, augment = settings.train, settings.augment
    if extracted is None:
        extracted = {m: extract(network, images, m) for m, images in split.images.items()}
    objective = _initial_objective(network, extracted, clusters, settings)
    extracted.clear()
    _require_labels(labels, objective)
    shared = _require_shared_labels(labels, stage.labels)
    _warn_of_sizes(objective, split.image_size[0], settings)
    sizes = ", ".join(f"{len(rows)} {space}" for space, rows in objective.global_memory.items())
    say(f"first of {stage.iterations} batches; clusters: {sizes}")
    network.train()
    device = network.part_tokens.device
    totals: Counter[str] = Counter()
    for iteration in progress(range(stage.iterations), title="train"):
        rng = make_generator(settings.seed, trial, _SEED_OF_BATCHES, round_, iteration)
        batch = sample_pair_batch(
            labels, shared, num_labels=stage.labels, instances=stage.instances, rng=rng
        )
        visible = split.images["visible"].batch(batch.visible, device)
        infrared = split.images["infrared"].batch(batch.infrared, device)
        features = objective.normalize(
            network.forward_aligned(
                transforms.visible_view(visible, rng, augment, ltg=False),
                transforms.augmented_view(visible, rng, augment),
                transforms.infrared_view(infrared, rng, augment),
            )
        )
        targets = _targets(labels, batch)
        losses = objective.losses(features, targets)
        totals.update(finite_values(losses))
        adam.zero_grad()
        losses["total"].backward()
        adam.step()
        objective.update(features, targets, rng)
    means = {name: total / stage.iterations for name, total in totals.items()}
    summary = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
    say(f"round {round_}: {summary}, {time.monotonic() - started:.1f} s")
    return means


def _initial_objective(
    network: Network,
    features: dict[str, Extracted],
    clusters: dict[str, Integers],
    settings: Config,
) -> StageTwoObjective:
    """Return the objective with memories that are initialized from the network's features."""
    return StageTwoObjective(
        {m: global_features for m, (global_features, _) in features.items()},
        {m: part_blocks(joint, network.num_parts) for m, (_, joint) in features.items()},
        clusters,
        memory=settings.memory,
        fgsal=settings.fgsal,
        gpcr=settings.gpcr,
        label_space=settings.train.label_space,
    )


def _require_labels(labels: PseudoLabels[Integers], objective: StageTwoObjective) -> None:
    """Refuse labels of which a modality has none in a space in which it is trained."""
    for modality in MODALITIES:
        sampled = np.any([labels.of(modality, space) >= 0 for space in MODALITIES], axis=0)
        for space in objective.spaces(modality):
            if sampled.any() and (labels.of(modality, space)[sampled] < 0).all():
                raise SalcrError(
                    f"{modality} images have no label in the {space} space, in which they would be "
                    "trained: labels of otla need train.label_space: visible; with a gate, lower "
                    "associate.gate_similarity"
                )


def _require_shared_labels(
    labels: PseudoLabels[Integers], num_labels: int
) -> tuple[Integers, Integers]:
    shared = shared_labels(labels)
    if not any(len(candidates) for candidates in shared):
        raise SalcrError(
            "visible and infrared images do not share a pseudo-label: raise clustering.eps or "
            "lower clustering.min_samples, so that more images are clustered"
        )
    wanted = num_labels // sum(len(candidates) > 0 for candidates in shared)
    for space, candidates in zip(MODALITIES, shared, strict=True):
        if len(candidates) == 0:
            say(
                f"{space} space: no shared labels; the batches take all labels from the other space"
            )
        elif len(candidates) < wanted:
            warn(
                f"{space} space: both modalities share {len(candidates)} labels, but a batch has "
                f"{wanted} of the {num_labels} in train.labels; the batches are smaller"
            )
    return shared


def _warn_of_sizes(objective: StageTwoObjective, height: int, settings: Config) -> None:
    """Warn of settings that the data make meaningless, with the numbers."""
    rows, k = math.ceil(height / 16), settings.gpcr.k  # the backbone halves the height four times
    if settings.fgsal.parts > rows:
        warn(
            f"fgsal.parts is {settings.fgsal.parts}, but the feature map has {rows} rows: stripes "
            "are narrower than one; raise preprocess.height"
        )
    for space, instances in objective.instances.items():
        if settings.gpcr.mode != "none" and k >= len(instances):
            warn(
                f"{space} space: gpcr.k is {k}, but only {len(instances)} images are clustered: "
                "all are positives, so the refinement is 0; lower gpcr.k"
            )


def _targets(labels: PseudoLabels[Integers], batch: PairBatch) -> PseudoLabels[torch.Tensor]:
    rows = (batch.visible, batch.visible, batch.infrared, batch.infrared)
    columns = (c[r] for c, r in zip(labels, rows, strict=True))
    return PseudoLabels(*map(torch.from_numpy, columns))
