"""Generate the cross-modality pseudo-labels of a round (DAGL)."""

from __future__ import annotations

import argparse
from pathlib import Path

from salcr import provenance
from salcr.config import cli
from salcr.config.schema import Config
from salcr.data.labels import write_labels
from salcr.data.store import Split, load_split
from salcr.errors import SalcrError
from salcr.log import say, warn
from salcr.models.checkpoint import read_model
from salcr.models.features import Extracted, extract
from salcr.models.network import Network
from salcr.pseudo_labels import diagnosis
from salcr.pseudo_labels.generate import generate_pseudo_labels
from salcr.training import devices
from salcr.types import Integers, PseudoLabels


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
    associate_images(network, split, settings, arguments.labels, trial=trial)


def associate_images(
    network: Network, split: Split, settings: Config, path: Path, *, trial: int
) -> tuple[dict[str, Extracted], dict[str, Integers], PseudoLabels[Integers]]:
    """Cluster the training images, associate the clusters and write the labels.

    Args:
        network: of the round before.
        split: the training images.
        settings: with the sections of this stage.
        path: csv to write.
        trial: number of the split.

    Returns:
        modality -> features of its images, as `extract` returns them; modality -> [N] DBSCAN
        labels; and the labels as `label_images` returns them.

    Raises:
        SalcrError: a modality has no cluster, a feature is not finite, or training has collapsed.
    """
    features = {m: extract(network, images, m) for m, images in split.images.items()}
    of_images = {m: global_features for m, (global_features, _) in features.items()}
    tracks = {m: images.tracks for m, images in split.images.items()}
    clusters, labels = generate_pseudo_labels(
        of_images, settings.clustering, settings.associate, tracks
    )
    numbers = diagnosis.describe_round(of_images, clusters, labels)
    say(", ".join(f"{name} {value:.3g}" for name, value in numbers.items()))
    if settings.associate.stop_on_collapse and (reason := diagnosis.hopeless(numbers)):
        raise SalcrError(
            f"{reason}. Further rounds would not help; associate.stop_on_collapse: false goes on"
        )
    messages = diagnosis.explain(numbers, of_images, settings.clustering)
    for message in messages:
        warn(message)
    rounded = {name: round(value, 4) for name, value in numbers.items()}
    provenance.note("associate", labels=rounded, diagnosis=messages)
    write_labels(path, labels, clusters, trial=trial, data_hash=split.data_hash)
    say(f"{path} written")
    return features, clusters, labels
