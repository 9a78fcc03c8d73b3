"""The objective of stage two: initial memories, losses, and updates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from salcr.config.method import Fgsal, Gpcr, Memory
from salcr.losses.objective import StageTwoObjective
from salcr.models.network import Features
from salcr.types import PseudoLabels
from tests.reference.slow_losses import losses as losses_of
from tests.support.golden_step import SPACES, check_gradients, golden_step
from tests.support.helpers import (
    ATOL,
    close,
    mean_directions,
    sequential_memory,
    unit_rows,
)

MOMENTUM = 0.1
PARTS, WIDTH, PAIRS = 2, 6, 4


class InOrder:
    """A generator whose permutations change nothing, so that samples are used in batch order."""

    def permutation(self, size: int) -> np.ndarray:
        """Return 0 .. size - 1."""
        return np.arange(size)


def objective(
    inputs: tuple[dict, dict, dict],
    *,
    enabled: bool = True,
    released: bool = False,
    mode: str = "both",
    k: int = 3,
    weight: float = 0.5,
    label_space: str = "dual",
) -> StageTwoObjective:
    """Return the objective of (global, parts, clusters) with the paper's settings."""
    return StageTwoObjective(
        *inputs,
        label_space=label_space,
        memory=Memory(momentum=MOMENTUM, temperature=0.05, released_gradient=False),
        fgsal=Fgsal(enabled=enabled, parts=PARTS, released_cross_pattern=released),
        gpcr=Gpcr(mode=mode, k=k, weight=weight),
    )


@pytest.fixture
def arrays(rng):
    """Return eval-mode global features, part blocks of arbitrary length, and clusters."""
    clusters = {
        "visible": np.array([0, 3, 1, -1, 2, 0, 1, 3, -1, 2]),
        "infrared": np.array([2, 0, -1, 1, 1, 0, 2]),
    }
    global_ = {s: unit_rows(rng, len(clusters[s]), WIDTH) for s in SPACES}
    parts = {
        s: rng.standard_normal((PARTS, len(clusters[s]), WIDTH)).astype(np.float32) for s in SPACES
    }
    return global_, parts, clusters


