"""Evaluate a network of another data set on the test images of this one (paper, Table 16).

Only this stage uses networks across data sets, and its result says so; `evaluate` refuses a network
of other data. The result is not part of the tables of `aggregate`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from salcr import files
from salcr.config import cli, schema
from salcr.config.schema import Config
from salcr.data import store
from salcr.data.store import load_split
from salcr.datasets.readers import READERS
from salcr.errors import SalcrError
from salcr.evaluation.retrieval import (
    average_scores,
    embed_test_set,
    evaluate_galleries,
    format_scores,
    retrieval_to_dict,
    squared_euclidean,
)
from salcr.log import say
from salcr.models.checkpoint import check_training_images, read_network
from salcr.models.network import Network
from salcr.training import devices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    cli.add_split(parser)
    parser.add_argument("--identities", type=Path, required=True, help="true identities")
    parser.add_argument(
        "--other",
        type=Path,
        required=True,
        help="folder that preprocess wrote for the data set that the network was trained on",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="network trained there")
    parser.add_argument("--metrics", type=Path, required=True, help="json to write")
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the metrics of every setting, and the training data of the network."""
    device = devices.prepare(arguments.device, arguments.threads)
    split = load_split(arguments.data, trial=arguments.trial, split="test")
    network, trained_on = _network_of(arguments, device, settings.numerics, layout=split.layout)
    say(f"transfer from {trained_on['layout']} to {split.layout}, {split}")
    test = embed_test_set(network, split, arguments.identities, trial=arguments.trial)
    metrics = {}
    for setting in READERS[split.layout].settings:
        galleries, _ = evaluate_galleries(setting, squared_euclidean, test)
        metrics[setting.name] = {"none": [retrieval_to_dict(gallery) for gallery in galleries]}
        say(f"{setting.name}: {format_scores(average_scores(galleries))}")
    result = {"trained_on": trained_on, "trial": arguments.trial, "settings": metrics}
    files.write_json(arguments.metrics, result)


def _network_of(
    arguments: argparse.Namespace, device: torch.device, numerics: schema.Numerics, *, layout: str
) -> tuple[Network, dict[str, Any]]:
    """Return the network and its training data.

    The network passes the check of all stages with the images that it was trained on.

    Raises:
        SalcrError: it was not trained on the other data set, or that has the layout of this one, so
            that people of this test split could be among its training images.
    """
    network, checkpoint = read_network(arguments.checkpoint, device, numerics)
    trial = checkpoint["trial"]
    other = load_split(arguments.other, trial=trial, split="train")
    if other.layout == layout:
        raise SalcrError(
            f"{arguments.other}: has the layout {layout} of the test images; only a network of "
            "another data set can be transferred (transfer.results)"
        )
    check_training_images(arguments.checkpoint, checkpoint, split=other, trial=trial)
    return network, {
        "layout": other.layout,
        "published": store.read_summary(arguments.other)["published"],
        "trial": trial,
        "round": checkpoint["round"],
    }
