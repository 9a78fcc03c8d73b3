"""The estimate of GPU memory agrees with what was measured, and with the networks' layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.memory import step_bytes as counted
from salcr.config.loading import DEFAULT_CONFIG, validate
from salcr.config.schema import Config
from salcr.data import store
from salcr.data.store import Images, Split
from salcr.files import read_yaml
from salcr.models.network import Network
from salcr.models.resnet import ARCHITECTURES, CHECKPOINTED, Stem, Trunk
from salcr.training import memory

RESNET50 = {"backbone": "resnet50", "width": 64}
SIZE = (288, 144)


@pytest.fixture(scope="module")
def settings() -> Config:
    """Return the default configuration, which has the batches of the paper."""
    return validate(read_yaml(DEFAULT_CONFIG))


def test_the_batches_of_the_paper(settings: Config) -> None:
    """Three views of 12 x 12 and of 8 x 8 images; in halves, one view and half of another."""
    assert memory.images_of_pretrain_step(settings.pretrain) == 432
    assert memory.images_of_train_step(settings.train) == 192
    halves = settings.pretrain.model_copy(update={"batch_norm": "halves"})
    assert memory.images_of_pretrain_step(halves) == 216
    odd = halves.model_copy(update={"clusters": 3, "instances": 2})
    assert memory.images_of_pretrain_step(odd) == 6 + 4, "the larger half has two clusters"


@pytest.mark.parametrize(("bfloat16", "megabytes"), [(True, 47.5), (False, 85.8)])
def test_steps_take_what_was_measured(bfloat16: bool, megabytes: float) -> None:
    """Of ResNet-50 at 288x144; 20.5 GB for 432 images in bfloat16."""
    one = memory.step_bytes(1, SIZE, bfloat16=bfloat16, **RESNET50)
    assert one == pytest.approx(megabytes * 1e6, rel=2e-3)
    step = memory.step_bytes(432, SIZE, bfloat16=True, **RESNET50)
    assert step == pytest.approx(20.5e9, rel=2e-3)
    quarter = memory.step_bytes(1, (144, 72), bfloat16=bfloat16, **RESNET50)
    assert 4 * quarter == pytest.approx(one, rel=1e-6)
    kept = memory.step_bytes(1, SIZE, bfloat16=bfloat16, share=0.3, **RESNET50)
    assert kept == pytest.approx(0.3 * one, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("bfloat16", [True, False])
def test_the_estimate_is_what_a_step_of_the_papers_network_takes(bfloat16: bool) -> None:
    """For each numerics.checkpoint: at least the counted bytes an image, and at most 25 % more."""
    network = Network(**RESNET50, num_parts=3).train()
    network.autocast, network.memory_format = bfloat16, torch.channels_last
    network.to(memory_format=torch.channels_last)
    for checkpoint, layers in CHECKPOINTED.items():
        few, more = (counted(network, torch.rand(n, 3, *SIZE), checkpoint) for n in (3, 6))
        share = memory.SHARE_KEPT[layers]
        one = memory.step_bytes(1, SIZE, bfloat16=bfloat16, share=share, **RESNET50)
        assert 0.99 * (more - few) / 3 <= one <= 1.25 * (more - few) / 3, checkpoint


@pytest.mark.parametrize(
    ("backbone", "width"),
    [*((name, 64) for name in ARCHITECTURES), ("resnet18", 16), ("wide_resnet50_2", 16)],
)
def test_outputs_are_those_of_the_layers(backbone: str, width: int) -> None:
    """Every convolution of the network is counted, with the size that it has when it runs."""
    counts: list[int] = []
    with torch.device("meta"):
        network = nn.Sequential(Stem(width), Trunk(backbone, width))
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(lambda _, __, output: counts.append(output.numel()))
        network(torch.empty(1, 3, 64, 32))
    assert memory.outputs_per_pixel(backbone, width) == sum(counts) / (64 * 32)


@pytest.mark.parametrize(
    ("gigabytes", "stage", "stays"),
    [(24, "pretrain", True), (80, "pretrain", False), (12, "train", True), (24, "train", False)],
)
def test_what_fits_beside_a_step_of_sysu(
    settings: Config, monkeypatch: pytest.MonkeyPatch, gigabytes: int, stage: str, stays: bool
) -> None:
    """Its 33,970 images take 4.2 GB: stage one needs 20.5 GB of a card besides, stage two 9.1."""
    one = np.zeros((1, *SIZE, 3), np.uint8)
    sides = {
        modality: Images(np.broadcast_to(one, (count, *SIZE, 3)), np.arange(count), np.ones(count))
        for modality, count in (("visible", 22_120), ("infrared", 11_850))
    }
    split = Split(sides, data_hash="", layout="sysu")
    with torch.device("meta"):
        network = Network(backbone="resnet50", width=64, num_parts=3)
    network.autocast = True
    num_images = {
        "pretrain": memory.images_of_pretrain_step(settings.pretrain),
        "train": memory.images_of_train_step(settings.train),
    }[stage]
    total = gigabytes * 2**30
    free = total - 5 * 10**8  # CUDA takes half a gigabyte for itself
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, total))
    monkeypatch.setattr(store, "_copy_to_device", lambda images, device: images)
    needed = memory.training_bytes(network, split, num_images)
    preloaded = store.preload(split, torch.device("cuda", 0), needed=needed)
    assert (preloaded is split) == stays
