"""Rows of the benchmark: a step of stage two, and the metrics."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import plain_step
from benchmarks.row import Row
from salcr.config.method import Fgsal, Gpcr, Memory
from salcr.data.samplers import sample_pair_batch, shared_labels
from salcr.evaluation.metrics import Retrieval, retrieval_metrics
from salcr.losses import refinement
from salcr.losses.objective import StageTwoObjective, group_labels
from salcr.models.network import Features
from salcr.types import MODALITIES, PseudoLabels

_CLUSTERS, _IMAGES = 200, 2060
_LABELS, _INSTANCES, _PARTS, _WIDTH = 12, 12, 3, 2048
_MOMENTUM, _TEMPERATURE = 0.1, 0.05
_INSTANCE_ROWS, _NEAREST = 22_258, 30


class Step(NamedTuple):
    """The memories before a step, and its batch."""

    objective: StageTwoObjective
    features: Features
    labels: PseudoLabels[Any]


class StepResult(NamedTuple):
    """The loss of a step against the memories, and the memories after it."""

    loss: float
    memories: dict[Any, Tensor]


def _step() -> Step:
    """Return a step of 12 labels x 12 pairs; 40 % of the labels in the other space are noise."""
    rng, draws = np.random.default_rng(0), torch.Generator().manual_seed(0)

    def other(own: NDArray[np.int64], name: NDArray[np.int64]) -> NDArray[np.int64]:
        noise = rng.integers(0, _CLUSTERS, len(own))
        return np.where(rng.random(len(own)) < 0.4, noise, name[own])

    own = rng.permutation(np.arange(_IMAGES) % _CLUSTERS)
    names = rng.permutation(_CLUSTERS)
    association = PseudoLabels(own, other(own, names), own, other(own, np.argsort(names)))
    batch = sample_pair_batch(
        association, shared_labels(association), num_labels=_LABELS, instances=_INSTANCES, rng=rng
    )
    positions = (batch.visible, batch.visible, batch.infrared, batch.infrared)
    labels = PseudoLabels(
        *(torch.from_numpy(a[rows]) for a, rows in zip(association, positions, strict=True))
    )
    size = 3 * len(batch.visible)
    objective = StageTwoObjective(
        {s: F.normalize(torch.randn(_IMAGES, _WIDTH, generator=draws), dim=1) for s in MODALITIES},
        {s: torch.randn(_PARTS, _IMAGES, _WIDTH, generator=draws) for s in MODALITIES},
        dict.fromkeys(MODALITIES, own),
        memory=Memory(momentum=_MOMENTUM, temperature=_TEMPERATURE, released_gradient=False),
        fgsal=Fgsal(enabled=True, parts=_PARTS, released_cross_pattern=False),
        gpcr=Gpcr(mode="none", k=_NEAREST, weight=0.5),
        label_space="dual",
    )
    parts = [torch.randn(size, _PARTS, _WIDTH, generator=draws) for _ in range(3)]
    return Step(objective, Features(torch.randn(size, _WIDTH, generator=draws), *parts), labels)


def _our_step(step: Step) -> StepResult:
    objective = copy.copy(step.objective)
    objective.global_memory = dict(objective.global_memory)
    objective.part_memory = dict(objective.part_memory)
    features = objective.normalize(step.features)
    losses = objective.losses(features, step.labels)
    objective.update(features, step.labels, np.random.default_rng(1))
    return StepResult(losses["total"].item(), {**objective.global_memory, **objective.part_memory})


def _plain_step(step: Step) -> StepResult:
    rng = np.random.default_rng(1)
    global_features, *patterns = (F.normalize(rows, dim=-1) for rows in step.features)
    labels, half = step.labels, 2 * len(step.labels.visible)
    total = 0.0
    memories: dict[Any, Tensor] = {}

    def order(size: int) -> Tensor:
        return torch.from_numpy(rng.permutation(size))

    for space, memory in step.objective.global_memory.items():
        target = group_labels(labels, space)
        loss, memories[space] = plain_step.memory_step(
            memory, global_features, target, order(len(target)), _MOMENTUM, _TEMPERATURE
        )
        total += loss.item()
    for (side, space), memory in step.objective.part_memory.items():
        of = slice(0, half) if side == "visible" else slice(half, None)
        rows = torch.cat([pattern[of] for pattern in patterns])
        target = labels.of(side, space).repeat(len(rows) // len(labels.visible))
        samples, parts = order(len(target)), []
        for part in range(_PARTS):
            loss, updated = plain_step.memory_step(
                memory[part], rows[:, part], target, samples, _MOMENTUM, _TEMPERATURE
            )
            total += loss.item() / _PARTS
            parts.append(updated)
        memories[side, space] = torch.stack(parts)
    return StepResult(total, memories)


def _steps_agree(ours: StepResult, plain: StepResult) -> None:
    np.testing.assert_allclose(ours.loss, plain.loss, rtol=1e-5)
    assert ours.memories.keys() == plain.memories.keys()
    for name, memory in plain.memories.items():
        torch.testing.assert_close(ours.memories[name], memory, rtol=0, atol=1e-6)


def _gallery() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return distances, query and gallery identities: 206 people, ten images each."""
    rng = np.random.default_rng(0)
    people, identity = rng.standard_normal((206, 64)), np.repeat(np.arange(206), 10)
    query, gallery = (
        people[identity] + 1.5 * rng.standard_normal((len(identity), 64)) for _ in range(2)
    )
    distance = (query**2).sum(1)[:, None] + (gallery**2).sum(1) - 2 * query @ gallery.T
    return distance.astype(np.float32), identity, identity


