"""Analyze a network on the test images for figures: distances of pairs, a t-SNE, and heat maps.

The files are small and hold plain numbers, so that plotting does not need the network.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from salcr import files
from salcr.config import cli
from salcr.config.schema import Config
from salcr.data import transforms
from salcr.data.store import Images, load_identities, load_split
from salcr.errors import SalcrError
from salcr.evaluation.pair_distances import EDGES, pair_distances
from salcr.evaluation.tsne import tsne_2d
from salcr.log import say
from salcr.models.checkpoint import read_model
from salcr.models.features import mirrored_features
from salcr.models.network import Network
from salcr.models.saliency import compute_heat_maps
from salcr.training import devices
from salcr.types import MODALITIES, Floats, Integers, evenly_spaced

_MAX_IMAGES_OF_A_PERSON = 20  # in the t-SNE, per modality
_DECIMALS = 4  # enough for figures, and small files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    cli.add_split(parser)
    parser.add_argument("--checkpoint", type=Path, required=True, help="network to analyze")
    parser.add_argument("--identities", type=Path, required=True, help="true identities")
    parser.add_argument("--distances", type=Path, required=True, help="json to write: histograms")
    parser.add_argument("--tsne", type=Path, required=True, help="csv to write: the t-SNE")
    parser.add_argument("--attention", type=Path, required=True, help="json to write: heat maps")
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the distances, the t-SNE and the heat maps."""
    device = devices.prepare(arguments.device, arguments.threads)
    split = load_split(arguments.data, trial=arguments.trial, split="test")
    say(f"analyze, trial {arguments.trial}: {split}")
    network, checkpoint = read_model(
        arguments.checkpoint, device, settings.numerics, split=split, trial=arguments.trial
    )
    identities = load_identities(arguments.identities, trial=arguments.trial, split="test")
    images = split.images
    features = {m: mirrored_features(network, images[m], m).cpu().numpy() for m in MODALITIES}
    shared = np.intersect1d(identities["visible"], identities["infrared"])
    if len(shared) < 2:
        raise SalcrError(f"{arguments.identities}: fewer than two people are in both modalities")
    origin = {"round": checkpoint["round"], "trial": arguments.trial}
    files.write_json(
        arguments.distances, {**origin, **_distances(features, identities, settings.analyze.pairs)}
    )
    people = shared[evenly_spaced(len(shared), settings.analyze.tsne_identities)]
    files.write_table(arguments.tsne, _tsne(features, images, identities, people))
    people = shared[evenly_spaced(len(shared), settings.analyze.attention_identities)]
    positions = {m: _first_of_each(identities[m], people) for m in MODALITIES}
    # Networks of stage one have a single, untrained part. An imported network with more parts is
    # assumed to have trained them, as its checkpoint does not say.
    fgsal = checkpoint["config"].get("fgsal", {"enabled": network.num_parts > 1})
    heat_maps = _attention(network, images, positions, features, with_parts=fgsal["enabled"])
    files.write_json(arguments.attention, {**origin, "images": heat_maps})
    say(f"{arguments.distances}, {arguments.tsne}, {arguments.attention} written")


def _distances(
    features: dict[str, Floats], identities: dict[str, Integers], most: int
) -> dict[str, Any]:
    distances_of = pair_distances(
        features["visible"],
        features["infrared"],
        identities["visible"],
        identities["infrared"],
        most=most,
    )
    for kind, distances in distances_of.items():
        say(f"{distances.counts.sum()} {kind} pairs, mean cosine distance {distances.mean:.3f}")
    kinds = {
        kind: {"mean": distances.mean, "counts": distances.counts.tolist()}
        for kind, distances in distances_of.items()
    }
    return {"edges": EDGES.round(_DECIMALS).tolist(), **kinds}


def _tsne(
    features: dict[str, Floats],
    images: dict[str, Images],
    identities: dict[str, Integers],
    people: Integers,
) -> pd.DataFrame:
    """Return a line for each image of the given people, with its position in the plane."""
    chosen = {
        m: np.concatenate(
            [np.flatnonzero(identities[m] == i)[:_MAX_IMAGES_OF_A_PERSON] for i in people]
        )
        for m in MODALITIES
    }
    points = tsne_2d(np.concatenate([features[m][chosen[m]] for m in MODALITIES]))
    lines = [
        pd.DataFrame(
            {
                "modality": m,
                "row": images[m].rows[chosen[m]],
                "identity": identities[m][chosen[m]],
            }
        )
        for m in MODALITIES
    ]
    x, y = points.round(_DECIMALS).T
    return pd.concat(lines, ignore_index=True).assign(x=x, y=y)


def _attention(
    network: Network,
    images: dict[str, Images],
    positions: dict[str, Integers],
    features: dict[str, Floats],
    *,
    with_parts: bool,
) -> list[dict[str, Any]]:
    """Return the heat maps of images, each with an image of that person in the other modality.

    Args:
        network: network to analyze.
        images: modality -> test images.
        positions: modality -> positions of the images, of the same people in both modalities.
        features: modality -> [N, C] unit rows of all test images.
        with_parts: whether to include the attention of the parts, which is meaningless if they
            were not trained.
    """
    device = network.part_tokens.device
    lines = []
    for modality, other in (MODALITIES, MODALITIES[::-1]):
        batch = transforms.normalize_images(images[modality].batch(positions[modality]).to(device))
        partner = torch.from_numpy(features[other][positions[other]]).to(device)
        attention, cam, cosine = compute_heat_maps(network, batch, modality, partner)
        rows, partners = images[modality].rows, images[other].rows
        lines += [
            {
                "modality": modality,
                "row": int(rows[position]),
                "partner": int(partners[match]),
                "cosine": round(float(cosine[number]), _DECIMALS),
                "attention": _round(attention[number]) if with_parts else None,
                "grad_cam": _round(cam[number]),
            }
            for number, (position, match) in enumerate(
                zip(positions[modality], positions[other], strict=True)
            )
        ]
    return lines


def _round(heat: Floats) -> list[list[float]]:
    """Return a heat map [H, W] with four significant digits."""
    return [[float(f"{value:.4g}") for value in row] for row in heat]


def _first_of_each(identities: Integers, people: Integers) -> Integers:
    """Return the position of each person's first image."""
    return np.array([np.flatnonzero(identities == identity)[0] for identity in people])
