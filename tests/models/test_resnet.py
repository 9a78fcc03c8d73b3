"""Stem and trunk, against torchvision."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from salcr.models.network import Network
from salcr.models.resnet import ARCHITECTURES, Stem, Trunk
from tests.support.helpers import close


@pytest.mark.parametrize("backbone", list(ARCHITECTURES))
def test_parameters_are_those_of_torchvision(backbone):
    """For every backbone, names and shapes equal torchvision's, except for the classifier."""
    with torch.device("meta"):
        oracle = torchvision.models.get_model(backbone, weights=None).state_dict()
        ours = Stem(64).state_dict() | Trunk(backbone, 64).state_dict()
    shapes = {name: value.shape for name, value in oracle.items() if not name.startswith("fc.")}
    assert {name: value.shape for name, value in ours.items()} == shapes


def with_stride_one(oracle: nn.Module) -> nn.Module:
    """Set the strides of torchvision's last stage to 1."""
    for layer in oracle.layer4.modules():
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)
    return oracle


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_feature_maps_are_those_of_torchvision(backbone, device):
    """With equal weights, stem and trunk give torchvision's map of the stride-1 last stage."""
    torch.manual_seed(0)
    oracle = with_stride_one(torchvision.models.get_model(backbone, weights=None)).eval()
    for name, value in oracle.state_dict().items():
        if re.search(r"(bn\d|downsample\.1)\.", name) and value.is_floating_point():
            value.copy_(torch.rand_like(value) * 0.5 + 0.5)
    state = oracle.state_dict()
    stem, trunk = Stem(64).eval(), Trunk(backbone, 64).eval()
    stem.load_state_dict({k: v for k, v in state.items() if k.split(".")[0] in ("conv1", "bn1")})
    trunk.load_state_dict({k: v for k, v in state.items() if k.startswith("layer")})
    images = torch.randn(2, 3, 64, 32)
    layers = list(oracle.children())[:-2]  # without pooling and classifier
    expected = nn.Sequential(*layers)(images)
    feature_map = trunk.to(device)(stem.to(device)(images.to(device)))
    assert feature_map.shape == (2, trunk.num_channels, 4, 2)
    close(feature_map / expected.abs().max().item(), expected / expected.abs().max(), rtol=1e-3)


def test_convolutions_start_as_in_torchvision():
    """Weights are centered, with He's standard deviation of the fan-out, and without a bias."""
    torch.manual_seed(0)
    network = Network(backbone="resnet18", width=32, num_parts=2)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert len(layers) == 2 + 16 + 3
    for layer in layers:
        weight = layer.weight.detach()
        fan_out = weight.shape[0] * weight.shape[2] * weight.shape[3]
        close(weight.std(), np.float32((2 / fan_out) ** 0.5), rtol=0.1, atol=0)
        assert abs(weight.mean()) < 0.1 * weight.std() and layer.bias is None
