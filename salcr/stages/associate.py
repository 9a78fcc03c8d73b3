"""Generate the cross-modality pseudo-labels of a round (DAGL)."""

from __future__ import annotations

import argparse
from pathlib import Path

from salcr.config import cli
from salcr.config.schema import Config
from salcr.data.labels import write_labels
from salcr.data.store import load_split
from salcr.log import say
from salcr.models.checkpoint import read_model
from salcr.models.features import extract
from salcr.pseudo_labels.generate import generate_pseudo_labels
from salcr.training import devices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    cli.add_split(parser)
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="network of the round before"
    )
    parser.add_argument("--labels", type=Path, required=True, help="csv to write, a line per image")
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Cluster the training images, associate the clusters and write the labels."""
    device = devices.prepare(arguments.device, arguments.threads)
    trial = arguments.trial
    split = load_split(arguments.data, trial=trial, split="train")
    say(f"associate, trial {trial}: {split}")
    network, _ = read_model(
        arguments.checkpoint, device, settings.numerics, split=split, trial=trial
    )
    features = {m: extract(network, images, m)[0] for m, images in split.images.items()}
    clusters, labels = generate_pseudo_labels(features, settings.clustering, settings.associate)
    write_labels(arguments.labels, labels, clusters, trial=trial, data_hash=split.data_hash)
    say(f"{arguments.labels} written")
