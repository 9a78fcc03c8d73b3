"""Part attention and Grad-CAM, against the network and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from salcr.models.network import Network, attend, generalized_mean, prototypes, split_stripes
from salcr.models.saliency import compute_heat_maps, grad_cam, part_attention


@pytest.mark.parametrize("parts", [1, 3, 4])
def test_attention_is_that_of_the_part_features(parts: int) -> None:
    """Each stripe's weights sum to 1 and give the network's f(x, x); positions left over have 0."""
    torch.manual_seed(0)
    feature_map, tokens = torch.randn(2, 8, 5, 3), torch.randn(parts, 8)
    attention = part_attention(feature_map, tokens)
    assert attention.shape == (2, 5, 3)
    length = 15 // parts
    weights = attention.flatten(1)[:, : parts * length].unflatten(1, (parts, length))
    assert torch.allclose(weights.sum(dim=2), torch.ones(2, parts), atol=1e-6)
    assert (attention.flatten(1)[:, parts * length :] == 0).all()
    stripes = split_stripes(feature_map, parts)
    expected = attend(prototypes(stripes, tokens), stripes)
    assert torch.allclose(torch.einsum("bpt,bptc->bpc", weights, stripes), expected, atol=1e-6)


def test_grad_cam_is_that_of_finite_differences() -> None:
    """Each channel's weight is the mean slope of the cosine, by differences in float64."""
    rng = np.random.default_rng(1)
    feature_map = rng.uniform(0.5, 2, (2, 4, 3, 2))
    scale, partner = rng.normal(1, 0.3, 4), rng.normal(size=(2, 4))
    partner /= np.linalg.norm(partner, axis=1, keepdims=True)

    def cosine(values: np.ndarray) -> np.ndarray:
        pooled = np.cbrt((values**3).mean(axis=(2, 3))) * scale
        return (pooled * partner).sum(axis=1) / np.linalg.norm(pooled, axis=1)

    weights, step = np.zeros((2, 4)), 1e-6
    for index in np.ndindex(4, 3, 2):
        offset = np.zeros_like(feature_map)
        offset[(slice(None), *index)] = step
        slope = (cosine(feature_map + offset) - cosine(feature_map - offset)) / (2 * step)
        weights[:, index[0]] += slope / 6
    expected = np.maximum(np.einsum("bc,bchw->bhw", weights, feature_map), 0)
    tensor = torch.tensor(feature_map, requires_grad=True)
    global_ = generalized_mean(tensor) * torch.tensor(scale)
    similarity = (F.normalize(global_, dim=1) * torch.tensor(partner)).sum(dim=1)
    heat_map = grad_cam(tensor, similarity)
    assert (expected > 0).any() and np.allclose(heat_map.numpy(), expected, atol=1e-6)


def test_heat_maps_differentiate_the_cosine_by_the_last_map(device: torch.device) -> None:
    """The whole network, decomposed by hand: stem and trunk, then pooling, neck and cosine."""
    torch.manual_seed(2)
    network = Network(backbone="resnet18", width=4, num_parts=3)
    torch.nn.init.uniform_(network.global_neck.running_mean, 0, 0.2)
    network.to(device)
    images = torch.randn(2, 3, 96, 48).to(device)
    partners = F.normalize(torch.randn(2, network.num_channels), dim=1).to(device)
    attention, cam, cosine = compute_heat_maps(network, images, "infrared", partners)
    network.eval()
    with torch.no_grad():
        leaf = network.trunk(network.infrared_stem(images))
        expected = network(images, "infrared")[0]
    leaf.requires_grad_()
    global_ = network.global_neck(generalized_mean(leaf))
    assert torch.allclose(global_, expected, atol=1e-5)
    expected_cosine = torch.cosine_similarity(global_, partners, dim=1)
    expected_cosine.sum().backward()
    assert leaf.grad is not None
    slopes = leaf.grad.mean(dim=(2, 3))
    heat = torch.einsum("bc,bchw->bhw", slopes, leaf.detach()).clamp(min=0)
    assert heat.shape == (2, 6, 3) and np.allclose(cam, heat.cpu().numpy(), atol=1e-5)
    assert np.allclose(cosine, expected_cosine.detach().cpu().numpy(), atol=1e-5)
    assert np.allclose(attention.reshape(2, 3, 6).sum(axis=2), 1, atol=1e-5)
    assert all(parameter.grad is None for parameter in network.trunk.parameters())
