"""The losses of both stages, against the released code and derivations based on sets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from salcr.losses import refinement
from salcr.losses.memory import cluster_loss
from salcr.losses.objective import group_labels
from salcr.types import PseudoLabels
from tests.support.golden_step import SPACES, check_gradients, golden_step
from tests.support.helpers import close, unit_rows, unit_tensor

TAU = 0.05


def slow_cross_entropy(feature: np.ndarray, memory: np.ndarray, label: int) -> float:
    """Return -log softmax of the label's cosine over tau."""
    cosines = memory.astype(np.float64) @ feature
    return math.log(sum(math.exp((c - cosines[label]) / TAU) for c in cosines))


def nearest(feature: np.ndarray, instances: np.ndarray, k: int) -> set[int]:
    """Return N_k of a feature."""
    return set(np.argsort(-(instances @ feature))[:k].tolist())


def slow_instance_mean(anchors: list[tuple[np.ndarray, set[int]]], memory: np.ndarray) -> float:
    """Return the mean of -log(softmax mass on the positives) over anchors that have positives."""
    losses = []
    for feature, positives in anchors:
        if positives:
            weights = np.exp(memory.astype(np.float64) @ feature / TAU)
            losses.append(-math.log(weights[sorted(positives)].sum() / weights.sum()))
    return float(np.mean(losses)) if losses else 0.0


def slow_refine_global(features: np.ndarray, instances: np.ndarray, k: int) -> float:
    """Return the global refinement loss (METHOD 3.3) in one memory, triplet by triplet."""
    anchors = []
    for triplet in zip(*np.split(features, 3), strict=True):
        positives = set.intersection(*(nearest(f, instances, k) for f in triplet))
        anchors += [(f, positives) for f in triplet]
    return slow_instance_mean(anchors, instances)


def slow_refine_parts(
    features: np.ndarray, instances: np.ndarray, f: dict, part_instances: np.ndarray, k: int
) -> float:
    """Return the part refinement loss (METHOD 3.3); f[q, m][j] is [P, C], q and m in "var"."""
    losses = []
    for part, memory in enumerate(part_instances):
        anchors = []
        for q, m in itertools.product("var", "var"):
            for j, of_global in enumerate(np.split(features, 3)["var".index(q)]):
                others = [f[q, n][j][part] for n in "var" if n != m]
                similar = nearest(others[0], memory, k) | nearest(others[1], memory, k)
                anchors.append((f[q, m][j][part], similar & nearest(of_global, instances, k)))
        losses.append(slow_instance_mean(anchors, memory))
    return float(np.mean(losses))


def random_parts(rng: np.random.Generator, pairs: int, parts: int, width: int) -> dict:
    """Return f[q, m] of shape [S, P, C] for all queries and maps, similar within a pair."""
    base = rng.standard_normal((pairs, parts, width))
    noisy = {
        key: base + 0.5 * rng.standard_normal(base.shape) for key in itertools.product("var", "var")
    }
    return {
        key: (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)
        for key, x in noisy.items()
    }


def stacked(f: dict, *pairs: str) -> torch.Tensor:
    """Return the rows f(q, m) of pairs such as "vr" one after another."""
    return torch.from_numpy(np.concatenate([f[q, m] for q, m in pairs]))


def parts_of(f: dict, released: bool = False) -> dict[str, torch.Tensor]:
    """Return f as the network passes it on, in the order of METHOD 1, by modality."""
    return refinement.part_rows(
        stacked(f, "vv", "aa", "rr"),
        stacked(f, "vr", "ar", "rv"),
        stacked(f, "va", "av", "ra"),
        released=released,
    )


def refined_global(
    features: torch.Tensor, instances: torch.Tensor, k: int, tau: float = TAU
) -> torch.Tensor:
    """Return the global refinement loss of features [3S, C] in a memory [N, C]."""
    logits = refinement.instance_logits(features, instances, tau)
    return refinement.refine_global(logits, refinement.nearest_instances(logits, k))


def refined_parts(
    features: torch.Tensor,
    instances: torch.Tensor,
    parts: dict[str, torch.Tensor],
    part_instances: torch.Tensor,
    k: int,
    tau: float = TAU,
) -> torch.Tensor:
    """Return the part refinement loss of features [3S, C] and their part rows by modality."""
    neighbors = refinement.nearest_instances(
        refinement.instance_logits(features, instances, tau), k
    )
    return refinement.refine_parts(neighbors, parts, part_instances, tau)


