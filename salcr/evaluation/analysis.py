"""Analyze a network's features and attention for figures, as small tables of plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from salcr.data import transforms
from salcr.data.store import Images
from salcr.evaluation.pair_distances import EDGES, pair_distances
from salcr.evaluation.tsne import tsne_2d
from salcr.log import say
from salcr.models.network import Network
from salcr.models.saliency import compute_heat_maps
from salcr.types import MODALITIES, Floats, Integers

_MAX_IMAGES_OF_A_PERSON = 20  # in the t-SNE, per modality
_DECIMALS = 4  # enough for figures, and small files


def distance_histograms(
    features: Mapping[str, Floats], identities: Mapping[str, Integers], *, most: int
) -> dict[str, Any]:
    """Return histograms of the cosine distances of cross-modality pairs, as plain values.

    Args:
        features: modality -> [N, C], unit rows.
        identities: modality -> [N].
        most: maximum number of pairs of each kind, see `pair_distances`.

    Returns:
        `edges` of the bins; for "positive" pairs (one person) and "negative" ones (two people), the
        `mean` over the pairs and the `counts` in the bins.

    Raises:
        ValueError: there are no pairs of a kind.
    """
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


def embed_people(
    features: Mapping[str, Floats],
    images: Mapping[str, Images],
    identities: Mapping[str, Integers],
    people: Integers,
) -> pd.DataFrame:
    """Return a line for each image of some people, with its position in the plane by t-SNE.

    Args:
        features: modality -> [N, C], unit rows.
        images: modality -> N images.
        identities: modality -> [N].
        people: identities to show, at most 20 images of each in a modality.

    Returns:
        Columns `modality`, `row` (of the modality's array), `identity`, and `x` and `y` with four
        decimals.
    """
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


def heat_maps_of(
    network: Network,
    images: Mapping[str, Images],
    features: Mapping[str, Floats],
    identities: Mapping[str, Integers],
    people: Integers,
    *,
    with_parts: bool,
) -> list[dict[str, Any]]:
    """Return the heat maps of people's first images, each with their first of the other modality.

    Args:
        network: computes the heat maps.
        images: modality -> N images.
        features: modality -> [N, C], unit rows.
        identities: modality -> [N].
        people: identities to show, each in both modalities.
        with_parts: whether to include the attention of the parts, which is meaningless if they
            were not trained.

    Returns:
        Plain values of each visible image, then of each infrared one: its `modality` and `row`, the
        row of its `partner`, their `cosine`, in [-1, 1], and the maps `grad_cam` and `attention`
        (None without parts), rows of four significant digits.
    """
    positions = {m: _first_of_each(identities[m], people) for m in MODALITIES}
    device = network.part_tokens.device
    lines = []
    for modality, other in (MODALITIES, MODALITIES[::-1]):
        batch = transforms.normalize_images(images[modality].batch(positions[modality], device))
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
