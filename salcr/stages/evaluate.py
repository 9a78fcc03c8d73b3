"""Evaluate retrieval on the test identities by the data set's protocol: CMC, mAP, mINP."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from salcr import files, provenance
from salcr.config import cli, schema
from salcr.config.schema import Config
from salcr.data.store import load_split
from salcr.datasets.readers import READERS
from salcr.evaluation import reranking
from salcr.evaluation.retrieval import (
    Rank,
    average_scores,
    embed_test_set,
    evaluate_galleries,
    format_scores,
    nearest_images,
    retrieval_to_dict,
    squared_euclidean,
)
from salcr.log import say
from salcr.models.checkpoint import read_model
from salcr.training import devices, tensorboard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
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
    say(f"evaluate, trial {arguments.trial}: {split}")
    network, checkpoint = read_model(
        arguments.checkpoint, device, settings.numerics, split=split, trial=arguments.trial
    )
    test = embed_test_set(network, split, arguments.identities, trial=arguments.trial)
    metrics: dict[str, object] = {}
    rankings: dict[str, object] = {}
    seconds: dict[str, dict[str, float]] = {}
    points: dict[str, float] = {}
    for setting in READERS[split.layout].settings:
        evaluations = {
            name: evaluate_galleries(setting, rank, test)
            for name, rank in _rankings_of(settings.evaluate).items()
        }
        metrics[setting.name] = {
            name: [retrieval_to_dict(gallery) for gallery in galleries]
            for name, (galleries, _) in evaluations.items()
        }
        rankings[setting.name] = {
            "query_modality": setting.query,
            "gallery_modality": setting.gallery,
            "queries": nearest_images(setting, split, test, count=settings.evaluate.rankings),
        }
        seconds[setting.name] = {name: round(taken, 5) for name, (_, taken) in evaluations.items()}
        for name, (galleries, _) in evaluations.items():
            scores = average_scores(galleries)
            say(
                f"{setting.name}, rerank {name}: {setting.draws} galleries, {format_scores(scores)}"
            )
            points |= {f"{score}/{setting.name} {name}": value for score, value in scores.items()}
    # Not part of the metrics, so that equal networks have equal metrics, bit for bit.
    provenance.note(rerank_seconds=seconds)
    origin = {"round": checkpoint["round"], "trial": arguments.trial}
    files.write_json(arguments.metrics, {**origin, "settings": metrics})
    files.write_json(arguments.rankings, {**origin, "settings": rankings})
    with tensorboard.curve_writer(arguments.curves) as add_points:
        add_points(checkpoint["round"], points)


def _rankings_of(settings: schema.Evaluate) -> dict[str, Rank]:
    """Return the rankings to evaluate: name -> function.

    A name holds the parameters, and whether the ranking is transductive: it uses all queries
    together.
    """
    available: dict[str, dict[str, Rank]] = {
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
        chosen.update(available[name])
    return chosen
