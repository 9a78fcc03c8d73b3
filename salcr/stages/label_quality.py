"""Measure the quality of a trial's pseudo-labels, round by round, against the true identities."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from salcr import files
from salcr.config import cli
from salcr.config.schema import Config
from salcr.data.labels import read_labels
from salcr.data.store import load_identities, read_summary
from salcr.evaluation.label_quality import label_quality, stability
from salcr.log import say
from salcr.types import MODALITIES, Integers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    cli.add_split(parser)
    parser.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        required=True,
        help="csv files that associate wrote, in the order of their rounds, from 1",
    )
    parser.add_argument("--identities", type=Path, required=True, help="true identities")
    parser.add_argument("--label-quality", type=Path, required=True, help="json to write")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the quality of each round's labels in both label spaces."""
    identities = load_identities(arguments.identities, trial=arguments.trial, split="train")
    sizes = {modality: len(column) for modality, column in identities.items()}
    data_hash = read_summary(arguments.data)["data_hash"]
    truth = (identities["visible"], identities["infrared"])
    rounds = []
    before: dict[str, Integers] = {}
    for path in arguments.labels:
        labels, _ = read_labels(path, trial=arguments.trial, sizes=sizes, data_hash=data_hash)
        scores: dict[str, dict[str, float]] = {}
        for space in MODALITIES:  # the label spaces have the same names
            visible, infrared = (labels.of(modality, space) for modality in MODALITIES)
            scores[space] = label_quality(visible, infrared, *truth)
            both = np.concatenate([visible, infrared])
            if space in before:
                scores[space]["stability"] = stability(before[space], both)
            before[space] = both
        rounds.append(scores)
    files.write_json(arguments.label_quality, {"rounds": rounds})
    if (known := rounds[0]["visible"].get("known")) is not None:  # the same in all rounds
        say(
            f"the identity of {known:.1%} of the training images is known: "
            + ("scores are of these alone" if known else "there is nothing to compare labels with")
        )
    for round_, quality in enumerate(rounds, start=1):
        for space, its in quality.items():
            summary = ", ".join(f"{name} {value:.3f}" for name, value in its.items())
            say(f"round {round_}, {space} space: {summary}")
