"""What a round of stage two takes per image: features, association, training step."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.row import run_in_subprocess
from salcr.config.loading import DEFAULT_CONFIG, merge, validate
from salcr.config.schema import Config
from salcr.data.store import Images, Split, preload
from salcr.files import read_yaml
from salcr.models.features import extract, to_device
from salcr.models.network import Network
from salcr.pseudo_labels.generate import generate_pseudo_labels
from salcr.training import devices
from salcr.training.optimizer import make_optimizer
from salcr.training.round import train_round
from salcr.types import MODALITIES

_DEMO = Path(__file__).parents[1] / "config/demo.yaml"
# The steps of a CPU are small with the paper's network; what an image takes hardly depends on it.
_SMALL_STEP = {"train": {"labels": 2, "instances": 4}}
_IMAGES_OF_EACH = 10
_EPS = 0.6  # of DBSCAN: random weights tell people apart well enough for clusters

NETWORKS: dict[str, dict[str, Any]] = {"demo": read_yaml(_DEMO), "paper": {}}
"""Name -> what differs from config/default.yaml."""


def epochs(device: str, threads: int) -> list[dict[str, Any]]:
    """Measure each network in a process of its own and print a line for each.

    Returns:
        what `epoch` returns, one for each network.

    Raises:
        RuntimeError: a process failed; it has said why.
    """
    found = []
    print(f"{'network':<38}{'features':>16}{'association':>16}{'step':>16}   ms an image")
    for name in NETWORKS:
        one = run_in_subprocess(["--network", name, "--device", device], threads)
        if one is None:
            raise RuntimeError(f"the round of the {name} network failed")
        found.append(one)
        times = "".join(f"{one[part]:>16.3f}" for part in ("features", "association", "step"))
        print(f"{one['network']:<38}{times}   {one['device']}", flush=True)
    return found


def epoch(name: str, device_name: str, threads: int) -> dict[str, Any]:
    """Return the milliseconds that an image takes in each part of a round.

    Args:
        name: of NETWORKS.
        device_name: "auto", "cpu" or "cuda".
        threads: CPU threads.
    """
    device = devices.prepare(device_name, threads)
    changes = merge(NETWORKS[name], {"clustering": {"eps": _EPS}})
    people = 64 if device.type == "cuda" or name == "demo" else 12
    if device.type == "cpu" and name == "paper":
        changes = merge(changes, _SMALL_STEP)
    settings = validate(merge(read_yaml(DEFAULT_CONFIG), changes))
    split = preload(_synthetic_split(settings, people), device)
    model = settings.model
    torch.manual_seed(0)
    network = Network(backbone=model.backbone, width=model.width, num_parts=settings.fgsal.parts)
    to_device(network, device, settings.numerics)
    images = split.images
    num_images = sum(len(side) for side in images.values())

    def features() -> dict[str, torch.Tensor]:
        return {modality: extract(network, side, modality)[0] for modality, side in images.items()}

    def associated() -> Any:
        return generate_pseudo_labels(found, settings.clustering, settings.associate)

    found = features()  # once to warm up, as below
    clusters, labels = associated()
    adam = make_optimizer(network, settings.train.learning_rate, settings.optimizer.weight_decay)

    def train(iterations: int) -> Callable[[], Any]:
        stage = settings.train.model_copy(update={"iterations": iterations})
        chosen = settings.model_copy(update={"train": stage})
        return lambda: train_round(
            network, adam, split, labels, clusters, chosen, trial=1, round_=1
        )

    few, many = 2, 6
    _seconds(train(1))
    rows_of_step = 3 * settings.train.labels * settings.train.instances
    # A round also extracts features: the difference is that of the steps alone.
    of_steps = _seconds(train(many)) - _seconds(train(few))
    return {
        "network": f"{model.backbone}, width {model.width}, {settings.preprocess.height}x"
        f"{settings.preprocess.width}",
        "device": device.type,
        "images": num_images,
        "images_of_step": rows_of_step,
        "features": 1000 * _seconds(features) / num_images,
        "association": 1000 * _seconds(associated) / num_images,
        "step": 1000 * of_steps / (many - few) / rows_of_step,
    }


def _seconds(compute: Callable[[], Any]) -> float:
    started = time.perf_counter()
    compute()
    return time.perf_counter() - started


def _synthetic_split(settings: Config, people: int) -> Split:
    """Return images of as many people: a coarse pattern each, and noise."""
    rng = np.random.default_rng(0)
    height, width = settings.preprocess.height, settings.preprocess.width
    rows = np.arange(people * _IMAGES_OF_EACH)
    sides = {}
    for modality in MODALITIES:
        coarse = rng.integers(40, 216, size=(people, height // 16, width // 16, 3))
        pattern = coarse.repeat(16, axis=1).repeat(16, axis=2).repeat(_IMAGES_OF_EACH, axis=0)
        noise = rng.integers(-20, 20, size=pattern.shape)
        array = (pattern + noise).astype(np.uint8)
        sides[modality] = Images(array, rows, np.ones_like(rows))
    return Split(sides, data_hash="", layout="regdb")
