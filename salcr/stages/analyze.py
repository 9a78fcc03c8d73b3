"""Analyze a network on the test images for figures: distances of pairs, a t-SNE, and heat maps.

The files are small and hold plain numbers, so that plotting does not need the network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from salcr import files
from salcr.config import cli
from salcr.config.schema import Config
from salcr.data.store import load_identities, load_split
from salcr.errors import SalcrError
from salcr.evaluation.analysis import distance_histograms, embed_people, heat_maps_of
from salcr.log import say
from salcr.models.checkpoint import read_model
from salcr.models.features import mirrored_features
from salcr.training import devices
from salcr.types import MODALITIES, evenly_spaced


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
    histograms = distance_histograms(features, identities, most=settings.analyze.pairs)
    files.write_json(arguments.distances, {**origin, **histograms})
    people = shared[evenly_spaced(len(shared), settings.analyze.tsne_identities)]
    files.write_table(arguments.tsne, embed_people(features, images, identities, people))
    people = shared[evenly_spaced(len(shared), settings.analyze.attention_identities)]
    # Networks of stage one have a single, untrained part. An imported network with more parts is
    # assumed to have trained them, as its checkpoint does not say.
    with_parts = network.num_parts > 1
    if "fgsal" in (config := checkpoint["config"]):
        refined = config.get("gpcr", {}).get("mode")
        with_parts = bool(config["fgsal"].get("enabled")) or refined in ("both", "part")
    heat_maps = heat_maps_of(network, images, features, identities, people, with_parts=with_parts)
    files.write_json(arguments.attention, {**origin, "images": heat_maps})
    say(f"{arguments.distances}, {arguments.tsne}, {arguments.attention} written")
