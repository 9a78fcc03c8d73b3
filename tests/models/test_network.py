"""The network, against the released code, torchvision and the equations token by token."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from salcr.models.network import (
    Network,
    inference_features,
    prototypes,
)
from salcr.verification.training import sample_parameter
from tests.support.helpers import close, golden_shapes

# names in a released checkpoint -> ours; the others are never read
RELEASED_NAMES = {
    r"visible_module\.visible\.((?:conv1|bn1)\..*)": r"visible_stem.\1",
    r"thermal_module\.thermal\.((?:conv1|bn1)\..*)": r"infrared_stem.\1",
    r"base_resnet\.base\.(layer.*)": r"trunk.\1",
    r"bottleneck\.(.*)": r"global_neck.\1",
    r"bottleneck_part\.(.*)": r"part_neck.\1",
    r"attn_pool\.(part_tokens)": r"\1",
}
CROSS = {"self": "own", "pg1": "cross1", "pg2": "cross2"}


@pytest.fixture(scope="module")
def released_state(golden) -> dict[str, Tensor]:
    """Return the state of golden/network.npz under our names."""
    seed, state = int(golden("network")["weight_seed"]), {}
    for name, shape in golden_shapes().items():
        for pattern, ours in RELEASED_NAMES.items():
            if match := re.fullmatch(pattern, name):
                state[match.expand(ours)] = sample_parameter(name, shape, seed)
    return state


def released_network(state: dict[str, Tensor], device: Any) -> Network:
    """Return the ResNet-50 network with that state, which must contain every parameter."""
    network = Network(backbone="resnet50", width=64, num_parts=3)
    network.load_state_dict(state, strict=True)
    return network.to(device)


def golden_images(golden: Any) -> list[Tensor]:
    """Return the images of the eval-mode pass, then v, a and r of the train-mode pass."""
    rng = np.random.default_rng(int(golden("network")["image_seed"]))
    return [torch.tensor(rng.standard_normal((2, 3, 288, 144))).float() for _ in range(4)]


@torch.no_grad()
def test_inference_matches_the_released_code(golden, device, released_state):
    """Both eval-mode features of both modalities equal those of the released code."""
    data, network = golden("network"), released_network(released_state, device).eval()
    images = golden_images(golden)[0].to(device)
    for modality in ("visible", "infrared"):
        global_, joint = inference_features(*network(images, modality))
        close(global_, data[f"eval_{modality}_global"])
        close(joint, data[f"eval_{modality}_concat"])


@torch.no_grad()
def test_training_matches_the_released_code(golden, released_state):
    """The train-mode features of an aligned batch equal those of the released code.

    On the CPU only: batch norm over six almost equal rows magnifies rounding a thousandfold, so
    that single entries vary with the number of threads; the tolerance of their mean is tighter.
    """
    data = golden("network") | golden("network_cross")
    network = released_network(released_state, "cpu").train()
    features = network.forward_aligned(*golden_images(golden)[1:])
    rows = {"visible": slice(0, 4), "infrared": slice(4, 6)}
    for modality, kept in rows.items():
        expected = {"global": data[f"train_global_{modality}"]}
        actual = {"global": features.global_features[kept]}
        for name, field in CROSS.items():
            expected[name] = data[f"train_{name}_{modality}"][:, : 3 * 2048]
            actual[name] = getattr(features, field)[kept].flatten(1)
        for name, values in expected.items():
            close(actual[name], values, atol=2e-3)
            assert np.square(actual[name].numpy() - values).mean() ** 0.5 < 2e-4


def slow_global(feature_map: np.ndarray) -> np.ndarray:
    """Return GeM of [B, C, H, W], channel by channel."""
    return np.array(
        [
            [(np.mean(c.astype(float) ** 3) + 1e-12) ** (1 / 3) for c in image]
            for image in feature_map
        ]
    )


def slow_stripes(feature_map: np.ndarray, num_parts: int) -> list[list[np.ndarray]]:
    """Return the P stripes of every image as arrays [T, C] of tokens read row by row."""
    stripes = []
    for image in feature_map.astype(np.float64):
        _, height, width = image.shape
        tokens = [image[:, y, x] for y in range(height) for x in range(width)]
        length = len(tokens) // num_parts
        stripes.append([np.stack(tokens[p * length : (p + 1) * length]) for p in range(num_parts)])
    return stripes


def slow_query(stripe: np.ndarray, token: np.ndarray) -> np.ndarray:
    """Return the prototype q of a stripe: its sigmoid-weighted mean token."""
    weights = 1 / (1 + np.exp(-(stripe @ token)))
    return (weights[:, None] * stripe).sum(axis=0) / weights.sum()


def slow_attention(query: np.ndarray, stripe: np.ndarray) -> np.ndarray:
    """Return the attention of a query over a stripe."""
    weights = np.exp(stripe @ query / np.sqrt(len(query)))
    return (weights[:, None] * stripe).sum(axis=0) / weights.sum()


def slow_norm(rows: np.ndarray, neck: nn.BatchNorm1d) -> np.ndarray:
    """Return train-mode batch norm of [B, C] rows with the neck's scale and shift."""
    centered = rows - rows.mean(axis=0)
    scale, shift = (p.detach().cpu().numpy().astype(float) for p in (neck.weight, neck.bias))
    return centered / np.sqrt((centered**2).mean(axis=0) + 1e-5) * scale + shift


@pytest.fixture
def small(device) -> Network:
    """Return a small network with large tokens, and necks that have a shift."""
    torch.manual_seed(1)
    network = Network(backbone="resnet18", width=8, num_parts=3)
    with torch.no_grad():
        network.part_tokens.mul_(5)
        for neck in (network.part_neck, network.global_neck):
            neck.bias.uniform_(-1, 1)
        network.infrared_stem.conv1.weight.mul_(-0.5)
    return network.to(device)


