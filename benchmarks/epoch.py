"""Time per image of a round of stage two: features, association, training step."""

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
# Batch of the paper's network on a CPU; the time per image hardly depends on its size.
_SMALL_STEP = {"train": {"labels": 2, "instances": 4}}
_IMAGES_OF_EACH = 10
_EPS = 0.6  # of DBSCAN; with it, the features of random weights form clusters

NETWORKS: dict[str, dict[str, Any]] = {"demo": read_yaml(_DEMO), "paper": {}}
"""Name -> what differs from config/default.yaml."""


def measure_networks(device: str, threads: int) -> list[dict[str, Any]]:
    """Measure each network in a separate process and print a line for each.

    Returns:
        the results of `measure_network`.

    Raises:
        RuntimeError: a process failed; the reason is on its standard error.
    """
    results = []
    print(f"{'network':<38}{'features':>16}{'association':>16}{'step':>16}   ms an image")
    for name in NETWORKS:
        result = run_in_subprocess(["--network", name, "--device", device], threads)
        if result is None:
            raise RuntimeError(f"the round of the {name} network failed")
        results.append(result)
        times = "".join(f"{result[part]:>16.3f}" for part in ("features", "association", "step"))
        print(f"{result['network']:<38}{times}   {result['device']}", flush=True)
    return results


def measure_network(name: str, device_name: str, threads: int) -> dict[str, Any]:
    """Return the milliseconds per image of each part of a round.

    Args:
        name: a key of NETWORKS.
        device_name: "auto", "cpu" or "cuda".
        threads: CPU threads.
    """
    device = devices.prepare(device_name, threads)
    changes = merge(NETWORKS[name], {"clustering": {"eps": _EPS}})
    people = 64 if device.type == "cuda" or name == "demo" else 12
    if device.type == "cpu" and name == "paper":
        changes = merge(changes, _SMALL_STEP)
    settings = validate(merge(read_yaml(DEFAULT_CONFIG), changes))
    split = preload(_synthetic_split(settings, people), device, needed=0)
    model = settings.model
    torch.manual_seed(0)
    network = Network(backbone=model.backbone, width=model.width, num_parts=settings.fgsal.parts)
    to_device(network, device, settings.numerics)
    images = split.images
    num_images = sum(len(side) for side in images.values())

    def extract_features() -> dict[str, torch.Tensor]:
        return {modality: extract(network, side, modality)[0] for modality, side in images.items()}

    def associate() -> Any:
        return generate_pseudo_labels(features, settings.clustering, settings.associate)

    features = extract_features()  # also to warm up, like the calls below
    clusters, labels = associate()
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
    # A round also extracts features; the difference is the time of the steps alone.
    seconds_of_steps = _seconds(train(many)) - _seconds(train(few))
    return {
        "network": f"{model.backbone}, width {model.width}, {settings.preprocess.height}x"
        f"{settings.preprocess.width}",
        "device": device.type,
        "images": num_images,
        "images_of_step": rows_of_step,
        "features": 1000 * _seconds(extract_features) / num_images,
        "association": 1000 * _seconds(associate) / num_images,
        "step": 1000 * seconds_of_steps / (many - few) / rows_of_step,
    }


def _seconds(compute: Callable[[], Any]) -> float:
    started = time.perf_counter()
    compute()
    return time.perf_counter() - started


def _synthetic_split(settings: Config, people: int) -> Split:
    """Return a split with images of a number of people: a coarse pattern for each, and noise."""
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
