"""The slow step of stage one and the slow LTG, against autograd, layers and golden values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from salcr.models.network import Network, generalized_mean
from tests.reference import slow_transform
from tests.reference.slow_golden import make_stage_one
from tests.reference.slow_stage_one import network_step, objective_step, stage_one
from tests.support.helpers import close, golden_arrays, sequential_memory, unit_rows
from tests.verification.test_verify_other import SMALL

INPUTS = (
    "in_v", "in_a", "in_r", "labels_visible", "labels_infrared", "memory_visible",
    "memory_infrared", "momentum", "temperature",
)  # fmt: skip
MEMORY_OF = {"v": "visible", "a": "visible", "r": "infrared"}


def arguments() -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the released step's arguments, and features and memories as float64 tensors."""
    given = {name: golden_arrays("stage_one")[name] for name in INPUTS}
    leaves = {x: torch.tensor(given[f"in_{x}"]).double().requires_grad_() for x in MEMORY_OF}
    memories = {x: torch.tensor(given[f"memory_{x}"]).double() for x in ("visible", "infrared")}
    return given, leaves, memories


@pytest.mark.parametrize("visible_loss", ["sum", "mean"])
def test_plain_gradients_are_those_of_autograd(visible_loss: str) -> None:
    """Without the released gradient, losses and gradients are those of torch's cross entropy."""
    given, leaves, memories = arguments()
    means = {
        view: cross_entropy(
            normalize(leaves[view], dim=1) @ memories[modality].T / float(given["temperature"]),
            torch.tensor(given[f"labels_{modality}"]),
        )
        for view, modality in MEMORY_OF.items()
    }
    visible = means["v"] + means["a"]
    total = (visible if visible_loss == "sum" else visible / 2) + means["r"]
    total.backward()
    for last_update in ("plain", "augmented"):
        step = objective_step(
            **given, released_gradient=False, visible_loss=visible_loss, last_update=last_update
        )
        close(step["total"], total, rtol=1e-9)
        for view, leaf in leaves.items():
            close(step[f"loss_{view}"], means[view], rtol=1e-9)
            close(step[f"grad_{view}"], leaf.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("last_update", "order"), [("plain", "av"), ("augmented", "va")])
