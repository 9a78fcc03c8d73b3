"""A training step of stage one (METHOD 2.6 to 2.8), against the slow second implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from salcr.config.method import Memory
from salcr.losses.stage_one import MODALITY_OF_VIEW, StageOneObjective
from salcr.models.network import Network
from salcr.training.pretraining import backpropagate
from tests.reference.slow_stage_one import NetworkStep, network_step
from tests.support.helpers import close, unit_rows
from tests.support.plans import REPOSITORY

RELEASED = yaml.safe_load((REPOSITORY / "config/released.yaml").read_text())
NUM_ENTRIES = 6  # of each memory; some are not in the batch
VIEWS = {"v": "plain", "a": "augmented", "r": "infrared"}
LOSSES = VIEWS | {"total": "total"}


def steps(rng: np.random.Generator, infrared_clusters: int, **settings: Any) -> tuple[Any, ...]:
    """Return what the package and the slow method make of the same random step.

    The settings are those of config/released.yaml but for the given ones.
    """
    torch.manual_seed(0)
    network = Network(backbone="resnet18", width=8, num_parts=2).train()
    start = {name: values.clone() for name, values in network.state_dict().items()}
    labels = {
        "visible": np.repeat([4, 0, 2], 4),
        "infrared": np.repeat(rng.permutation(NUM_ENTRIES)[:infrared_clusters], 4),
    }
    memories = {modality: unit_rows(rng, NUM_ENTRIES, network.num_channels) for modality in labels}
    sizes = {view: len(labels["infrared" if view == "r" else "visible"]) for view in "var"}
    views = {
        view: torch.from_numpy(rng.standard_normal((size, 3, 48, 32), dtype=np.float32))
        for view, size in sizes.items()
    }
    released = {**RELEASED["memory"], **RELEASED["pretrain"]}
    options = {"momentum": 0.2, "temperature": 0.1} | released | settings
    of_memory = {key: options[key] for key in Memory.model_fields}
    objective = StageOneObjective(
        {modality: torch.from_numpy(entries.copy()) for modality, entries in memories.items()},
        Memory(**of_memory),
        visible_loss=options["visible_loss"],
        last_update=options["last_update"],
    )
    losses = backpropagate(
        network,
        objective,
        {VIEWS[view]: images for view, images in views.items()},
        {name: labels[MODALITY_OF_VIEW[name]] for name in VIEWS.values()},
        options["batch_norm"],
    )
    return network, objective, losses, network_step(start, views, labels, memories, **options)


def compare(network: Network, objective: Any, losses: dict[str, Any], slow: NetworkStep) -> None:
    """Assert equal losses, gradients, memories and running statistics."""
    assert losses.keys() == set(LOSSES.values())
    for name, loss in slow.losses.items():
        close(float(losses[LOSSES[name]]), loss, rtol=1e-5)
    gradients: dict[str, Tensor] = {
        name: parameter.grad
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    assert gradients.keys() == slow.gradients.keys() - {"global_neck.bias"}  # frozen
    largest = max(float(gradient.abs().max()) for gradient in slow.gradients.values())
    for name, gradient in gradients.items():
        close(gradient, slow.gradients[name], rtol=0, atol=1e-5 * largest)
    assert objective.memories.keys() == slow.memories.keys()
    for modality, memory in objective.memories.items():
        close(memory, slow.memories[modality], rtol=0, atol=1e-5)
    state = network.state_dict()
    assert slow.statistics.keys() == {name for name in state if "running_" in name}
    for name, values in slow.statistics.items():
        close(state[name], values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_norm", ["halves", "whole"])
@pytest.mark.parametrize("released_gradient", [True, False])
@pytest.mark.parametrize("last_update", ["plain", "augmented"])
@pytest.mark.parametrize("visible_loss", ["sum", "mean"])
def test_a_step_is_that_of_the_slow_method(
    rng: np.random.Generator,
    batch_norm: str,
    released_gradient: bool,
    last_update: str,
    visible_loss: str,
) -> None:
    """In every form: losses, gradients, both memories and the running statistics."""
    compare(
        *steps(
            rng,
            infrared_clusters=3,
            batch_norm=batch_norm,
            released_gradient=released_gradient,
            last_update=last_update,
            visible_loss=visible_loss,
        )
    )


@pytest.mark.parametrize("batch_norm", ["halves", "whole"])
@pytest.mark.parametrize("infrared_clusters", [1, 2, 3, 5])
def test_any_number_of_infrared_clusters_is_divided(
    rng: np.random.Generator, batch_norm: str, infrared_clusters: int
) -> None:
    """Of an odd number the first half has one more; of one, the second half is a alone."""
    compare(*steps(rng, infrared_clusters, batch_norm=batch_norm))


@pytest.mark.parametrize(
    "setting",
    [
        {"batch_norm": "whole"},
        {"released_gradient": False},
        {"last_update": "augmented"},
        {"visible_loss": "mean"},
    ],
    ids=str,
)
def test_each_setting_changes_the_step(setting: dict[str, Any]) -> None:
    """No form passes for another one: some gradient is far off the released form's."""
    network, *_ = steps(np.random.default_rng(1), 3, **setting)
    *_, released = steps(np.random.default_rng(1), 3)
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    largest = max(float(gradient.abs().max()) for gradient in released.gradients.values())
    differences = [
        float((gradient - released.gradients[name]).abs().max())
        for name, gradient in gradients.items()
    ]
    assert max(differences) > 1e-3 * largest
