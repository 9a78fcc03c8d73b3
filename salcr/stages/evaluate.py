"""Retrieval on the held-out identities, as the data set's protocol has it: CMC, mAP, mINP."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from salcr import files, provenance
from salcr.config import cli, schema
from salcr.config.schema import Config
from salcr.data.store import Split, load_split
from salcr.datasets.protocol import Setting, sample_gallery
from salcr.datasets.readers import READERS
from salcr.evaluation import reranking
from salcr.evaluation.metrics import Retrieval
from salcr.evaluation.retrieval import (
    TestSet,
    average_scores,
    embed_test_set,
    evaluate_gallery,
    format_scores,
    retrieval_to_dict,
    squared_euclidean,
)
from salcr.log import say
from salcr.models.checkpoint import read_model
from salcr.training import devices, tensorboard
from salcr.types import Floats, evenly_spaced

_SHOWN = 10
Rank = Callable[[Floats, Floats], Floats]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    cli.add_split(parser)
    parser.add_argument("--checkpoint", type=Path, required=True, help="network to evaluate")
    parser.add_argument("--identities", type=Path, required=True, help="true identities")
    parser.add_argument("--metrics", type=Path, required=True, help="json to write")
    parser.add_argument("--rankings", type=Path, required=True, help="json to write: some queries")
    cli.add_curves(parser)
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the metrics of every setting, and the nearest gallery images of some queries."""
    device = devices.prepare(arguments.device, arguments.threads)
    split = load_split(arguments.data, trial=arguments.trial, split="test")
    say(f"settings.evaluate, trial {arguments.trial}: {split}")
    network, checkpoint = read_model(
        arguments.checkpoint, device, settings.numerics, split=split, trial=arguments.trial
    )
    test = embed_test_set(network, split, arguments.identities, trial=arguments.trial)
    metrics: dict[str, object] = {}
    rankings: dict[str, object] = {}
    seconds: dict[str, dict[str, float]] = {}
    points: dict[str, float] = {}
    for setting in READERS[split.layout].settings:
        found = {
            name: _in_galleries(setting, r, test)
            for name, r in _rankings_of(settings.evaluate).items()
        }
        metrics[setting.name] = {
            name: [retrieval_to_dict(one) for one in draws] for name, (draws, _) in found.items()
        }
        rankings[setting.name] = {
            "query_modality": setting.query,
            "gallery_modality": setting.gallery,
            "queries": _nearest(setting, split, test, count=settings.evaluate.rankings),
        }
        seconds[setting.name] = {name: taken for name, (_, taken) in found.items()}
        for name, (draws, _) in found.items():
            scores = average_scores(draws)
            say(
                f"{setting.name}, rerank {name}: {setting.draws} galleries, {format_scores(scores)}"
            )
            points |= {f"{score}/{setting.name} {name}": value for score, value in scores.items()}
    # Not among the metrics: equal networks have equal metrics, bit for bit.
    provenance.note(rerank_seconds=seconds)
    origin = {"round": checkpoint["round"], "trial": arguments.trial}
    files.write_json(arguments.metrics, {**origin, "settings": metrics})
    files.write_json(arguments.rankings, {**origin, "settings": rankings})
    with tensorboard.curve_writer(arguments.curves) as add_points:
        add_points(checkpoint["round"], points)


def _rankings_of(settings: schema.Evaluate) -> dict[str, Rank]:
    """Return name -> function of query and gallery features that gives distances [Q, G].

    A name says with which numbers, and where a ranking is transductive: it looks at all queries
    together.
    """
    offered: dict[str, dict[str, Rank]] = {
        "cmfp": {
            f"cmfp k={k} (transductive)": partial(reranking.cmfp, k=k) for k in settings.cmfp_k
        },
        "aim": {
            f"aim k1={settings.aim_k1} k2={settings.aim_k2}": partial(
                reranking.aim, k1=settings.aim_k1, k2=settings.aim_k2
            )
        },
        "cmrr": {
            f"cmrr k={k} (transductive)": partial(reranking.cmrr, k=k) for k in settings.cmrr_k
        },
    }
    chosen: dict[str, Rank] = {"none": squared_euclidean}
    for name in settings.rerank:
        chosen.update(offered[name])
    return chosen


def _in_galleries(setting: Setting, rank: Rank, test: TestSet) -> tuple[list[Retrieval], float]:
    """Return the metrics in every drawn gallery, and the mean seconds of a ranking."""
    query, images = test.features[setting.query], test.features[setting.gallery]
    rank(query[:2], images[:2])  # what is compiled or loaded at the first call is not timed
    found, seconds = [], []
    for draw in range(setting.draws):
        drawn = sample_gallery(setting, test.annotations[setting.gallery], draw)
        gallery = images[drawn]
        started = time.perf_counter()
        distance = rank(query, gallery)
        seconds.append(time.perf_counter() - started)
        found.append(evaluate_gallery(setting, distance, test, drawn))
    return found, round(float(np.mean(seconds)), 5)


def _nearest(
    setting: Setting, split: Split, test: TestSet, *, count: int
) -> list[dict[str, object]]:
    """Return evenly spread queries with their nearest in the first gallery, as array rows.

    What the protocol hides from a query is not among them.
    """
    queries, gallery = split.images[setting.query], split.images[setting.gallery]
    chosen = np.array(evenly_spaced(len(queries), count))
    drawn = sample_gallery(setting, test.annotations[setting.gallery], draw=0)
    shown, images = test.features[setting.query][chosen], test.features[setting.gallery][drawn]
    distance = squared_euclidean(shown, images)
    asking = test.annotations[setting.query].at(chosen)
    asked = test.annotations[setting.gallery].at(drawn)
    if setting.excludes is not None:
        distance[setting.excludes(asking, asked)] = np.inf
    found = []
    for query, identity, row in zip(chosen, asking.identity, distance, strict=True):
        order = np.argsort(row, kind="stable")[: min(_SHOWN, np.isfinite(row).sum())]
        found.append(
            {
                "query": int(queries.rows[query]),
                "gallery": gallery.rows[drawn[order]].tolist(),
                "right": (asked.identity[order] == identity).tolist(),
            }
        )
    return found
