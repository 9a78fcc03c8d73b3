"""Find which cosine similarity means the same person, for `search --at-fmr`.

People are given as a csv, or are clusters of the index, which needs no identity.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from salcr import files
from salcr.atomic import claimed
from salcr.config import cli, table_kinds
from salcr.config.schema import Config
from salcr.errors import SalcrError
from salcr.evaluation import calibration
from salcr.log import say, warn
from salcr.pseudo_labels.clustering import cluster
from salcr.search.calibration import write_calibration
from salcr.search.index import CALIBRATION, SearchIndex, read_index
from salcr.training import devices
from salcr.types import MODALITIES, Integers

_RUN = 64  # consecutive images of a sample: those of one person are mostly together
_SEED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    parser.add_argument("--index", type=Path, required=True, help="folder that embed wrote")
    parser.add_argument(
        "--identities",
        type=Path,
        help="csv with the columns file, as in files.csv of the index or a whole path, identity "
        "(-1: unknown), and, if wanted, modality; default: people are clusters of the index",
    )
    parser.add_argument(
        "--most",
        action=cli.Integer,
        least=4,
        default=20_000,
        help="images whose pairs are compared; a sample if there are more (default: 20000)",
    )
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the calibration beside the index and print its thresholds."""
    device = devices.prepare(arguments.device, arguments.threads, wait=False)
    index = read_index(arguments.index)
    if arguments.identities is not None:
        person = _people_of_csv(arguments.identities, index, arguments.most)
        origin = str(arguments.identities)
    else:
        person = _people_of_clusters(index, settings, device, arguments.most)
        origin = "clusters of the index, without any identity"
    rows = np.flatnonzero(person >= 0)
    modality = (index.images["modality"].iloc[rows] == MODALITIES[1]).to_numpy().astype(np.int64)
    counts = calibration.count_pairs(index.features_of(rows), modality, person[rows])
    num_people = len(np.unique(person[rows]))
    say(f"people: {origin}; {len(rows)} images of {num_people} people")
    pairs = {
        kind: calibration.summarize(of_kind)
        for kind, of_kind in counts.items()
        if of_kind.positive.any() and of_kind.negative.any()
    }
    _check_pairs(counts, pairs, origin, is_single=len(np.unique(modality)) == 1)
    content: dict[str, Any] = {
        "people_from": "clusters" if arguments.identities is None else "identities",
        "num_images": len(rows),
        "num_people": num_people,
        "pairs": pairs,
    }
    with claimed(arguments.index):
        write_calibration(arguments.index, index.summary, content)
    say(f"{arguments.index / CALIBRATION} written")
    _print_thresholds(content)


def _people_of_csv(path: Path, index: SearchIndex, most: int) -> Integers:
    """Return the person of each image of the index, -1 for those without an identity.

    Raises:
        SalcrError: a file is not in the index, has two identities or another modality.
    """
    table = files.read_table(path, table_kinds.IDENTIFIED, hint="correct it")
    named: dict[str, list[int]] = {}
    for row, name in enumerate(index.images["file"]):
        for key in {Path(name).as_posix(), str(index.path(row))}:
            named.setdefault(key, []).append(row)
    identities: dict[int, str] = {}
    words = table["modality"] if "modality" in table else [None] * len(table)
    for file, identity, modality in zip(table["file"], table["identity"], words, strict=True):
        rows = named.get(Path(file).as_posix(), [])
        if len(rows) != 1:
            reason = "is in several folders of the index; give its whole path"
            raise SalcrError(f"{path}: {file} {reason if rows else 'is not in the index'}")
        (row,) = rows
        indexed = index.images["modality"].iloc[row]
        if modality is not None and modality != indexed:
            raise SalcrError(f"{path}: {file} is {modality}, but {indexed} in the index")
        if identities.setdefault(row, identity) != identity:
            raise SalcrError(f"{path}: {file} has the identities {identities[row]} and {identity}")
    known = {row: identity for row, identity in identities.items() if identity != "-1"}
    if not known:
        raise SalcrError(f"{path}: holds no known identity (all are -1)")
    if len(known) < len(identities):
        say(f"{path}: {len(identities) - len(known)} images of unknown identity are left out")
    person = np.full(len(index.images), -1)
    person[list(known)] = pd.factorize(np.array(list(known.values())))[0]
    return _sample_people(person, most)


