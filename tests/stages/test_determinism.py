"""Results are equal for any number of cores and order of jobs, and close for any of threads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from salcr.config.loading import DEFAULT_CONFIG, merge, validate, variant
from salcr.data.store import load_split
from salcr.files import read_yaml
from salcr.models.checkpoint import read_model
from salcr.models.features import extract
from salcr.models.network import Network
from salcr.pseudo_labels.generate import generate_pseudo_labels
from salcr.training.optimizer import Adam, decayed_rate, make_optimizer
from salcr.training.round import train_round
from salcr.training.seeding import seed_torch
from tests.support import tiny
from tests.support.plans import snakemake

# Sums of floats in another order, through a whole network; see docs/REPRODUCIBILITY.md.
TOLERANCE = 1e-4
RESULTS = (
    "labels.csv",
    "losses.csv",
    "checkpoint.pt",
    "optimizer.pt",
    "metrics.json",
)


@pytest.mark.slow
def test_cores_and_order_of_trials_change_no_byte(tmp_path: Path) -> None:
    """Jobs in parallel, or one at a time with the trials in reverse order, give equal files."""
    results = []
    for cores, trials in ((2, [1, 2]), (1, [2, 1])):
        folder = tmp_path / f"cores{cores}"
        folder.mkdir()
        words = ["--configfile", tiny.TINY_CONFIG, "--cores", cores, "--resources", "gpu=2"]
        words += ["--config", "compute={threads: 2}", f"dataset={{trials: {trials}}}", "rounds=2"]
        ends = [f"results/tiny/salcr/trial0{trial}/round02/metrics.json" for trial in trials]
        done = snakemake(folder, *ends, *words)
        assert done.returncode == 0, done.stdout
        root = folder / "results/tiny"
        paths = sorted(path for path in root.rglob("round*/*") if path.name in RESULTS)
        results.append({path.relative_to(root): path.read_bytes() for path in paths})
    first, second = results
    assert len(first) == 2 * (2 + 4 + 5) and first.keys() == second.keys()  # trials x rounds 0-2
    assert [path for path in first if first[path] != second[path]] == []


def test_two_rounds_in_one_process_are_those_through_files(stage_one: Path, tmp_path: Path) -> None:
    """Network and optimizer kept in memory for two rounds have the same bits as through files."""
    data = stage_one / "data"
    (tmp_path / "round00").symlink_to(stage_one / "round00")
    for round_ in (1, 2):
        assert tiny.associate(data, tmp_path, round_) == 0
        assert tiny.train(data, tmp_path, round_) == 0
    network, adam = in_one_process(data, tmp_path / "round00/checkpoint.pt", rounds=2)
    through_files = torch.load(tmp_path / "round02/checkpoint.pt", weights_only=True)["state"]
    kept = network.state_dict()
    assert kept.keys() == through_files.keys()
    assert all(torch.equal(kept[name], value) for name, value in through_files.items())
    saved = torch.load(tmp_path / "round02/optimizer.pt", weights_only=True)["adam"]["state"]
    for index, entries in adam.state_dict()["state"].items():
        assert all(torch.equal(value, saved[index][name]) for name, value in entries.items())


def in_one_process(data: Path, checkpoint: Path, rounds: int) -> tuple[Network, Adam]:
    """Return network and optimizer after some rounds with the tiny settings, from stage one on."""
    settings = variant(
        validate(merge(read_yaml(DEFAULT_CONFIG), read_yaml(tiny.TINY_CONFIG))), "salcr"
    )
    split = load_split(data, trial=1, split="train")
    cpu = torch.device("cpu")
    network, _ = read_model(checkpoint, cpu, settings.numerics, split=split, trial=1)
    seed_torch(0, 1, 2)  # seed, trial, and the number of this unit of work: new parts
    network.reset_parts(settings.fgsal.parts)
    adam = make_optimizer(network, settings.train.learning_rate, settings.optimizer.weight_decay)
    for round_ in range(1, rounds + 1):
        features = {m: extract(network, images, m)[0] for m, images in split.images.items()}
        clusters, labels = generate_pseudo_labels(features, settings.clustering, settings.associate)
        adam.learning_rate = decayed_rate(
            settings.train.learning_rate, settings.train.milestones, round_
        )
        train_round(network, adam, split, labels, clusters, settings, trial=1, round_=round_)
    return network, adam


@pytest.mark.parametrize("others", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_other_thread_counts_agree_until_training_magnifies(
    stage_one: Path, tmp_path: Path, others: int
) -> None:
    """The first step's losses and the metrics of a checkpoint are close to those of one thread."""
    data = stage_one / "data"
    losses, scores = [], []
    for threads in (1, others):
        out = tmp_path / f"threads{threads}"
        words = ["--threads", threads, "--pretrain-epochs", 1, "--pretrain-iterations", 1]
        assert tiny.pretrain(data, out, *words) == 0
        losses.append(pd.read_csv(out / "round00/losses.csv").to_numpy())
        (tmp_path / "round00").mkdir(exist_ok=True)
        if threads == 1:
            shutil.copy(out / "round00/checkpoint.pt", tmp_path / "round00")
        assert tiny.evaluate(data, tmp_path, 0, "--threads", threads) == 0
        settings = json.loads((tmp_path / "round00/metrics.json").read_text())["settings"]
        scores.append([draws["none"][0]["map"] for draws in settings.values()])
    torch.set_num_threads(1)
    for values in (losses, scores):
        assert np.allclose(values[1], values[0], rtol=TOLERANCE, atol=0)
