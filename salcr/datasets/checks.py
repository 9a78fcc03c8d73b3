"""Functions that the readers share: read split files, and refuse data that falsify results."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from salcr.datasets.records import Record
from salcr.errors import SalcrError

_MAX_LISTED = 20  # entries of a long list that a message shows


class IndexLine(NamedTuple):
    """One line `path label` of a split file."""

    number: int
    """Line number, from 1."""
    file: str
    label: int


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return number, from 1, and stripped text of each line that is not blank.

    Raises:
        SalcrError: the file cannot be read or is not text.
    """
    try:
        # Editors on Windows begin a file with a byte order mark, which is not part of the path.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SalcrError(f"{path}: cannot be read ({error.strerror}); restore it") from None
    except UnicodeDecodeError:
        raise SalcrError(f"{path}: is not a text file; restore it") from None
    lines = enumerate(text.splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_index(path: Path) -> list[IndexLine]:
    """Return the lines `path label` of a split file; the label follows the last space.

    Raises:
        SalcrError: the file cannot be read or is empty, or a line is malformed, leaves the
            folder of the data set, has backslashes, or lists an image again.
    """
    lines: dict[str, IndexLine] = {}
    for number, line in read_lines(path):
        *name, label = line.rsplit(maxsplit=1)
        if not name or not label.isdecimal():
            raise SalcrError(f"{path}, line {number}: expected `path label`, not {line!r}")
        if "\\" in name[0]:
            raise SalcrError(
                f"{path}, line {number}: {name[0]} has backslashes, as paths on Windows have; "
                "replace all of the file by /, for example with: "
                f"sed -i 's|\\\\|/|g' {shlex.quote(str(path))}"
            )
        file = PurePosixPath(name[0])
        if file.is_absolute() or ".." in file.parts:
            raise SalcrError(f"{path}, line {number}: {file} points outside the data set")
        if (first := lines.get(str(file))) is not None:
            raise SalcrError(
                f"{path}, line {number}: lists {file} again, after line {first.number}; "
                "delete one of the two lines"
            )
        lines[str(file)] = IndexLine(number, str(file), int(label))
    if not lines:
        raise SalcrError(f"{path}: does not list an image; restore it")
    return list(lines.values())


def check_images(
    root: Path, records: Sequence[Record], split_file: Callable[[Record], Path]
) -> None:
    """Refuse a data set that lacks images.

    Args:
        root: folder of the data set.
        records: the images that its split files list.
        split_file: returns the split file that lists an image.

    Raises:
        SalcrError: images are missing; the message lists them.
    """
    named = {record.file: record for record in records}
    missing = [file for file in named if not (root / file).is_file()]
    if missing:
        listed = abbreviate(missing, separator="\n  ")
        raise SalcrError(
            f"{split_file(named[missing[0]])} and other split files list {len(missing)} images "
            f"that are not in {root.absolute()}:\n  {listed}\n"
            "Copy them there, or restore the split files"
        )


def check_splits(records: Sequence[Record], split_file: Callable[[Record], Path]) -> None:
    """Refuse an image that a trial uses twice: in training and test, or in both modalities.

    Args:
        records: the images of all trials.
        split_file: returns the split file that lists an image.

    Raises:
        SalcrError: an image is in two split files of one trial.
    """
    first: dict[tuple[int, str], Record] = {}
    for record in records:
        other = first.setdefault((record.trial, record.file), record)
        if other.split != record.split:
            raise SalcrError(
                f"{split_file(record)}: trial {record.trial} trains and tests on the same image, "
                f"{record.file}, which {split_file(other).name} lists too; restore both files"
            )
        if other.modality != record.modality:
            raise SalcrError(
                f"{split_file(record)}: lists {record.file}, which {split_file(other).name} "
                "lists too; restore both files"
            )


def check_people(path: Path, train: Iterable[int], test: Iterable[int]) -> None:
    """Refuse identities that are in training and test: they would inflate the results.

    Args:
        path: the split file that the message names.
        train: identities of the training images.
        test: identities of the test images.

    Raises:
        SalcrError: the two share identities.
    """
    both = sorted(set(train) & set(test))
    if both:
        raise SalcrError(
            f"{path}: {len(both)} identities are in training and test: "
            f"{abbreviate([str(identity) for identity in both])}; remove them from one of the two"
        )


def abbreviate(words: Sequence[str], separator: str = ", ") -> str:
    """Return the first words of a list, joined, and an ellipsis for the rest."""
    rest = ["..."] if len(words) > _MAX_LISTED else []
    return separator.join([*words[:_MAX_LISTED], *rest])
