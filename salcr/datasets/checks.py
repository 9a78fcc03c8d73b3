"""What the layouts share: reading split files, and refusing what would falsify results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from salcr.datasets.records import Record
from salcr.errors import SalcrError

_SHOWN = 20  # of a long list, the entries that a message shows


class IndexLine(NamedTuple):
    """One line `path label` of a split file."""

    number: int
    """Line number, from 1."""
    file: str
    label: int


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return the number and the text of each line that holds something, without outer blanks.

    Raises:
        SalcrError: the file cannot be read or is no text.
    """
    try:
        # Editors on Windows begin a file with a mark that is no part of its first path.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SalcrError(f"{path}: cannot be read ({error.strerror}); restore it") from None
    except UnicodeDecodeError:
        raise SalcrError(f"{path}: is not a text file; restore it") from None
    lines = enumerate(text.splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_index(path: Path) -> list[IndexLine]:
    """Return the lines `path label` of a split file; the label follows the last blank.

    Raises:
        SalcrError: the file cannot be read or is empty, or a line is malformed, leaves the
            folder of the data set, or names an image again.
    """
    lines: dict[str, IndexLine] = {}
    for number, line in read_lines(path):
        *name, label = line.rsplit(maxsplit=1)
        if not name or not label.isdecimal():
            raise SalcrError(f"{path}, line {number}: expected `path label`, found {line!r}")
        file = PurePosixPath(name[0])
        if file.is_absolute() or ".." in file.parts:
            raise SalcrError(f"{path}, line {number}: {file} points outside the data set")
        if (first := lines.get(str(file))) is not None:
            raise SalcrError(
                f"{path}, line {number}: names {file} again, after line {first.number}; "
                "delete one of the two lines"
            )
        lines[str(file)] = IndexLine(number, str(file), int(label))
    if not lines:
        raise SalcrError(f"{path}: names no image; restore it")
    return list(lines.values())


def check_images(
    root: Path, records: Sequence[Record], split_file: Callable[[Record], Path]
) -> None:
    """Refuse a data set that lacks images, all of them listed.

    Args:
        root: folder of the data set.
        records: what its split files name.
        split_file: tells which split file names an image.

    Raises:
        SalcrError: images are missing.
    """
    named = {record.file: record for record in records}
    missing = [file for file in named if not (root / file).is_file()]
    if missing:
        listed = abbreviate(missing, separator="\n  ")
        raise SalcrError(
            f"{split_file(named[missing[0]])} and other split files name {len(missing)} images "
            f"that are not in {root.absolute()}:\n  {listed}\n"
            "Copy them there, or restore the split files"
        )


def check_splits(records: Sequence[Record], split_file: Callable[[Record], Path]) -> None:
    """Refuse an image that a trial has twice: in training and test, or in both modalities.

    Raises:
        SalcrError: an image stands in two split files of one trial.
    """
    first: dict[tuple[int, str], Record] = {}
    for record in records:
        other = first.setdefault((record.trial, record.file), record)
        if other.split != record.split:
            raise SalcrError(
                f"{split_file(record)}: trial {record.trial} trains and tests on the same image, "
                f"{record.file}, which {split_file(other).name} names too; restore both files"
            )
        if other.modality != record.modality:
            raise SalcrError(
                f"{split_file(record)}: names {record.file}, which {split_file(other).name} "
                "names too; restore both files"
            )


def check_people(path: Path, train: Iterable[int], test: Iterable[int]) -> None:
    """Refuse identities that are trained and tested on: the results would be inflated.

    Args:
        path: the split file to name.
        train: identities of the training images.
        test: identities of the test images.

    Raises:
        SalcrError: the two share identities.
    """
    both = sorted(set(train) & set(test))
    if both:
        raise SalcrError(
            f"{path}: {len(both)} identities are trained and tested on: "
            f"{abbreviate([str(identity) for identity in both])}; take them out of one of the two"
        )


def abbreviate(words: Sequence[str], separator: str = ", ") -> str:
    """Return the first words of a list, joined, and dots for the rest."""
    return separator.join([*words[:_SHOWN], *(["..."] if len(words) > _SHOWN else [])])
