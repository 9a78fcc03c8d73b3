"""Retrieval on the held-out identities, as the data set's protocol has it: CMC, mAP, mINP."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from salcr import cli, devices, files, rerank, schema
from salcr.data import MODALITIES, Images, load_identities, load_split
from salcr.datasets.readers import READERS
from salcr.engine import read_model
from salcr.logs import say
from salcr.metrics import Retrieval, retrieval_metrics
from salcr.protocol import Places, Setting, draw_gallery
from salcr.retrieval import mirrored_features

RANKS = 20
_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    cli.add_split(parser)
    parser.add_argument("--checkpoint", type=Path, required=True, help="network to evaluate")
    parser.add_argument("--identities", type=Path, required=True, help="true identities")
    parser.add_argument("--metrics", type=Path, required=True, help="json to write")
    parser.add_argument("--rankings", type=Path, required=True, help="json to write: some queries")
    cli.add_compute(parser)


def run(
    arguments: argparse.Namespace, *, numerics: schema.Numerics, evaluate: schema.Evaluate
) -> None:
    """Write the metrics of every setting, and the nearest gallery images of some queries."""
    device = devices.prepare(arguments.device, arguments.threads)
    split = load_split(arguments.data, trial=arguments.trial, split="test")
    say(f"evaluate, trial {arguments.trial}: {split}")
    network, checkpoint = read_model(
        arguments.checkpoint, device, numerics, split=split, trial=arguments.trial
    )
    identities = load_identities(arguments.identities, trial=arguments.trial, split="test")
    images = {"visible": split.visible, "infrared": split.infrared}
    features = {m: mirrored_features(network, images[m], m).cpu().numpy() for m in MODALITIES}
    places = {m: Places(identities[m], images[m].camera) for m in MODALITIES}
    metrics, rankings = {}, {}
    for setting in READERS[split.layout].settings:
        query, gallery = setting.query, setting.gallery
        distance = _squared_euclidean(features[query], features[gallery])
        found = {
            name: [
                _retrieve(setting, rank, features, places, draw) for draw in range(setting.draws)
            ]
            for name, rank in _rankings_of(evaluate).items()
        }
        metrics[setting.name] = {
            name: [_as_numbers(one) for one in draws] for name, draws in found.items()
        }
        rankings[setting.name] = {
            "query_modality": query,
            "gallery_modality": gallery,
            "queries": _nearest(setting, distance, images, places, count=evaluate.rankings),
        }
        for name, draws in found.items():
            say(
                f"{setting.name}, rerank {name}: {len(distance)} queries, {setting.draws} "
                f"galleries, rank-1 {np.mean([one.cmc[0] for one in draws]):.2%}, mAP "
                f"{np.mean([one.map for one in draws]):.2%}, mINP "
                f"{np.mean([one.minp for one in draws]):.2%}"
            )
    provenance = {"round": checkpoint["round"], "trial": arguments.trial}
    files.write_json(arguments.metrics, {**provenance, "settings": metrics})
    files.write_json(arguments.rankings, {**provenance, "settings": rankings})


def _squared_euclidean(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Return the distances [Q, G] of unit rows."""
    distance: np.ndarray = 2 - 2 * query @ gallery.T
    return distance


def _rankings_of(settings: schema.Evaluate) -> dict[str, Callable[..., np.ndarray]]:
    """Return name -> function of query and gallery features that gives distances [Q, G].

    A name says so where a ranking is transductive: it looks at all queries together.
    """
    offered: dict[str, tuple[str, Callable[..., np.ndarray]]] = {
        "cmfp": ("cmfp (transductive)", partial(rerank.cmfp, k=settings.cmfp_k)),
        "aim": ("aim", partial(rerank.aim, k1=settings.aim_k1, k2=settings.aim_k2)),
        "cmrr": ("cmrr (transductive)", partial(rerank.cmrr, k=settings.cmrr_k)),
    }
    return {"none": _squared_euclidean, **dict(offered[name] for name in settings.rerank)}


def _retrieve(
    setting: Setting,
    rank: Callable[..., np.ndarray],
    features: dict[str, np.ndarray],
    places: dict[str, Places],
    draw: int,
) -> Retrieval:
    """Return the metrics in one drawn gallery.

    Args:
        setting: the protocol.
        rank: gives the distances of query to gallery features.
        features: modality -> [N, C] unit rows of all test images.
        places: modality -> identities and cameras of all test images.
        draw: number of the draw.
    """
    query, images = places[setting.query], places[setting.gallery]
    drawn = draw_gallery(setting, images, draw)
    gallery = Places(images.identity[drawn], images.camera[drawn])
    return retrieval_metrics(
        rank(features[setting.query], features[setting.gallery][drawn]),
        query.identity,
        gallery.identity,
        excluded=None if setting.hides is None else setting.hides(query, gallery),
        identity_once=setting.identity_once,
        num_ranks=RANKS,
    )


def _as_numbers(found: Retrieval) -> dict[str, object]:
    return {"cmc": found.cmc.tolist(), "map": found.map, "minp": found.minp}


def _nearest(
    setting: Setting,
    distance: np.ndarray,
    images: dict[str, Images],
    places: dict[str, Places],
    *,
    count: int,
) -> list[dict[str, object]]:
    """Return evenly spread queries with their nearest in the first gallery, as array rows."""
    chosen = np.linspace(0, len(distance) - 1, num=min(count, len(distance))).round().astype(int)
    drawn = draw_gallery(setting, places[setting.gallery], draw=0)
    nearest = drawn[np.argsort(distance[chosen][:, drawn], axis=1, kind="stable")[:, :_SHOWN]]
    queries, gallery = images[setting.query], images[setting.gallery]
    who = places[setting.query].identity, places[setting.gallery].identity
    return [
        {
            "query": int(queries.rows[query]),
            "gallery": gallery.rows[found].tolist(),
            "right": (who[1][found] == who[0][query]).tolist(),
        }
        for query, found in zip(chosen, nearest, strict=True)
    ]
