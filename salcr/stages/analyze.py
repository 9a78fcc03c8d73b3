"""What some figures show of one network: distances of pairs, a t-SNE, and where it looks.

On the test images. The files are small and hold plain numbers, so that drawing needs no network.
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

_MOST_OF_A_PERSON = 20  # images in the t-SNE, per modality
_DECIMALS = 4  # more than an eye sees, in small files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    cli.add_split(parser)
    parser.add_argument("--checkpoint", type=Path, required=True, help="network to look into")
    parser.add_argument("--identities", type=Path, required=True, help="true identities")
    parser.add_argument("--distances", type=Path, required=True, help="json to write: histograms")
    parser.add_argument("--tsne", type=Path, required=True, help="csv to write: the t-SNE")
    parser.add_argument("--attention", type=Path, required=True, help="json to write: heat maps")
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the three files."""
    device = devices.prepare(arguments.device, arguments.threads)
    split = load_split(arguments.data, trial=arguments.trial, split="test")
    say(f"settings.analyze, trial {arguments.trial}: {split}")
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
    # Stage one trains no parts, its networks have one; of an imported network nobody can tell.
    fgsal = checkpoint["config"].get("fgsal", {"enabled": network.num_parts > 1})
    shown = _attention(network, images, positions, features, with_parts=fgsal["enabled"])
    files.write_json(arguments.attention, {**origin, "images": shown})
    say(f"{arguments.distances}, {arguments.tsne}, {arguments.attention} written")


def _distances(
    features: dict[str, Floats], identities: dict[str, Integers], most: int
) -> dict[str, Any]:
    found = pair_distances(
        features["visible"],
        features["infrared"],
        identities["visible"],
        identities["infrared"],
        most=most,
    )
    for kind, distances in found.items():
        say(f"{distances.counts.sum()} {kind} pairs, mean cosine distance {distances.mean:.3f}")
    kinds = {
        kind: {"mean": distances.mean, "counts": distances.counts.tolist()}
        for kind, distances in found.items()
    }
    return {"edges": EDGES.round(_DECIMALS).tolist(), **kinds}


def _tsne(
    features: dict[str, Floats],
    images: dict[str, Images],
    identities: dict[str, Integers],
    people: Integers,
) -> pd.DataFrame:
    """Return a line for each of the people's images, with its place in the plane."""
    chosen = {
        m: np.concatenate(
            [np.flatnonzero(identities[m] == one)[:_MOST_OF_A_PERSON] for one in people]
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
    """Return the heat maps of images, each matched with the other modality's of that person.

    Args:
        network: to look into.
        images: modality -> test images.
        positions: modality -> positions of the images to show, the same people in both.
        features: modality -> [N, C] unit rows of all test images.
        with_parts: also the attention of the parts; without their losses it means nothing.
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
                "attention": _rounded(attention[number]) if with_parts else None,
                "grad_cam": _rounded(cam[number]),
            }
            for number, (position, match) in enumerate(
                zip(positions[modality], positions[other], strict=True)
            )
        ]
    return lines


def _rounded(heat: Floats) -> list[list[float]]:
    """Return a heat map with the digits that a picture can show."""
    return [[float(f"{value:.4g}") for value in row] for row in heat]


def _first_of_each(identities: Integers, people: Integers) -> Integers:
    """Return the position of each person's first image."""
    return np.array([np.flatnonzero(identities == one)[0] for one in people])
