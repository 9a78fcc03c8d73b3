"""Compute the centers of a round's clusters before and after CMFP, in the plane, for a figure."""

from __future__ import annotations

import argparse
from pathlib import Path

from salcr import files
from salcr.config import cli
from salcr.config.schema import Config
from salcr.data.labels import read_labels
from salcr.data.store import load_identities, load_split
from salcr.evaluation.cluster_centers import compare_centers
from salcr.log import say
from salcr.models.checkpoint import read_model
from salcr.models.features import extract
from salcr.training import devices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    cli.add_split(parser)
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="network of the round before"
    )
    parser.add_argument("--labels", type=Path, required=True, help="csv that associate wrote")
    parser.add_argument("--identities", type=Path, required=True, help="true identities")
    parser.add_argument("--cluster-centers", type=Path, required=True, help="csv to write")
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write a line for each cluster, before and after the propagation."""
    device = devices.prepare(arguments.device, arguments.threads)
    trial = arguments.trial
    split = load_split(arguments.data, trial=trial, split="train")
    say(f"cluster_centers, trial {trial}: {split}")
    network, _ = read_model(
        arguments.checkpoint, device, settings.numerics, split=split, trial=trial
    )
    _, clusters = read_labels(
        arguments.labels, trial=trial, sizes=split.sizes, data_hash=split.data_hash
    )
    identities = load_identities(arguments.identities, trial=trial, split="train")
    features = {
        m: extract(network, images, m)[0].cpu().numpy() for m, images in split.images.items()
    }
    table = compare_centers(features, clusters, identities, settings.associate.cmfp_k)
    files.write_table(arguments.cluster_centers, table)
    say(f"{arguments.cluster_centers} written")