@torch.no_grad()
def test_aligned_batch_matches_the_equations(small, device):
    """Own and cross patterns follow METHOD 1, token by token; remaining tokens are dropped."""
    small.train()
    v, a, r = torch.randn(3, 4, 3, 64, 32, device=device)
    features = small.forward_aligned(v, a, r)
    joint_map = small.trunk(
        torch.cat([small.visible_stem(torch.cat([v, a])), small.infrared_stem(r)])
    )
    maps = joint_map.cpu().numpy()
    assert maps.shape[2] * maps.shape[3] == 8, "three stripes must leave two tokens over"
    close(features.global_features, slow_norm(slow_global(maps), small.global_neck), atol=1e-3)
    stripes, tokens = slow_stripes(maps, 3), small.part_tokens.cpu().numpy()
    row = {"v": 0, "a": 4, "r": 8}
    for field, pairs in {
        "own": ("vv", "aa", "rr"),
        "cross1": ("vr", "ar", "rv"),
        "cross2": ("va", "av", "ra"),
    }.items():
        blocks = []
        for (q, m), j in [(pair, j) for pair in pairs for j in range(4)]:
            queries = map(slow_query, stripes[row[q] + j], tokens)
            blocks.append(np.concatenate([*map(slow_attention, queries, stripes[row[m] + j])]))
        expected = slow_norm(np.stack(blocks), small.part_neck)
        close(getattr(features, field).flatten(1), expected, atol=1e-3)


def test_prototypes_survive_sigmoids_too_small_for_floats(device):
    """At p.x near -1000 a sigmoid is e^(p.x): weights are a softmax, gradients finite."""
    products = torch.tensor([-1000.0, -1001.0, -999.5], device=device)
    stripe = torch.stack([products, torch.tensor([1.0, 5.0, -2.0], device=device)], dim=1)
    token = torch.tensor([[1.0, 0.0]], device=device, requires_grad=True)
    actual = prototypes(stripe[None, None], token)
    weights = np.exp(np.array([-0.5, -1.5, 0.0]))
    expected = weights / weights.sum() @ stripe.cpu().numpy()
    close(actual, expected[None, None].astype(np.float32))
    actual.sum().backward()
    assert torch.isfinite(token.grad).all()


@torch.no_grad()
def test_single_modality_passes_are_rows_of_the_joint_pass(small, device):
    """In eval mode all entry points agree on global and own part features, for each stem."""
    small.eval()
    v, a, r = torch.randn(3, 2, 3, 64, 32, device=device)
    joint = small.forward_aligned(v, a, r)
    passes = [small(v, "visible"), small(a, "visible"), small(r, "infrared")]
    global_, own = (torch.cat(side) for side in zip(*passes, strict=True))
    close(joint.global_features, global_)
    close(joint.own, own)
    close(small.forward_global(torch.cat([v, a]), r), global_)
    assert (small(r, "visible")[0] - passes[2][0]).abs().max() > 0.1, "the stems must differ"


def test_batch_statistics_are_of_the_right_rows(small, device):
    """One pass through each stem, trunk and global neck, three through the part neck."""
    small.train().forward_aligned(*torch.randn(3, 2, 3, 64, 32, device=device))
    passes = {
        name.removesuffix(".num_batches_tracked"): int(value)
        for name, value in small.state_dict().items()
        if name.endswith("num_batches_tracked")
    }
    assert passes.pop("part_neck") == 3
    assert len(passes) > 20 and set(passes.values()) == {1}


def test_new_parts_do_not_change_the_rest():
    """At the start of stage two, only tokens and part neck are reinitialized, as specified."""
    torch.manual_seed(3)
    network = Network(backbone="resnet18", width=64, num_parts=3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.reset_parts(3)
    after = network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"part_tokens", "part_neck.weight"}
    close(network.part_tokens.std(), np.float32((2 / 512) ** 0.5), rtol=0.06, atol=0)
    assert network.part_tokens.requires_grad and network.part_tokens.shape == (3, 512)
    network.reset_parts(5)
    assert network.num_parts == 5 and len(network.part_neck.weight) == 5 * 512


def test_necks_start_without_a_shift():
    """Neck scales are N(1, 0.01); shifts exist, are 0 and are not trained."""
    torch.manual_seed(4)
    network = Network(backbone="resnet18", width=64, num_parts=3)
    for neck in (network.global_neck, network.part_neck):
        close(neck.weight.mean(), np.float32(1), rtol=2e-3, atol=0)
        close(neck.weight.std(), np.float32(0.01), rtol=0.1, atol=0)
        assert neck.weight.requires_grad
        assert not neck.bias.requires_grad and not neck.bias.any()


def test_stems_start_alike_but_apart():
    """Both stems start with equal weights but do not share them."""
    network = Network(backbone="resnet18", width=8, num_parts=2)
    visible, infrared = network.visible_stem.conv1.weight, network.infrared_stem.conv1.weight
    assert torch.equal(visible, infrared) and visible.data_ptr() != infrared.data_ptr()


def test_inference_features_are_unit_rows_in_order():
    """The parts come first, and the concatenation is normalized as a whole."""
    global_, parts = torch.tensor([[3.0, 4.0]]), torch.tensor([[[1.0, 2.0], [2.0, 4.0]]])
    alone, joint = inference_features(global_, parts)
    close(alone, np.float32([[0.6, 0.8]]))
    close(joint, np.float32([[1, 2, 2, 4, 3, 4]]) / np.sqrt(np.float32(50)))
