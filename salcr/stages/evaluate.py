"""Evaluate retrieval on the test identities by the data set's protocol: CMC, mAP, mINP."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from salcr import files, provenance
from salcr.config import cli, schema
from salcr.config.schema import Config
from salcr.data.store import Split, load_split
from salcr.datasets.protocol import Setting, sample_gallery
from salcr.datasets.readers import READERS
from salcr.errors import SalcrError
from salcr.evaluation import reranking
from salcr.evaluation.open_set import evaluate_open_set, format_open_set
from salcr.evaluation.retrieval import (
    Rank,
    TestSet,
    average_scores,
    embed_test_set,
    evaluate_galleries,
    format_scores,
    nearest_images,
    retrieval_to_dict,
    squared_euclidean,
)
from salcr.log import say, warn
from salcr.models.checkpoint import read_model
from salcr.training import devices, tensorboard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    cli.add_split(parser)
    several: dict[str, Any] = {"type": Path, "nargs": "+"}
    parser.add_argument("--checkpoint", **several, required=True, help="networks to evaluate")
    parser.add_argument("--identities", type=Path, required=True, help="true identities")
    parser.add_argument("--metrics", **several, required=True, help="json to write, of each")
    parser.add_argument(
        "--rankings", **several, required=True, help="json to write, of each: some queries"
    )
    parser.add_argument("--jobs", **several, help="json to write, of each: as --job")
    cli.add_curves(parser)
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write each network's metrics of every setting, and the nearest images of some queries."""
    outputs = [arguments.metrics, arguments.rankings, *([arguments.jobs] if arguments.jobs else [])]
    if any(len(paths) != len(arguments.checkpoint) for paths in outputs):
        raise SalcrError("--metrics, --rankings and --jobs need a file for each --checkpoint")
    device = devices.prepare(arguments.device, arguments.threads)
    split = load_split(arguments.data, trial=arguments.trial, split="test")
    say(f"evaluate, trial {arguments.trial}: {split}")
    with tensorboard.curve_writer(arguments.curves) as add_points:
        for checkpoint, *paths in zip(arguments.checkpoint, *outputs, strict=True):
            started = time.monotonic()
            round_, points = _evaluate(checkpoint, device, split, arguments, settings, *paths[:2])
            for path in paths[2:]:
                seconds = time.monotonic() - started
                provenance.write_job(path, "evaluate", settings.model_dump(), seconds=seconds)
            add_points(round_, points)


def _evaluate(
    path: Path,
    device: torch.device,
    split: Split,
    arguments: argparse.Namespace,
    settings: Config,
    metrics_path: Path,
    rankings_path: Path,
) -> tuple[int, dict[str, float]]:
    """Evaluate a network and write the results; return its round and its scores by name."""
    network, checkpoint = read_model(
        path, device, settings.numerics, split=split, trial=arguments.trial
    )
    test = embed_test_set(network, split, arguments.identities, trial=arguments.trial)
    metrics: dict[str, object] = {}
    rankings: dict[str, object] = {}
    open_set: dict[str, object] = {}
    seconds: dict[str, dict[str, float]] = {}
    points: dict[str, float] = {}
    for setting in READERS[split.layout].settings:
        _warn_of_sizes(setting, test, settings.evaluate)
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
        if settings.evaluate.open_set:
            open_set[setting.name] = identified = evaluate_open_set(setting, test)
            say(f"{setting.name}, open set: {format_open_set(identified)}")
    # Not part of the metrics, so that equal networks have equal metrics, bit for bit.
    provenance.note(rerank_seconds=seconds)
    origin = {"round": checkpoint["round"], "trial": arguments.trial}
    optional = {"open_set": open_set} if open_set else {}
    files.write_json(metrics_path, {**origin, "settings": metrics, **optional})
    files.write_json(rankings_path, {**origin, "settings": rankings})
    return checkpoint["round"], points


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


def _warn_of_sizes(setting: Setting, test: TestSet, settings: schema.Evaluate) -> None:
    """Warn of re-rankings whose neighbors are the whole gallery, with the numbers."""
    size = len(sample_gallery(setting, test.annotations[setting.gallery], draw=0))
    keys = {
        "cmfp": ("cmfp_k", max(settings.cmfp_k)),
        "aim": ("aim_k1", settings.aim_k1),
        "cmrr": ("cmrr_k", max(settings.cmrr_k)),
    }
    for key, k in (keys[name] for name in settings.rerank):
        if k >= size:
            warn(
                f"{setting.name}: evaluate.{key} is {k}, but the gallery has only {size} images: "
                f"all are neighbors; lower evaluate.{key}"
            )