def test_the_view_that_updates_last_sees_the_moved_memory(last_update: str, order: str) -> None:
    """Memories move by one view, then the other, and only the second one's gradient notices."""
    given, leaves, memories = arguments()
    labels, momentum = given["labels_visible"], float(given["momentum"])
    units = {view: normalize(leaf.detach(), dim=1).numpy() for view, leaf in leaves.items()}
    moved = sequential_memory(given["memory_visible"], units[order[0]], labels, momentum)
    ended = sequential_memory(moved, units[order[1]], labels, momentum)
    unit = normalize(leaves[order[1]], dim=1)
    error = (unit @ memories["visible"].T / float(given["temperature"])).softmax(1).detach()
    error[torch.arange(len(labels)), torch.tensor(labels)] -= 1
    logits = unit @ torch.from_numpy(moved).T / float(given["temperature"])
    ((error * logits).sum() / len(labels)).backward()
    step = objective_step(**given, last_update=last_update)
    plain = objective_step(**given, last_update=last_update, released_gradient=False)
    close(step["updated_visible"], ended, rtol=1e-9)
    close(step[f"grad_{order[1]}"], leaves[order[1]].grad, rtol=1e-9, atol=1e-12)
    for view in (order[0], "r"):
        np.testing.assert_array_equal(step[f"grad_{view}"], plain[f"grad_{view}"])
    for name in ("updated_visible", "updated_infrared", "total"):
        np.testing.assert_array_equal(step[name], plain[name])


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
@pytest.mark.parametrize("batch_norm", ["whole", "halves"])
def test_network_step_is_that_of_torch_layers(
    rng: np.random.Generator, backbone: str, batch_norm: str
) -> None:
    """Gradients and running statistics of both forms are those of the network's layers."""
    torch.manual_seed(3)
    network = Network(backbone=backbone, width=8, num_parts=2).train()
    state = {name: values.clone() for name, values in network.state_dict().items()}
    network.double()  # without the network's own forward pass, which ends in float32

    def forward(visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
        stemmed = network.visible_stem(visible), network.infrared_stem(infrared)
        return network.global_neck(generalized_mean(network.trunk(torch.cat(stemmed))))

    labels = {"visible": np.array([0, 0, 2, 2, 1, 1]), "infrared": np.array([3, 3, 0, 0, 1, 1])}
    memories = {space: unit_rows(rng, 4, network.num_channels) for space in labels}
    views = {view: torch.from_numpy(rng.standard_normal((6, 3, 48, 24))) for view in MEMORY_OF}
    if batch_norm == "whole":
        both = torch.cat([views["v"], views["a"]])
        features = dict(zip("var", forward(both, views["r"]).chunk(3), strict=True))
        statistics = {name: values.clone() for name, values in network.state_dict().items()}
    else:
        first = forward(views["v"], views["r"][:4])
        statistics = {name: values.clone() for name, values in network.state_dict().items()}
        second = forward(views["a"], views["r"][4:])
        features = {"v": first[:6], "a": second[:6], "r": torch.cat([first[6:], second[6:]])}
    losses = []
    for view, modality in MEMORY_OF.items():
        memory = torch.from_numpy(memories[modality]).double()
        logits = normalize(features[view], dim=1) @ memory.T / 0.05
        losses.append(cross_entropy(logits, torch.from_numpy(labels[modality])))
    sum(losses).backward()
    step = network_step(
        state, views, labels, memories, batch_norm=batch_norm, momentum=0.1, temperature=0.05,
        released_gradient=False,
    )  # fmt: skip
    trained = {
        name: parameter.grad
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    assert trained.keys() == step.gradients.keys() - {"global_neck.bias"}
    largest = max(float(gradient.abs().max()) for gradient in trained.values())
    for name, gradient in trained.items():
        close(step.gradients[name], gradient, rtol=0, atol=1e-9 * largest)
    assert len(step.statistics) == sum("running_" in name for name in state)
    for name, values in step.statistics.items():
        close(values, statistics[name], rtol=1e-9)


def test_linear_transform_is_the_released_one() -> None:
    """The released rectangles end exactly where the slow rule stops; see stage_one.npz."""
    data = golden_arrays("stage_one")
    for index, image in enumerate(data["ltg_images"]):
        mine = data["ltg_image_of"] == index
        output, smallest = slow_transform.apply(
            image / 255, data["ltg_rectangles"][mine], data["ltg_factors"][mine]
        )
        close(output, data["ltg_outputs"][index], rtol=0, atol=1e-6)
        assert min(smallest[:-1]) > slow_transform.SMALLEST_FACTOR >= smallest[-1]


def test_linear_transform_has_the_released_statistics(rng: np.random.Generator) -> None:
    """On as many images of the released kind and size, all means are within four errors."""
    data = golden_arrays("stage_one")
    images = slow_transform.smooth_images(rng, 398, *data["ltg_images"].shape[2:])
    statistics = slow_transform.transform_statistics(images, rng)
    assert len(statistics) == 4
    for name, (mean, error) in statistics.items():
        expected, released_error = data[f"ltg_mean_{name}"]
        assert abs(mean - expected) < 4 * np.hypot(error, released_error), name
    shares = slow_transform.infrared_shares(rng, 20_000)
    close(shares, data["infrared_shares"], rtol=0, atol=4 * np.sqrt(2 * 0.25 * 0.75 / 20_000))


def test_linear_transform_replays_and_ends(rng: np.random.Generator) -> None:
    """What was drawn gives the same image again; a black one is unchanged by 100 rectangles."""
    image = slow_transform.smooth_images(rng, 1, 30, 18)[0] / 255
    image[2, 5:, :] = 0
    output, rectangles, factors = slow_transform.linear_transform(image, rng)
    np.testing.assert_array_equal(slow_transform.apply(image, rectangles, factors)[0], output)
    assert np.isnan(factors[:, 2]).any() and (output[2, 5:] == 0).all()
    black, rectangles, factors = slow_transform.linear_transform(np.zeros((3, 30, 18)), rng)
    assert len(rectangles) == 100 and np.isnan(factors).all() and not black.any()


def test_a_second_set_has_the_arrays_of_the_first() -> None:
    """Inputs that are made and results that are computed have the released file's names."""
    inputs = make_stage_one(5, SMALL)
    results = stage_one(inputs)
    assert not inputs.keys() & results.keys()
    assert inputs.keys() | results.keys() == golden_arrays("stage_one").keys()
    assert all(np.abs(results[f"grad_{view}"]).max() > 0.02 for view in "var")  # not all learned
    for index, image in enumerate(inputs["ltg_images"]):
        assert (results["ltg_outputs"][index] != image / 255).mean() > 0.2
