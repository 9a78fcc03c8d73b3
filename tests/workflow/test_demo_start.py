"""The network that the demo starts from, and the script that trains it."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from salcr.config.loading import DEFAULT_CONFIG, validate
from salcr.config.synthetic import SYNTHETIC_NETWORK, SYNTHETIC_WEIGHTS
from salcr.data.transforms import normalize_images
from salcr.datasets.synthetic.people import render, sample_person
from salcr.errors import SalcrError
from salcr.files import read_yaml
from salcr.models.checkpoint import load_backbone
from salcr.models.network import Network
from tests.support import tiny
from tests.support.plans import planned, snakemake
from workflow.scripts import make_demo_start
from workflow.scripts.make_demo_start import Recipe

FEW = Recipe(people=3, images=2, test_images=1, steps=2, batch=4)


def network() -> Network:
    """Return the demo's network with random weights."""
    backbone, width = SYNTHETIC_NETWORK
    return Network(backbone=backbone, width=width, num_parts=1)


def read(path: Path) -> dict[str, Any]:
    """Return the content of a file that the script wrote."""
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def test_the_script_writes_a_state_dict_that_stage_one_loads(tmp_path: Path) -> None:
    """Trained twice it is the same file; both stems and the trunk get its values."""
    for name in ("one.pth", "two.pth"):
        recipe = make_demo_start.make(FEW, tmp_path / name)
        assert recipe == {**asdict(FEW), "seed": 2**31, "accuracy": recipe["accuracy"]}
    assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "two.pth").read_bytes()
    loaded = network()
    load_backbone(loaded, tmp_path / "one.pth")
    for name, value in read(tmp_path / "one.pth")["state_dict"].items():
        modules = ["trunk"] if name.startswith("layer") else ["visible_stem", "infrared_stem"]
        for module in modules:
            assert torch.equal(loaded.state_dict()[f"{module}.{name}"], value.float()), name


def test_its_people_are_of_a_seed_that_no_configuration_has() -> None:
    """Person and image are sampled from seed 2^31, and the largest that is accepted is below."""
    images = make_demo_start.render_people(FEW)
    person = sample_person(np.random.default_rng([2**31, 0, 2]))
    rng = np.random.default_rng([2**31, 1, 2, 1])
    wanted = render(person, modality="visible", rng=rng, hardness=0.75)
    np.testing.assert_array_equal(images[2, 1].numpy(), wanted)
    defaults = read_yaml(DEFAULT_CONFIG)
    assert validate({**defaults, "seed": 2**31 - 1}).seed == 2**31 - 1
    with pytest.raises(SalcrError, match="`seed` is 2147483648"):
        validate({**defaults, "seed": 2**31})


def test_the_packaged_file_is_of_the_recipe() -> None:
    """It is small, and it holds the recipe of the script with the accuracy that was reached."""
    recipe = read(SYNTHETIC_WEIGHTS)["recipe"]
    assert recipe == {**asdict(Recipe()), "seed": 2**31, "accuracy": recipe["accuracy"]}
    assert recipe["accuracy"] > 0.9
    assert SYNTHETIC_WEIGHTS.stat().st_size < 3_000_000


@torch.no_grad()
def share_matched(start: Network, images: torch.Tensor) -> float:
    """Return the share of people whose second image is the nearest to their first one.

    Args:
        start: the network whose features are compared.
        images: [people, 2, H, W, 3].
    """
    first, second = (
        F.normalize(start.eval()(normalize_images(side), "infrared")[0])
        for side in images.unbind(dim=1)
    )
    return float(((first @ second.T).argmax(dim=1) == torch.arange(len(first))).float().mean())


def test_the_packaged_file_tells_apart_people_that_it_was_not_trained_on() -> None:
    """In infrared, too, which it has not seen; random weights recognize far fewer."""
    images = np.empty((40, 2, 96, 48, 3), np.uint8)
    for identity in range(40):
        person = sample_person(np.random.default_rng([5, identity]))
        for index in range(2):
            rng = np.random.default_rng([6, identity, index])
            images[identity, index] = render(person, modality="infrared", rng=rng)
    torch.manual_seed(0)
    random, packaged = network(), network()
    load_backbone(packaged, SYNTHETIC_WEIGHTS)
    matched = [share_matched(start, torch.from_numpy(images)) for start in (random, packaged)]
    assert matched[0] < 0.7 and matched[1] > 0.9


def test_stage_one_starts_from_the_packaged_file(tmp_path: Path) -> None:
    """Without --weights-file; trained by one tiny step, no weight is far from the file's."""
    words: list[object] = ["--model-width", 16, "--model-weights", "synthetic"]
    words += ["--pretrain-epochs", 1, "--pretrain-iterations", 1, "--pretrain-learning-rate", 1e-6]
    assert tiny.pretrain(tiny.make_data(tmp_path), tmp_path, *words) == 0
    state = torch.load(tmp_path / "round00/checkpoint.pt", weights_only=True)["state"]
    wanted = read(SYNTHETIC_WEIGHTS)["state_dict"]["layer3.0.conv1.weight"].float()
    torch.testing.assert_close(state["trunk.layer3.0.conv1.weight"], wanted, rtol=0, atol=2e-6)


def test_another_packaged_file_trains_stage_one_again(run_copy: Path) -> None:
    """Even one with an older date; the same file in another folder does not."""
    words = ["--config", "model={backbone: resnet18, width: 16, weights: synthetic}"]
    target = "results/tiny/salcr/trial01/round00/checkpoint.pt"
    tiny_words = ["--configfile", tiny.TINY_CONFIG, *words]
    done = snakemake(run_copy, target, *tiny_words, repository=run_copy, fork=True)
    assert done.returncode == 0, done.stdout
    assert planned(run_copy, *words, target=target) == {}
    path = run_copy / "salcr/models/synthetic_people.pth"
    path.write_bytes(path.read_bytes() + b" ")
    os.utime(path, (0, 0))
    assert planned(run_copy, *words, repository=run_copy, target=target) == {"pretrain": 1}
