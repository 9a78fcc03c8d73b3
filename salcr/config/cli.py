"""Command-line arguments that several stages share."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from salcr.config.runs import Run
from salcr.errors import SalcrError

_WRITTEN_BY_ALL = ("job", "curves")
# Folders that a stage wrote as a whole, and whose files are checked when they are read.
_WHOLE_FOLDERS = ("data", "other", "index")


def positive_integer(word: str) -> int:
    """Return the integer that a word of the command line holds, at least 1.

    Raises:
        argparse.ArgumentTypeError: it is not a positive integer.
    """
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a positive integer")
    return int(word)


def refuse_overwriting(arguments: argparse.Namespace, writes: Collection[str]) -> None:
    """Refuse arguments with which a stage would overwrite what it reads, or what it just wrote.

    Paths are compared as files, also through links: of two names of one file, one may not be read
    and the other written.

    Args:
        arguments: of the stage.
        writes: names of the arguments of files and folders that it writes.

    Raises:
        SalcrError: two of them name one file, or one that is written is in a folder of results that
            is read.
    """
    places = list(_places(vars(arguments)))
    results = [place for place in places if place.name in {*writes, *_WRITTEN_BY_ALL}]
    for place, result in itertools.product(places, results):
        if place is not result and not place.keys.isdisjoint(result.keys):
            raise SalcrError(
                f"{result.path}: both {place.flag} and {result.flag}, which is written, name this "
                "file; name another one"
            )
        if place.name in _WHOLE_FOLDERS and result.real.is_relative_to(place.real):
            raise SalcrError(
                f"{result.path}: {result.flag} is in the folder {place.path} that {place.flag} "
                "reads; choose another folder"
            )


class _Place(NamedTuple):
    """A path among the arguments."""

    name: str
    """Of the argument."""
    path: Path
    real: Path
    """The same without links."""
    keys: frozenset[Any]
    """What all names of the file have in common."""

    @property
    def flag(self) -> str:
        """Return the argument as it is written on the command line."""
        return "--" + self.name.replace("_", "-")


def _places(arguments: dict[str, Any]) -> Iterator[_Place]:
    """Yield the paths among the arguments."""
    for name, value in arguments.items():
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path):
                real = Path(os.path.realpath(path))
                keys: list[Any] = [real]
                if real.exists():
                    status = real.stat()
                    keys.append((status.st_dev, status.st_ino))
                yield _Place(name, path, real, frozenset(keys))


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
