"""Command-line arguments that several stages share."""

from __future__ import annotations

import argparse
from pathlib import Path

from salcr.config.runs import Run


def positive_integer(word: str) -> int:
    """Return the integer that a word of the command line holds, at least 1.

    Raises:
        argparse.ArgumentTypeError: it is not a positive integer.
    """
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a positive integer")
    return int(word)


def add_split(parser: argparse.ArgumentParser) -> None:
    """Add --data and --trial."""
    parser.add_argument("--data", type=Path, required=True, help="folder that preprocess wrote")
    parser.add_argument("--trial", type=int, required=True, help="number of the split, from 1")


def add_compute(parser: argparse.ArgumentParser) -> None:
    """Add --device and --threads."""
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if any"
    )
    parser.add_argument(
        "--threads", type=positive_integer, default=1, help="CPU threads (default: 1)"
    )


def add_curves(parser: argparse.ArgumentParser) -> None:
    """Add --curves."""
    parser.add_argument("--curves", type=Path, help="folder for TensorBoard (default: no curves)")


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add --dataset, --root, --runs, --trials and --every: which results to read."""
    parser.add_argument("--dataset", required=True, help="name to put into the tables")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set's results")
    parser.add_argument(
        "--runs",
        type=Run.parse,
        nargs="+",
        required=True,
        metavar="VARIANT:OWNER:ROUNDS",
        help="variants, whose stage one they share, and their rounds of stage two",
    )
    parser.add_argument("--trials", type=int, nargs="+", required=True, help="trials to read")
    parser.add_argument(
        "--every", type=positive_integer, default=1, help="rounds between evaluations"
    )
