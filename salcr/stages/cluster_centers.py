"""Compute the centers of a round's clusters before and after CMFP, in the plane, for a figure."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from salcr import files
from salcr.config import cli
from salcr.config.schema import Config
from salcr.data.labels import read_labels
from salcr.data.store import load_identities, load_split
from salcr.evaluation.tsne import tsne_2d
from salcr.log import say
from salcr.models.checkpoint import read_model
from salcr.models.features import extract
from salcr.pseudo_labels.clustering import cluster_means
from salcr.pseudo_labels.propagation import propagate
from salcr.pseudo_labels.vectors import unit_rows
from salcr.training import devices
from salcr.types import MODALITIES, Floats, Integers

_DECIMALS = 4


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
    kept = {m: np.flatnonzero(clusters[m] >= 0) for m in MODALITIES}
    before = {
        m: extract(network, images, m)[0].cpu().numpy()[kept[m]]
        for m, images in split.images.items()
    }
    mixed = propagate(before["visible"], before["infrared"], k=settings.associate.cmfp_k)
    people = {m: _majority(identities[m][kept[m]], clusters[m][kept[m]]) for m in MODALITIES}
    tables = []
    for when, features in (
        ("before", before),
        ("after", dict(zip(MODALITIES, mixed, strict=True))),
    ):
        centers = {
            m: unit_rows(cluster_means(features[m], clusters[m][kept[m]])) for m in MODALITIES
        }
        tables.append(_lines(centers, people, when))
    files.write_table(arguments.cluster_centers, pd.concat(tables, ignore_index=True))
    say(f"{arguments.cluster_centers} written")


def _lines(centers: dict[str, Floats], people: dict[str, Integers], when: str) -> pd.DataFrame:
    """Return a line per cluster: identity, that of the other modality's nearest center, position.

    Args:
        centers: modality -> [K, C] unit rows.
        people: modality -> [K] identities.
        when: "before" or "after" the propagation.
    """
    cosine = centers["visible"] @ centers["infrared"].T
    nearest = {
        "visible": people["infrared"][cosine.argmax(axis=1)],
        "infrared": people["visible"][cosine.argmax(axis=0)],
    }
    correct = np.concatenate([nearest[m] == people[m] for m in MODALITIES])
    say(
        f"{when} CMFP: for {correct.mean():.1%} of {len(correct)} centers, the nearest one in the "
        "other modality is of the same person"
    )
    x, y = tsne_2d(np.concatenate([centers[m] for m in MODALITIES])).round(_DECIMALS).T
    lines = [
        pd.DataFrame(
            {
                "when": when,
                "modality": m,
                "cluster": np.arange(len(centers[m])),
                "identity": people[m],
                "nearest_identity": nearest[m],
            }
        )
        for m in MODALITIES
    ]
    return pd.concat(lines, ignore_index=True).assign(x=x, y=y)


def _majority(identities: Integers, clusters: Integers) -> Integers:
    """Return the most frequent identity of each cluster, [K]; the smallest of equally frequent."""
    names, numbers = np.unique(identities, return_inverse=True)
    counts = np.zeros((clusters.max() + 1, len(names)), dtype=np.int64)
    np.add.at(counts, (clusters, numbers), 1)
    majority: Integers = names[counts.argmax(axis=1)]
    return majority
