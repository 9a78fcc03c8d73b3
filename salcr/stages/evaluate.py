"""Retrieval on the held-out identities: CMC, mAP and mINP in both directions."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from salcr import cli, devices, files, schema
from salcr.clustering import Integers
from salcr.data import MODALITIES, Images, load_identities, load_split
from salcr.engine import extract, read_model, unit
from salcr.logs import say
from salcr.metrics import Retrieval, retrieval_metrics
from salcr.model import Network

RANKS = 20
_SHOWN = 10

# setting -> (query modality, gallery modality); the field says "thermal" of RegDB
SETTINGS = {
    "visible-to-thermal": ("visible", "infrared"),
    "thermal-to-visible": ("infrared", "visible"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    cli.add_split(parser)
    parser.add_argument("--checkpoint", type=Path, required=True, help="network to evaluate")
    parser.add_argument("--identities", type=Path, required=True, help="true identities")
    parser.add_argument("--metrics", type=Path, required=True, help="json to write")
    parser.add_argument("--rankings", type=Path, required=True, help="json to write: some queries")
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, *, evaluate: schema.Evaluate) -> None:
    """Write the metrics of both directions, and the nearest gallery images of some queries."""
    device = devices.prepare(arguments.device, arguments.threads)
    split = load_split(arguments.data, trial=arguments.trial, split="test")
    say(f"evaluate, trial {arguments.trial}: {split.sizes}")
    network, checkpoint = read_model(
        arguments.checkpoint, device, split=split, trial=arguments.trial
    )
    identities = load_identities(arguments.identities, trial=arguments.trial, split="test")
    images = {"visible": split.visible, "infrared": split.infrared}
    features = {m: mirrored_features(network, images[m], m).cpu().numpy() for m in MODALITIES}
    metrics, rankings = {}, {}
    for setting, (query, gallery) in SETTINGS.items():
        distance = 2 - 2 * features[query] @ features[gallery].T  # squared Euclidean, unit rows
        found = retrieval_metrics(distance, identities[query], identities[gallery], num_ranks=RANKS)
        metrics[setting] = _as_numbers(found)
        rankings[setting] = _nearest(
            distance, images[query], images[gallery], identities[query], identities[gallery],
            count=evaluate.rankings,
        )  # fmt: skip
        say(
            f"{setting}: {distance.shape[0]} queries, {distance.shape[1]} gallery images, rank-1 "
            f"{found.cmc[0]:.2%}, mAP {found.map:.2%}, mINP {found.minp:.2%}"
        )
    provenance = {"round": checkpoint["round"], "trial": arguments.trial}
    files.write_json(arguments.metrics, {**provenance, "settings": metrics})
    files.write_json(arguments.rankings, {**provenance, "settings": rankings})


def mirrored_features(network: Network, images: Images, modality: str) -> torch.Tensor:
    """Return unit features [N, C]: the mean of those of each image and of its mirror image."""
    direct, _ = extract(network, images, modality)
    mirror, _ = extract(network, images, modality, mirrored=True)
    return unit(direct + mirror)


def _as_numbers(found: Retrieval) -> dict[str, object]:
    return {"cmc": found.cmc.tolist(), "map": found.map, "minp": found.minp}


def _nearest(
    distance: np.ndarray,
    queries: Images,
    gallery: Images,
    query_identity: Integers,
    gallery_identity: Integers,
    *,
    count: int,
) -> list[dict[str, object]]:
    """Return evenly spread queries with their nearest gallery images, as rows of the arrays."""
    chosen = np.linspace(0, len(distance) - 1, num=min(count, len(distance))).round().astype(int)
    nearest = np.argsort(distance[chosen], axis=1, kind="stable")[:, :_SHOWN]
    return [
        {
            "query": int(queries.rows[query]),
            "gallery": gallery.rows[found].tolist(),
            "right": (gallery_identity[found] == query_identity[query]).tolist(),
        }
        for query, found in zip(chosen, nearest, strict=True)
    ]