def _sample_people(person: Integers, most: int) -> Integers:
    """Return the people of at most that many images; other images have -1.

    Raises:
        SalcrError: there are not two people with that few images.
    """
    sizes = np.bincount(person[person >= 0])
    if sizes.sum() <= most:
        return person
    order = np.random.default_rng(_SEED).permutation(len(sizes))
    kept = order[np.cumsum(sizes[order]) <= most]
    if len(kept) < 2:
        raise SalcrError(f"--most {most}: is too small for the images of two people; raise it")
    warn(f"{len(kept)} of {len(sizes)} people are compared; raise --most for more")
    return np.where(np.isin(person, kept), person, -1)


def _people_of_clusters(
    index: SearchIndex, settings: Config, device: torch.device, most: int
) -> Integers:
    """Return a person for each image of the index: its cluster, with a mutually nearest one.

    Raises:
        SalcrError: the images of a modality do not form a cluster.
    """
    rows, features, clusters = {}, {}, {}
    present = [m for m in MODALITIES if len(index.rows_of([m]))]
    for m in present:
        rows[m] = _sample_runs(index.rows_of([m]), most // len(present), m)
        features[m] = index.features_of(rows[m])
        clusters[m] = cluster(torch.from_numpy(features[m]).to(device), settings.clustering, m)
    person = np.full(len(index.images), -1)
    for m, people in calibration.people_of_clusters(features, clusters).items():
        person[rows[m]] = people
    return person


def _sample_runs(rows: Integers, most: int, modality: str) -> Integers:
    """Return at most that many rows, in evenly spaced runs of consecutive ones."""
    if len(rows) <= most:
        return rows
    warn(f"{modality}: {most} of {len(rows)} images are clustered; raise --most for more")
    length = min(_RUN, most)
    starts = np.linspace(0, len(rows) - length, most // length).round().astype(np.int64)
    return rows[np.unique(starts[:, None] + np.arange(length))]


def _check_pairs(
    counts: dict[str, calibration.PairCounts],
    pairs: dict[str, dict[str, Any]],
    origin: str,
    *,
    is_single: bool,
) -> None:
    """Refuse people who give no pairs to compare, and warn of a kind without them."""
    if not any(of_kind.negative.any() for of_kind in counts.values()):
        raise SalcrError(f"{origin}: all images are of one person; name images of several")
    if not pairs:
        raise SalcrError(f"{origin}: no two images are of one person")
    if "across" not in pairs and not is_single:
        warn(
            "no person is in both modalities: thresholds are of pairs within a modality only, and "
            "`search` needs --among all to use them"
        )


def _print_thresholds(content: dict[str, Any]) -> None:
    """Print the thresholds in columns, and why one is missing."""
    lines = ["pairs   false-match rate  threshold  true-match rate"]
    for kind, pairs in content["pairs"].items():
        num_negative = sum(pairs["negative"])
        for entry in pairs["thresholds"]:
            rate, start = entry["false_match_rate"], f"{kind:<6}  {entry['false_match_rate']:16g}"
            if entry["threshold"] is None:
                needed = round(calibration.MIN_FALSE_MATCHES / rate)
                reason = f"needs {needed} pairs of different people; there are {num_negative}"
                lines.append(f"{start}          -  {reason}")
            else:
                share = f"{entry['true_match_rate']:.2%}"
                lines.append(f"{start}  {entry['threshold']:9.4f}  {share:>15}")
    print("\n".join(lines))
