"""Batch norm in halves: gradients as of both at once, in half of the memory (METHOD 2.8)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from salcr.config.loading import DEFAULT_CONFIG
from salcr.config.method import Memory, Pretrain
from salcr.files import read_yaml
from salcr.losses.stage_one import MODALITY_OF_VIEW, StageOneObjective
from salcr.models.network import Network
from salcr.training.pretraining import backpropagate
from salcr.types import Integers

INSTANCES, TAU = 2, 0.05


def make_network() -> Network:
    """Return a small network in training mode."""
    torch.manual_seed(0)
    return Network(backbone="resnet18", width=8, num_parts=1).train()


def make_batch(num_infrared: int) -> tuple[dict[str, torch.Tensor], dict[str, Integers]]:
    """Return views and labels of four visible clusters and some infrared ones."""
    torch.manual_seed(1)
    clusters = {"visible": [2, 0, 4, 1], "infrared": [3, 1, 0, 2][:num_infrared]}
    labels = {view: np.repeat(clusters[m], INSTANCES) for view, m in MODALITY_OF_VIEW.items()}
    views = {view: torch.randn(len(rows), 3, 48, 24) for view, rows in labels.items()}
    return views, labels


def make_objective(last: str = "plain", released_gradient: bool = False) -> StageOneObjective:
    """Return an objective with five random clusters in each modality."""
    torch.manual_seed(2)
    memories = {m: normalize(torch.randn(5, 64), dim=1) for m in ("visible", "infrared")}
    memory = Memory(momentum=0.1, temperature=TAU, released_gradient=released_gradient)
    return StageOneObjective(memories, memory, visible_loss="sum", last_update=last)


def gradients(network: Network) -> dict[str, torch.Tensor]:
    """Return the gradients by name of parameter."""
    return {n: p.grad for n, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("last", ["plain", "augmented"])
@pytest.mark.parametrize(("num_infrared", "first"), [(4, 2), (3, 2), (1, 1)])
def test_halves_add_up_to_the_gradient_of_both(num_infrared: int, first: int, last: str) -> None:
    """One graph over both halves, with losses written out, has the same gradients.

    With three infrared clusters the first half has two; with one, the second half has none.
    """
    views, labels = make_batch(num_infrared)
    objective, network = make_objective(last), make_network()
    start = dict(objective.memories)
    losses = backpropagate(network, objective, views, labels, "halves")

    other, rows = make_network(), first * INSTANCES
    one = other.forward_global(views["plain"], views["infrared"][:rows])
    two = other.forward_global(views["augmented"], views["infrared"][rows:])
    boundary = len(views["plain"])
    features = {
        "plain": one[:boundary],
        "augmented": two[:boundary],
        "infrared": torch.cat([one[boundary:], two[boundary:]]),
    }
    expected = {
        view: cross_entropy(
            normalize(rows, dim=1) @ start[MODALITY_OF_VIEW[view]].T / TAU,
            torch.from_numpy(labels[view]),
        )
        for view, rows in features.items()
    }
    total = sum(expected.values())
    assert isinstance(total, torch.Tensor)
    total.backward()
    for view, loss in expected.items():
        torch.testing.assert_close(losses[view], loss.detach())
    torch.testing.assert_close(losses["total"], total.detach())
    torch.testing.assert_close(gradients(network), gradients(other), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("last", ["plain", "augmented"])
def test_running_statistics_are_those_of_the_plain_half(last: str) -> None:
    """A forward pass of the plain view with the first infrared half changes them equally."""
    views, labels = make_batch(4)
    network, other = make_network(), make_network()
    backpropagate(network, make_objective(last), views, labels, "halves")
    other.forward_global(views["plain"], views["infrared"][: 2 * INSTANCES])
    torch.testing.assert_close(dict(network.named_buffers()), dict(other.named_buffers()))
    assert all(getattr(module, "track_running_stats", True) for module in network.modules())


@pytest.mark.parametrize("released_gradient", [False, True])
def test_the_order_of_the_halves_is_that_of_the_updates(released_gradient: bool) -> None:
    """The visible memory ends as features of the last view, which are within 2 mu of it."""
    for last in ("plain", "augmented"):
        views, labels = make_batch(4)
        objective, network = make_objective(last, released_gradient), make_network()
        infrared = views["infrared"].split(2 * INSTANCES)[["plain", "augmented"].index(last)]
        with torch.no_grad():
            features = normalize(network.forward_global(views[last], infrared), dim=1)
        network = make_network()
        backpropagate(network, objective, views, labels, "halves")
        ends = torch.arange(INSTANCES - 1, len(views[last]), INSTANCES)
        entries = objective.memories["visible"][torch.from_numpy(labels[last][ends])]
        assert (features[ends] * entries).sum(dim=1).min() > 0.97


def peak_bytes(batch_norm: str) -> int:
    """Return the most bytes that autograd keeps for the backward pass, without parameters."""
    kept: dict[int, int] = {}
    sums = []

    class Kept:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor
            kept[id(self)] = tensor.nbytes
            sums.append(sum(kept.values()))

        def __del__(self) -> None:
            del kept[id(self)]

    network = make_network()
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda entry: entry.tensor):
        backpropagate(network, make_objective(), *make_batch(4), batch_norm)
    return max(sums) - sum(parameter.nbytes for parameter in network.parameters())


def test_halves_keep_half_of_the_activations() -> None:
    """The activations that are kept at a time are half of those of the whole batch."""
    assert 0.4 < peak_bytes("halves") / peak_bytes("whole") < 0.6


def test_halves_need_two_images_of_a_cluster() -> None:
    """With one image the half of a single cluster would have no variance."""
    stage = read_yaml(DEFAULT_CONFIG)["pretrain"]
    with pytest.raises(ValueError, match="batch_norm: halves needs instances: 2 or more"):
        Pretrain(**{**stage, "batch_norm": "halves", "instances": 1})