def _metrics_agree(ours: Retrieval, plain: tuple[NDArray[np.float64], float, float]) -> None:
    np.testing.assert_allclose(ours.cmc, plain[0], rtol=1e-12)
    np.testing.assert_allclose([ours.map, ours.minp], plain[1:], rtol=1e-12)


def _similarity() -> Tensor:
    """Return cosines [3 x 144, 22,258] of aligned triplets and instances."""
    draws = torch.Generator().manual_seed(0)
    people = torch.randn(400, 64, generator=draws)
    rows = people[:144].repeat(3, 1) + 0.3 * torch.randn(432, 64, generator=draws)
    instances = people[torch.arange(_INSTANCE_ROWS) % 400]
    instances = instances + torch.randn(_INSTANCE_ROWS, 64, generator=draws)
    return F.normalize(rows, dim=1) @ F.normalize(instances, dim=1).T


def _our_positives(similarity: Tensor) -> tuple[Tensor, Tensor]:
    v, a, r = refinement.nearest_instances(similarity, _NEAREST).chunk(3)
    return v, refinement.isin_rows(v, a) & refinement.isin_rows(v, r)


def _positives_agree(ours: tuple[Tensor, Tensor], plain: Tensor) -> None:
    assert plain.any(), "there are no positives to compare"
    assert torch.equal(torch.zeros_like(plain).scatter_(1, *ours), plain)


ROWS = [
    Row(
        "memory logits and updates of a stage-two step",
        "5x; at most 2,000 operations of torch (tests/test_step_operations.py)",
        _step,
        _our_step,
        _plain_step,
        _steps_agree,
        repeat=7,
    ),
    Row(
        "RegDB metrics, 2,060 x 2,060",
        "0.15 s",
        _gallery,
        lambda inputs: retrieval_metrics(*inputs),
        lambda inputs: plain_step.metrics(*inputs),
        _metrics_agree,
        repeat=7,
    ),
    Row(
        "positives among 22,258 instances, 432 rows",
        "top-k, no full sort",
        _similarity,
        _our_positives,
        lambda s: plain_step.positives(s, _NEAREST),
        _positives_agree,
        repeat=7,
    ),
]
