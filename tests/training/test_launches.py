"""Kernels that a training step launches on a GPU, and how often it waits, on a pretended one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from salcr.config.loading import DEFAULT_CONFIG, validate
from salcr.config.reading import merge, read_configuration
from salcr.config.schema import Config
from salcr.data import transforms
from salcr.data.store import Images, Split, preload
from salcr.models.features import to_device
from salcr.models.network import Network
from salcr.training import pretraining
from salcr.training.optimizer import Adam, make_optimizer
from salcr.training.round import train_round
from salcr.types import MODALITIES, PseudoLabels
from tests.support.pretended_gpu import CARD, pretended_gpu

_IMAGES, _HEIGHT, _WIDTH = 240, 48, 16
_LABELS = np.arange(_IMAGES) % 24


def _settings(changes: dict[str, Any]) -> Config:
    return validate(merge(read_configuration(DEFAULT_CONFIG), changes))


def _split() -> Split:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, _IMAGES, _HEIGHT, _WIDTH, 3), dtype=np.uint8)
    camera = np.zeros(_IMAGES, np.int64)
    sides = zip(MODALITIES, images, strict=True)
    return Split({m: Images(a, np.arange(_IMAGES), camera) for m, a in sides}, "", "regdb")


def _network_and_optimizer(settings: Config) -> tuple[Network, Adam]:
    # Launches depend on the depth and the batch, which are the paper's, not on widths and sizes.
    network = Network(backbone="resnet50", width=4, num_parts=settings.fgsal.parts)
    network = to_device(network, CARD, settings.numerics)
    return network, make_optimizer(network, 1e-4, 0.0)


def _stage_one(iterations: int) -> None:
    """Train an epoch of stage one; its clusters are given by the test."""
    settings = _settings({"pretrain": {"iterations": iterations}})
    network, adam = _network_and_optimizer(settings)
    pretraining._train_epoch(network, adam, preload(_split(), CARD, needed=0), settings, seeds=(0,))


def _stage_two(iterations: int) -> None:
    """Train a round of stage two with given labels."""
    settings = _settings({"train": {"iterations": iterations}})
    network, adam = _network_and_optimizer(settings)
    channels = network.num_channels
    extracted = {
        m: tuple(
            F.normalize(torch.randn(_IMAGES, blocks * channels, device=CARD), dim=1)
            for blocks in (1, 1 + network.num_parts)
        )
        for m in MODALITIES
    }
    train_round(
        network, adam, preload(_split(), CARD, needed=0), PseudoLabels(*[_LABELS] * 4),
        dict.fromkeys(MODALITIES, _LABELS), settings, trial=1, round_=1, extracted=extracted,
    )  # fmt: skip


def _of_a_step(train: Callable[[int], None]) -> tuple[Counter[str], Counter[str]]:
    """Return launches and waits of two steps by place: what three have more than one."""
    counts = []
    for iterations in (1, 3):
        with pretended_gpu() as gpu:
            train(iterations)
        counts.append(gpu)
    return counts[1].launches - counts[0].launches, counts[1].waits - counts[0].waits


@pytest.mark.parametrize(
    ("train", "most_launches", "most_waits"), [(_stage_one, 1700, 4), (_stage_two, 1350, 1)]
)
def test_a_step_launches_and_waits_at_most(
    monkeypatch: pytest.MonkeyPatch,
    train: Callable[[int], None],
    most_launches: int,
    most_waits: int,
) -> None:
    """Launches and waits of a whole step stay below their ceilings.

    A wait is for the losses, which must be finite; others, in stage one, ask which images the
    local linear transform has finished.
    """
    monkeypatch.setattr(pretraining, "cluster", lambda *_, **__: _LABELS)
    launches, waits = _of_a_step(train)
    assert launches.total() / 2 <= most_launches, launches.most_common(30)
    assert waits.total() / 2 <= most_waits, waits


@pytest.mark.parametrize(
    ("view", "most"),
    [
        (partial(transforms.visible_view, ltg=False), 40),
        (partial(transforms.visible_view, ltg=True), 700),
        (transforms.augmented_view, 160),
        (transforms.infrared_view, 160),
    ],
)
@pytest.mark.parametrize("linear_transform", ["radical", "mixture"])
def test_views_of_a_gpu_are_those_of_a_cpu(
    view: Callable[..., torch.Tensor], most: int, linear_transform: str
) -> None:
    """The forms of a GPU give the same views up to 1e-6, in a fixed number of launches."""
    augment = _settings({"augment": {"linear_transform": linear_transform}}).augment
    images = _split().images["visible"].batch(np.arange(144), torch.device("cpu"))
    expected = view(images, np.random.default_rng(5), augment)
    with pretended_gpu() as gpu:
        actual = view(images.to(CARD), np.random.default_rng(5), augment).cpu()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)
    assert 0 < gpu.launches.total() <= most


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda x: x + torch.ones(3), "same device"),
        (lambda x: torch.cat([x, torch.ones(3)]), "same device"),
        (lambda x: x.numpy(), "can't convert"),
        (lambda x: torch.ones(3)[x > 0], "same device"),
    ],
)
def test_the_pretended_gpu_refuses_what_cuda_refuses(
    wrong: Callable[[torch.Tensor], object], words: str
) -> None:
    """Tensors in two memories are not computed with; results stay where they were computed."""
    with pretended_gpu():
        tensor = torch.ones(3, device=CARD)
        assert (2 * tensor).device == CARD and (2 * tensor).cpu().device.type == "cpu"
        with pytest.raises((RuntimeError, TypeError), match=words):
            wrong(tensor)


def test_the_pretended_gpu_counts() -> None:
    """An addition is a launch, a view is not; reading a number waits, an asynchronous copy not."""
    with pretended_gpu() as gpu:
        tensor = torch.arange(6.0).to(CARD, non_blocking=True)
        assert not gpu.waits
        tensor.view(2, 3).add_(1)
        assert gpu.launches.total() == 1
        tensor.sum().item()
        assert gpu.launches.total() == 2 and gpu.waits.total() == 1
        tensor.cpu()
        torch.arange(6.0).to(CARD)
        assert gpu.waits.total() == 3