@pytest.mark.parametrize("prefix", ["", "released_"])
def test_step_matches_the_released_code(golden, device, prefix):
    """All five losses and the gradient of their sum equal those of the released code."""
    data, step = golden("losses"), golden_step(device)
    global_ = normalize(step.features.global_features, dim=-1)
    parts = refinement.part_rows(*step.features[1:], released=bool(prefix))
    labels, k, tau = step.labels, step.k, step.temperature
    by_side = {
        "visible": (labels.visible, labels.visible_to_infrared),
        "infrared": (labels.infrared_to_visible, labels.infrared),
    }
    losses = {
        "global": sum(
            cluster_loss(global_, step.global_memory[s], group_labels(labels, s), tau)
            for s in SPACES
        ),
        "instance_global": sum(refined_global(global_, step.instances[s], k, tau) for s in SPACES),
        "instance_part": sum(
            refined_parts(global_, step.instances[s], parts, step.part_instances[s], k, tau)
            for s in SPACES
        ),
    }
    for side, targets in by_side.items():
        rows = parts[side]
        losses[f"part_{side}"] = sum(
            cluster_loss(rows, step.part_memory[side, s], t.repeat(rows.shape[1] // 12), tau)
            for s, t in zip(SPACES, targets, strict=True)
        )
    for name, loss in losses.items():
        close(loss, np.float32(data[f"{prefix}loss_{name}"]))
    refine = losses.pop("instance_global") + losses.pop("instance_part")
    (sum(losses.values()) + float(data["lambda_refine"]) * refine).backward()
    check_gradients(step, prefix)


def test_memory_loss_matches_the_released_code(golden, device):
    """Mean loss and gradient of a stage-one batch equal those of the released code."""
    data = golden("memory")
    inputs = torch.tensor(data["inputs"], device=device).requires_grad_()
    memory = torch.tensor(data["initial"], device=device)
    targets = torch.tensor(data["targets"], device=device)
    loss = cluster_loss(normalize(inputs, dim=1), memory, targets, TAU)
    loss.backward()
    close(loss, np.float32(data["loss"]))
    close(inputs.grad, data["grad_inputs"], atol=1e-6)


def test_memory_logits_match_the_released_code(golden):
    """The loss of one row against each label in turn is -log softmax of the released logits."""
    data = golden("memory")
    memory, logits = torch.tensor(data["initial"]), torch.tensor(data["logits"])
    for row, released in zip(normalize(torch.tensor(data["inputs"]), dim=1), logits, strict=True):
        row_losses = [
            cluster_loss(row[None], memory, torch.tensor([label]), TAU).item()
            for label in range(len(memory))
        ]
        close(row_losses, -released.log_softmax(dim=0).numpy())


def test_cluster_loss_is_a_mean_over_rows_and_parts(rng, device):
    """Every row of every part has equal weight, and each part uses its own memory."""
    features, memory = unit_rows(rng, 2, 5, 7), unit_rows(rng, 2, 4, 7)
    labels = rng.integers(0, 4, 5)
    expected = np.mean(
        [
            slow_cross_entropy(features[part, i], memory[part], labels[i])
            for part, i in itertools.product(range(2), range(5))
        ]
    )
    arguments = (torch.from_numpy(a).to(device) for a in (features, memory, labels))
    close(cluster_loss(*arguments, TAU), np.float32(expected))


def test_labels_of_groups_are_in_row_order():
    """Rows v and a carry the visible images' labels, rows r the infrared images'."""
    labels = PseudoLabels(*(torch.tensor([10 * i, 10 * i + 1]) for i in range(1, 5)))
    assert group_labels(labels, "visible").tolist() == [10, 11, 10, 11, 40, 41]
    assert group_labels(labels, "infrared").tolist() == [20, 21, 20, 21, 30, 31]


@pytest.mark.parametrize("released", [False, True])
def test_part_rows_follow_the_query(rng, released):
    """Visible: all f(v, .) and f(a, .); infrared: all f(r, .); the slip replaces only f(a,r)."""
    f = random_parts(rng, 2, 3, 4)
    rows = parts_of(f, released)
    for side, pairs in (
        ("visible", ("vv", "aa", "vr", "av" if released else "ar", "va", "av")),
        ("infrared", ("rr", "rv", "ra")),
    ):
        close(rows[side], stacked(f, *pairs).transpose(0, 1), atol=1e-6)


def test_part_rows_are_normalized_part_by_part(rng):
    """Every part of every row has length 1, whatever the lengths from the network."""
    patterns = [torch.from_numpy(rng.standard_normal((6, 2, 5)) * 7) for _ in range(3)]
    for rows in refinement.part_rows(*patterns, released=False).values():
        close(rows.norm(dim=-1), np.ones(rows.shape[:-1]))


@pytest.mark.parametrize("k", [3, 6, 15, 100])
def test_global_refinement_matches_sets(rng, device, k):
    """Positives are common nearest instances; anchors without one do not count."""
    features, instances = unit_rows(rng, 12, 3), unit_rows(rng, 15, 3)
    expected = slow_refine_global(features, instances, k)
    inputs = (torch.from_numpy(a).to(device) for a in (features, instances))
    loss = refined_global(*inputs, k)
    close(loss, np.float32(expected), atol=2e-6)
    assert (expected > 0.01) == (k < 15), "all instances positive cost nothing, else something"


@pytest.mark.parametrize("k", [2, 5, 14, 100])
def test_part_refinement_matches_sets(rng, device, k):
    """Positives follow the other two maps and the global feature, for each part."""
    f = random_parts(rng, 4, 2, 3)
    features, instances = unit_rows(rng, 12, 3), unit_rows(rng, 14, 3)
    part_instances = unit_rows(rng, 2, 14, 3)
    expected = slow_refine_parts(features, instances, f, part_instances, k)
    arrays = (torch.from_numpy(a).to(device) for a in (features, instances, part_instances))
    global_, memory, part_memory = arrays
    parts = {side: rows.to(device) for side, rows in parts_of(f).items()}
    loss = refined_parts(global_, memory, parts, part_memory, k)
    close(loss, np.float32(expected), atol=2e-6)
    assert (expected > 0.01) == (k < 14), "all instances positive cost nothing, else something"


def test_no_positive_gives_zero_loss(device):
    """Groups without a common neighbor give a loss of exactly 0 and a gradient of zeros."""
    instances = torch.eye(3, device=device)
    features = torch.eye(3, device=device).requires_grad_()  # v, a and r: different nearest ones
    loss = refined_global(features, instances, 1)
    loss.backward()
    assert loss.item() == 0 and torch.equal(features.grad, torch.zeros_like(features))


def test_no_part_positive_gives_zero_loss(device):
    """Part anchors without a positive give a loss of exactly 0 and a gradient of zeros."""
    instances = torch.eye(2, 4, device=device)
    global_ = instances[[0, 0, 0]]
    sizes = {"visible": 6, "infrared": 3}
    parts = {s: instances[[1] * n][None].clone().requires_grad_() for s, n in sizes.items()}
    loss = refined_parts(global_, instances, parts, instances[None], 1)
    loss.backward()
    assert loss.item() == 0
    assert all(torch.equal(rows.grad, torch.zeros_like(rows)) for rows in parts.values())


def test_anchors_without_a_positive_get_no_gradient(rng):
    """In a mixed batch, only anchors with a positive get a gradient, of the mean over them."""
    logits = (unit_tensor(rng, 3, 6) / TAU).requires_grad_()
    positives = torch.tensor([[1, 0, 0, 1, 0, 0], [0] * 6, [0, 0, 1, 0, 0, 0]]).bool()
    candidates = torch.tensor([[5, 0, 3], [1, 2, 3], [4, 2, 0]])
    refinement.instance_loss(logits, candidates, positives.gather(1, candidates)).backward()
    softmax = logits.detach().softmax(dim=1)
    on_positives = softmax * positives
    share = on_positives / on_positives.sum(dim=1, keepdim=True).clamp_min(1e-30)
    expected = (softmax - share) / 2
    expected[1] = 0
    close(logits.grad, expected, atol=1e-6)


def test_nearest_instances_equal_a_sort(rng):
    """The k largest of a row are those of a full sort, or all if there are fewer."""
    logits = unit_tensor(rng, 2, 5, 9)
    for k in (1, 4, 9, 20):
        expected = np.argsort(-logits.numpy(), axis=-1)[..., :k]
        assert np.array_equal(np.sort(refinement.nearest_instances(logits, k)), np.sort(expected))


def test_isin_rows_is_membership_row_by_row():
    """Each index is searched for in the other list of its own row."""
    membership = refinement.isin_rows(
        torch.tensor([[3, 1], [3, 1]]), torch.tensor([[1, 5, 7], [3, 0, 1]])
    )
    assert membership.tolist() == [[False, True], [True, True]]
