"""Cross-modality pseudo-labels of a round (DAGL)."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from salcr.config import cli, schema
from salcr.data.labels import write_labels
from salcr.data.store import MODALITIES, load_split
from salcr.log import say
from salcr.pseudo_labels.association import associate
from salcr.pseudo_labels.neighbors import Neighbours, nearest_of_some, nearest_within
from salcr.pseudo_labels.propagation import nearest_blocks
from salcr.training import devices
from salcr.training.engine import cluster, extract, read_model
from salcr.types import Association, Integers

# So many times CMFP's neighbours are searched that enough are left without the outliers.
_SPARE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    cli.add_split(parser)
    parser.add_argument("--checkpoint", type=Path, required=True, help="network of the last round")
    parser.add_argument("--labels", type=Path, required=True, help="csv to write, a line an image")
    cli.add_compute(parser)


def run(
    arguments: argparse.Namespace,
    *,
    numerics: schema.Numerics,
    clustering: schema.Clustering,
    associate: schema.Associate,
) -> None:
    """Write the labels."""
    device = devices.prepare(arguments.device, arguments.threads)
    split = load_split(arguments.data, trial=arguments.trial, split="train")
    say(f"associate, trial {arguments.trial}: {split}")
    network, _ = read_model(
        arguments.checkpoint, device, numerics, split=split, trial=arguments.trial
    )
    features = {
        modality: extract(network, images, modality)[0]
        for modality, images in zip(MODALITIES, (split.visible, split.infrared), strict=True)
    }
    clusters, labels = pseudo_labels(features, clustering, associate)
    write_labels(
        arguments.labels, labels, clusters, trial=arguments.trial, data_hash=split.data_hash
    )
    say(f"{arguments.labels} written")


def pseudo_labels(
    features: dict[str, Tensor], clustering: schema.Clustering, associate: schema.Associate
) -> tuple[dict[str, Integers], Association]:
    """Return the clusters of each modality and the labels of all images in both spaces.

    One neighbour search serves the clustering and, among the images that are no outliers, the
    feature propagation.

    Args:
        features: modality -> [N, C] unit global features.
        clustering: how to cluster.
        associate: which association.

    Returns:
        modality -> [N] DBSCAN labels, -1 for outliers, and the labels as `label_images` does.
    """
    wanted = max(clustering.k1, _SPARE * associate.cmfp_k)
    neighbours = {m: nearest_within(features[m], wanted) for m in MODALITIES}
    clusters = {
        m: cluster(features[m], clustering, m, neighbours=neighbours[m].indices) for m in MODALITIES
    }
    return clusters, label_images(features, clusters, associate, neighbours)


def label_images(
    features: dict[str, Tensor],
    clusters: dict[str, Integers],
    settings: schema.Associate,
    neighbours: dict[str, Neighbours],
) -> Association:
    """Return the labels of all images in both spaces, -1 for the outliers of the clustering.

    Args:
        features: modality -> [N, C] unit global features.
        clusters: modality -> [N] DBSCAN labels.
        settings: which association.
        neighbours: modality -> those of all its images, as `nearest_within` returns them.
    """
    kept = {m: np.flatnonzero(clusters[m] >= 0) for m in MODALITIES}
    rows = {m: features[m][torch.from_numpy(kept[m])] for m in MODALITIES}
    blocks = None
    if settings.cmfp and settings.method == "dagl":
        visible, infrared = (
            nearest_of_some(neighbours[m], rows[m], kept[m], settings.cmfp_k) for m in MODALITIES
        )
        blocks = nearest_blocks(
            rows["visible"], rows["infrared"], k=settings.cmfp_k, within=(visible, infrared)
        )
    found = associate(
        rows["visible"].cpu().numpy(),
        rows["infrared"].cpu().numpy(),
        clusters["visible"][kept["visible"]],
        clusters["infrared"][kept["infrared"]],
        cmfp_k=settings.cmfp_k if settings.cmfp else None,
        strength=settings.sinkhorn_strength,
        relabel_own_modality=settings.relabel_own_modality,
        method=settings.method,
        blocks=blocks,
    )
    modality_of = ("visible", "visible", "infrared", "infrared")  # of Association's fields
    spread = []
    for labels, modality in zip(found, modality_of, strict=True):
        column = np.full(len(clusters[modality]), -1, dtype=np.int64)
        column[kept[modality]] = labels
        spread.append(column)
    return Association(*spread)
