"""Faster ways to compute the network change results by no more than their rounding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from salcr.config.schema import Numerics
from salcr.models.features import to_device
from salcr.models.network import Features, Network

PLAIN = {"autocast": "never", "channels_last": False, "compile": False}


def computed(device: torch.device, **changes: object) -> tuple[Features, Tensor]:
    """Return the features of a batch and the gradient of the first convolution."""
    torch.manual_seed(3)
    network = Network(backbone="resnet18", width=16, num_parts=3)
    names = list(network.state_dict())
    network = to_device(network, device, Numerics(**{**PLAIN, **changes}))
    assert list(network.state_dict()) == names  # a checkpoint does not depend on it
    network.train()
    views = [torch.randn(16, 3, 64, 32, device=device) for _ in range(3)]
    features = network.forward_aligned(*views)
    sum(feature.square().mean() for feature in features).backward()
    return features, network.visible_stem.conv1.weight.grad


def largest_error(actual: Tensor, expected: Tensor) -> float:
    """Return the root mean square error relative to the size of the values."""
    actual, expected = actual.detach(), expected.detach()
    return float((actual - expected).square().mean().sqrt() / expected.square().mean().sqrt())


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({"channels_last": True}, 5e-3),
        ({"autocast": "always", "channels_last": True}, 0.2),  # bfloat16 has 8 bits
        ({"compile": True}, 5e-3),
    ],
)
def test_features_agree_with_plain_float32(
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    tolerance: float,
) -> None:
    """Features and a gradient equal those of plain float32, within the rounding of each option."""
    # The trace of the compiler runs as it is, so that the test needs no C++ compiler.
    monkeypatch.setattr(nn.Module, "compile", compile_eagerly)
    expected, expected_gradient = computed(device)
    features, gradient = computed(device, **changes)
    for one, other in zip(features, expected, strict=True):
        assert one.dtype == torch.float32
        assert largest_error(one, other) < tolerance
    assert largest_error(gradient, expected_gradient) < 2 * tolerance
    if changes.get("autocast") == "always":
        assert not torch.equal(features.global_features, expected.global_features)


def compile_eagerly(module: nn.Module) -> None:
    """Trace a module as `compile` does, and run the trace without generating code."""
    module._compiled_call_impl = torch.compile(module._call_impl, backend="eager")


def test_autocast_is_for_gpus_by_default(device: torch.device) -> None:
    """`auto` computes in bfloat16 on a GPU only."""
    network = Network(backbone="resnet18", width=8, num_parts=1)
    for choice, expected in (("auto", device.type == "cuda"), ("always", True), ("never", False)):
        to_device(network, device, Numerics(**{**PLAIN, "autocast": choice}))
        assert network.autocast is expected
