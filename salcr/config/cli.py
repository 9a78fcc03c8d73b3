"""Command-line arguments that several stages share."""

from __future__ import annotations

import argparse
import itertools
import math
import os
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from salcr.config.runs import Run
from salcr.config.schema import MAX_THREADS
from salcr.errors import SalcrError

_WRITTEN_BY_ALL = ("job", "curves")
# Folders that a stage wrote as a whole, and whose files are checked when they are read.
_WHOLE_FOLDERS = ("data", "other", "index")


class Integer(argparse.Action):
    """A flag that holds one integer or several, each in a range.

    Args:
        least: smallest one.
        most: largest one.
        words: other arguments of argparse.Action.
    """

    def __init__(self, *, least: int = 1, most: int = 2**31 - 1, **words: Any) -> None:
        super().__init__(type=int, **words)
        self.range = range(least, most + 1)

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: Any, name: str | None = None
    ) -> None:
        """Store the value.

        Raises:
            SalcrError: it is out of range.
        """
        for value in values if isinstance(values, list) else [values]:
            if value not in self.range:
                least, most = self.range[0], self.range[-1]
                raise SalcrError(f"{name} {value}: must be a whole number from {least} to {most}")
        setattr(namespace, self.dest, values)


def number(least: float, most: float) -> Callable[[str], float]:
    """Return the type of a flag that holds a number of a range."""

    def checked(word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{word!r} is not a number from {least:g} to {most:g}")
        return value

    return checked


def matching(pattern: str, meaning: str) -> Callable[[str], str]:
    """Return the type of a flag whose word matches a pattern."""

    def checked(word: str) -> str:
        if not re.fullmatch(pattern, word):
            raise argparse.ArgumentTypeError(f"{word!r} is not {meaning}")
        return word

    return checked


def json_of(kind: Any, meaning: str) -> Callable[[str], Any]:
    """Return the type of a flag that holds a value as JSON.

    Args:
        kind: type of the value.
        meaning: what it is, for the message that another one is refused with.
    """

    def parsed(word: str) -> Any:
        try:
            return TypeAdapter(kind).validate_json(word, strict=True)
        except ValidationError:
            raise argparse.ArgumentTypeError(f"{word!r} is not {meaning}") from None

    return parsed


def _run(word: str) -> Run:
    try:
        return Run.parse(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{word!r}: {error}") from None


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
    parser.add_argument(
        "--trial", action=Integer, required=True, help="number of the split, from 1"
    )


def add_compute(parser: argparse.ArgumentParser) -> None:
    """Add --device and --threads."""
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if any"
    )
    parser.add_argument(
        "--threads", action=Integer, most=MAX_THREADS, default=1, help="CPU threads (default: 1)"
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
        type=_run,
        nargs="+",
        required=True,
        metavar="VARIANT:OWNER:ROUNDS",
        help="variants, whose stage one they share, and their rounds of stage two",
    )
    parser.add_argument("--trials", action=Integer, nargs="+", required=True, help="trials to read")
    every = "rounds between evaluations; 0: nothing is evaluated"
    parser.add_argument("--every", action=Integer, least=0, default=1, help=every)