@pytest.fixture
def start(arrays, device):
    """Return the same inputs with features as tensors on the device."""
    global_, parts, clusters = arrays

    def on_device(side: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {s: torch.from_numpy(side[s]).to(device) for s in SPACES}

    return on_device(global_), on_device(parts), clusters


@pytest.fixture
def batch(rng, device):
    """Return unnormalized features of four pairs and labels that leave some clusters out."""

    def draw(*shape: int) -> torch.Tensor:
        rows = rng.standard_normal((3 * PAIRS, *shape)).astype(np.float32)
        return torch.from_numpy(rows).to(device)

    features = Features(draw(WIDTH), *(draw(PARTS, WIDTH) for _ in range(3)))
    labels = PseudoLabels(
        visible=torch.tensor([0, 2, 2, 0]),
        visible_to_infrared=torch.tensor([1, 1, 0, 1]),
        infrared=torch.tensor([2, 2, 1, 2]),
        infrared_to_visible=torch.tensor([3, 0, 0, 3]),
    )
    return features, PseudoLabels(*(side.to(device) for side in labels))


def unit(rows: torch.Tensor) -> np.ndarray:
    """Return normalized rows as an array."""
    return normalize(rows, dim=-1).cpu().numpy()


def on_host(labels: PseudoLabels[torch.Tensor]) -> PseudoLabels[torch.Tensor]:
    """Return the labels in the memory of the CPU."""
    return PseudoLabels(*(label.cpu() for label in labels))


def with_golden_memories(step: Any, inputs: tuple, **switches: Any) -> StageTwoObjective:
    """Return an objective whose memories are those of the golden step."""
    criterion = objective(inputs, k=step.k, **switches)
    criterion.global_memory, criterion.part_memory = step.global_memory, step.part_memory
    criterion.instances, criterion.part_instances = step.instances, step.part_instances
    return criterion


@pytest.mark.parametrize("prefix", ["", "released_"])
def test_losses_match_the_released_code(golden, device, start, prefix):
    """The named losses, their total and its gradient equal those of the released code."""
    data, step = golden("losses"), golden_step(device)
    criterion = with_golden_memories(step, start, released=bool(prefix))
    losses = criterion.losses(criterion.normalize(step.features), step.labels)
    names = ("global", "part_visible", "part_infrared", "instance_global", "instance_part")
    released = {name: data[f"{prefix}loss_{name}"] for name in names}
    expected = {
        "global": released["global"],
        "part": released["part_visible"] + released["part_infrared"],
        "refine": released["instance_global"] + released["instance_part"],
    }
    weight = float(data["lambda_refine"])
    expected["total"] = expected["global"] + expected["part"] + weight * expected["refine"]
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        close(losses[name], np.float32(value))
    losses["total"].backward()
    check_gradients(step, prefix)


@pytest.mark.parametrize(
    ("enabled", "mode", "kept"),
    [
        (True, "both", ["part", "instance_global", "instance_part"]),
        (True, "global", ["part", "instance_global"]),
        (True, "part", ["part", "instance_part"]),
        (True, "none", ["part"]),
        (False, "both", ["instance_global", "instance_part"]),
        (False, "global", ["instance_global"]),
        (False, "part", ["instance_part"]),
        (False, "none", []),
    ],
)
def test_switches_leave_out_their_loss(golden, device, start, enabled, mode, kept):
    """Each switch removes its own terms, and no others, from the total and from the report."""
    data, step = golden("losses"), golden_step(device)
    criterion = with_golden_memories(step, start, enabled=enabled, mode=mode, weight=0.25)
    losses = criterion.losses(criterion.normalize(step.features), step.labels)
    expected = {"global": float(data["loss_global"])}
    if "part" in kept:
        expected["part"] = float(data["loss_part_visible"] + data["loss_part_infrared"])
    refined = [float(data[f"loss_{name}"]) for name in kept if name.startswith("instance")]
    if refined:
        expected["refine"] = sum(refined)
    weights = {"global": 1, "part": 1, "refine": 0.25}
    expected["total"] = sum(weights[name] * value for name, value in expected.items())
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        close(losses[name], np.float32(value))


@pytest.mark.parametrize("prefix", ["", "released_"])
def test_without_part_losses_the_refinement_alone_trains_the_parts(golden, device, start, prefix):
    """Value and gradients are those of L_global + weight * L_refine, both terms of it.

    The slow losses are linear in the weight, so two weights give the gradient of L_refine; the
    global rows are all that L_global has, and L_part does not have them.
    """
    data, step = golden("losses"), golden_step(device)
    criterion = with_golden_memories(step, start, released=bool(prefix), enabled=False)
    total = criterion.losses(criterion.normalize(step.features), step.labels)["total"]
    total.backward()
    plain, refined = (losses_of({**data, "lambda_refine": weight}) for weight in (0.0, 1.0))
    terms = [
        plain[f"{prefix}loss_{name}"] for name in ("global", "instance_global", "instance_part")
    ]
    close(total, np.float32(terms[0] + 0.5 * (terms[1] + terms[2])))
    for name, leaf in step.leaves.items():
        gradient = f"{prefix}grad_{name}"
        expected = 0.5 * (refined[gradient] - plain[gradient])
        assert np.abs(expected).max() > 1e-4
        if name.startswith("global"):
            expected += plain[gradient]
        close(leaf.grad, expected.astype(np.float32), atol=ATOL / 10)


def test_memories_start_from_the_clusters(arrays, start):
    """Rows are mean directions of clusters; both modalities of a space start with equal rows."""
    global_, parts, clusters = arrays
    criterion = objective(start)
    for space in SPACES:
        close(criterion.global_memory[space], mean_directions(global_[space], clusters[space]))
        for part in range(PARTS):
            expected = mean_directions(parts[space][part], clusters[space])
            for side in SPACES:
                close(criterion.part_memory[side, space][part], expected)


def test_instances_are_the_clustered_images(arrays, start):
    """Instance memories hold unit rows of all images except the outliers, in their order."""
    global_, parts, clusters = arrays
    criterion = objective(start)
    for space in SPACES:
        kept = clusters[space] >= 0
        close(criterion.instances[space], global_[space][kept])
        rows = parts[space][:, kept]
        lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
        close(criterion.part_instances[space], rows / lengths)


def memories(criterion: StageTwoObjective) -> dict[Any, torch.Tensor]:
    """Return copies of all six cluster memories by name."""
    return {
        key: value.clone()
        for key, value in (criterion.global_memory | criterion.part_memory).items()
    }


TOUCHED = {  # for each memory, the labels in the batch
    "visible": {0, 2, 3},
    "infrared": {0, 1, 2},
    ("visible", "visible"): {0, 2},
    ("visible", "infrared"): {0, 1},
    ("infrared", "visible"): {0, 3},
    ("infrared", "infrared"): {1, 2},
}


def test_update_changes_only_the_labels_of_the_batch(start, batch, rng):
    """Exactly the rows of the labels that each memory sees change, and remain unit vectors."""
    criterion = objective(start)
    before = memories(criterion)
    features, labels = batch
    criterion.update(criterion.normalize(features), on_host(labels), rng)
    for key, after in memories(criterion).items():
        changed = (after != before[key]).any(dim=-1)
        for part in changed.reshape(-1, changed.shape[-1]).tolist():
            assert {label for label, has in enumerate(part) if has} == TOUCHED[key], key
        close(after.norm(dim=-1), np.ones(after.shape[:-1]))


def test_update_in_batch_order_matches_a_loop(start, batch):
    """Every memory follows the sample-by-sample rule on the rows of METHOD 3.3."""
    features, labels = batch
    criterion = objective(start)
    before = {key: value.cpu().numpy() for key, value in memories(criterion).items()}
    criterion.update(criterion.normalize(features), on_host(labels), InOrder())
    v, vr, r, rv = (side.cpu().numpy() for side in labels)
    group_labels = {"visible": [v, v, rv], "infrared": [vr, vr, r]}
    after = memories(criterion)
    for space in SPACES:
        targets = np.concatenate(group_labels[space])
        rows = unit(features.global_features)
        close(after[space], sequential_memory(before[space], rows, targets, MOMENTUM))
    side_labels = {"visible": (v, vr), "infrared": (rv, r)}
    kept = {"visible": slice(0, 2 * PAIRS), "infrared": slice(2 * PAIRS, None)}
    for side in SPACES:
        rows = np.concatenate([unit(pattern)[kept[side]] for pattern in features[1:]])
        for space, own in zip(SPACES, side_labels[side], strict=True):
            targets = np.tile(own, len(rows) // PAIRS)
            for part in range(PARTS):
                start_rows = before[side, space][part]
                expected = sequential_memory(start_rows, rows[:, part], targets, MOMENTUM)
                close(after[side, space][part], expected)


def test_the_order_of_samples_is_random(start, batch):
    """Equal generators give equal memories; different ones process samples in another order."""
    results = []
    for seed in (1, 1, 2):
        criterion = objective(start)
        criterion.update(
            criterion.normalize(batch[0]), on_host(batch[1]), np.random.default_rng(seed)
        )
        results.append(memories(criterion))
    for key in TOUCHED:
        assert torch.equal(results[0][key], results[1][key])
        assert not torch.equal(results[0][key], results[2][key])


def test_samples_keep_their_labels_in_random_order(start, rng, device):
    """If all rows of a label are equal, the order cannot matter, so the loop's result holds."""
    numbers = np.array([0, 2, 1, 0])
    rows = unit_rows(rng, 3, WIDTH)[np.tile(numbers, 3)]
    parts = torch.from_numpy(np.repeat(rows[:, None], PARTS, axis=1)).to(device)
    features = Features(torch.from_numpy(rows).to(device), parts, parts, parts)
    labels = PseudoLabels(*[torch.from_numpy(numbers).to(device)] * 4)
    criterion = objective(start)
    before = memories(criterion)
    criterion.update(criterion.normalize(features), on_host(labels), rng)
    for key, after in memories(criterion).items():
        repeats = {"visible": 6, "infrared": 3}[key[0]] if isinstance(key, tuple) else 3
        used, targets = rows[np.tile(np.arange(PAIRS), repeats)], np.tile(numbers, repeats)
        first, last = (m.reshape(-1, *m.shape[-2:])[-1].cpu().numpy() for m in (before[key], after))
        close(last, sequential_memory(first, used, targets, MOMENTUM))


@pytest.mark.parametrize("mode", ["global", "both"])
def test_update_without_part_losses_leaves_their_memories(start, batch, rng, mode):
    """With the part losses off, only the global memories change; instances never do."""
    criterion = objective(start, enabled=False, mode=mode)
    before = memories(criterion)
    instances = {s: criterion.instances[s].clone() for s in SPACES}
    criterion.update(criterion.normalize(batch[0]), on_host(batch[1]), rng)
    changed = {
        key for key, value in memories(criterion).items() if not torch.equal(value, before[key])
    }
    assert changed == set(SPACES)
    assert all(torch.equal(criterion.instances[s], instances[s]) for s in SPACES)


def test_losses_do_not_change_the_memories(start, batch):
    """Computing the losses changes no memory, and no gradient reaches one."""
    criterion = objective(start)
    before = memories(criterion)
    features, labels = batch
    features = Features(*(part.clone().requires_grad_() for part in features))
    criterion.losses(criterion.normalize(features), labels)["total"].backward()
    assert all(part.grad is not None and part.grad.abs().sum() > 0 for part in features)
    for key, value in memories(criterion).items():
        assert torch.equal(value, before[key]) and not value.requires_grad


def test_images_without_a_label_in_a_space_are_left_out_there(start, batch, rng):
    """Losses are means over the others, as of a batch without them, and they move no memory.

    In the visible space of infrared images no label is left.
    """
    features, labels = batch
    crossing = labels.visible_to_infrared.clone()
    crossing[::2] = -1
    none = torch.full_like(labels.infrared_to_visible, -1)
    gated = labels._replace(visible_to_infrared=crossing, infrared_to_visible=none)
    criterion = objective(start)
    unit, tau = criterion.normalize(features), criterion.memory.temperature
    losses = criterion.losses(unit, on_host(gated))

    def mean(rows, memory, label):
        kept = [i for i, one in enumerate(label.tolist()) if one >= 0]
        of = [
            torch.nn.functional.cross_entropy((rows[i] @ memory.T / tau)[None], label[i][None])
            for i in kept
        ]
        return sum(of) / len(of) if of else 0

    v, a, r = unit.global_features.chunk(3)
    expected = sum(
        mean(torch.cat([v, a, r]), criterion.global_memory[space], torch.cat([of_v, of_v, of_r]))
        for space, of_v, of_r in (
            ("visible", gated.visible, none),
            ("infrared", crossing, gated.infrared),
        )
    )
    close(losses["global"], expected)
    num_parts = len(unit.parts["visible"])
    expected = sum(
        mean(
            unit.parts[side][part],
            criterion.part_memory[side, space][part],
            label.repeat(len(unit.parts[side][part]) // len(label)),
        )
        / num_parts
        for side, space, label in (
            ("visible", "visible", gated.visible),
            ("visible", "infrared", crossing),
            ("infrared", "visible", none),
            ("infrared", "infrared", gated.infrared),
        )
        for part in range(num_parts)
    )
    close(losses["part"], expected)
    before = memories(criterion)
    criterion.update(unit, on_host(gated), rng)
    after = memories(criterion)
    moved = {
        key: set((after[key] != before[key]).any(-1).nonzero()[..., -1].tolist()) for key in before
    }
    assert moved["infrared", "visible"] == set()
    assert moved["visible", "infrared"] == set(crossing[1::2].tolist())
    assert moved["infrared"] == {*crossing[1::2].tolist(), *gated.infrared.tolist()}
