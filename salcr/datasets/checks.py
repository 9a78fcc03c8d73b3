"""Functions that the readers share: read split files, and refuse data that falsify results."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from salcr.datasets.records import UNKNOWN, Record
from salcr.errors import SalcrError

_MAX_LISTED = 20  # entries of a long list that a message shows
_LARGEST = 2**63 - 1  # identities are stored as int64


class IndexLine(NamedTuple):
    """One line `path label` of a split file."""

    path: Path
    """The split file."""
    number: int
    """Line number, from 1."""
    file: str
    label: int

    @property
    def place(self) -> str:
        """Split file and line, for messages."""
        return name_place(self.path, self.number)


PersonOf = Callable[[str], str]
"""Returns the person whom an image shows, by its path."""


def name_place(path: Path | str, number: int) -> str:
    """Return the name of a line of a file, for messages."""
    return f"{path}, line {number}"


def parse_number(digits: str, place: str) -> int:
    """Return the number that decimal digits of a split file stand for.

    Raises:
        SalcrError: it is too large to be stored.
    """
    digits = digits.lstrip("0") or "0"  # int() refuses thousands of digits
    if len(digits) > len(str(_LARGEST)) or (number := int(digits)) > _LARGEST:
        shown = digits if len(digits) < 40 else f"{digits[:20]}..."
        raise SalcrError(f"{place}: {shown} is larger than {_LARGEST}; restore the file")
    return number


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


def read_index(path: Path, split: str) -> list[IndexLine]:
    """Return the lines `path label` of a split file; the label follows the last space.

    Lines whose image has a name that begins with a dot are skipped: macOS writes such files.

    Args:
        path: the split file.
        split: "train" or "test"; only training images may have the label `UNKNOWN`.

    Raises:
        SalcrError: the file cannot be read or is empty, or a line is malformed, leaves the
            folder of the data set, has backslashes, or lists an image again.
    """
    lines: dict[str, IndexLine] = {}
    for number, text in read_lines(path):
        place = name_place(path, number)
        *name, word = text.rsplit(maxsplit=1)
        is_unknown = word == str(UNKNOWN)
        if not name or not (word.isdecimal() or is_unknown):
            raise SalcrError(f"{place}: expected `path label`, not {text!r}")
        if "\\" in name[0]:
            raise SalcrError(
                f"{place}: {name[0]} has backslashes, as paths on Windows have; "
                "replace all of the file by /, for example with: "
                f"sed -i 's|\\\\|/|g' {shlex.quote(str(path))}"
            )
        file = PurePosixPath(name[0])
        if file.is_absolute() or ".." in file.parts:
            raise SalcrError(f"{place}: {file} points outside the data set")
        if file.name.startswith("."):
            continue
        if is_unknown and split != "train":
            raise SalcrError(
                f"{place}: the person of a test image must be known; delete the line, or give the "
                f"person's label instead of {UNKNOWN}"
            )
        if (first := lines.get(str(file))) is not None:
            raise SalcrError(
                f"{place}: lists {file} again, after line {first.number}; delete one of the two"
            )
        label = UNKNOWN if is_unknown else parse_number(word, place)
        lines[str(file)] = IndexLine(path, number, str(file), label)
    if not lines:
        raise SalcrError(f"{path}: does not list an image; restore it")
    return list(lines.values())


def check_modality(
    lines: Iterable[IndexLine],
    modality: str,
    words: Mapping[str, str],
    words_of: Callable[[str], Iterable[str]],
) -> None:
    """Refuse an image that is of another modality by its path.

    Args:
        lines: of the split file of a modality.
        modality: "visible" or "infrared".
        words: modality -> the word that its paths hold.
        words_of: returns the words that a path holds.

    Raises:
        SalcrError: a path holds the word of another modality.
    """
    others = {word: other for other, word in words.items() if other != modality}
    for line in lines:
        for word in words_of(line.file):
            if word in others:
                raise SalcrError(
                    f"{line.place}: {line.file} is {others[word]} by its path, but the file lists "
                    f"{modality} images; restore the file"
                )


def check_labels(lines: Iterable[IndexLine], person_of: PersonOf) -> None:
    """Refuse labels that are not one to one with people.

    Args:
        lines: of both modalities of a split; those without a known label are not checked.
        person_of: returns the person whom an image shows.

    Raises:
        SalcrError: two people have one label, or one person has two.
    """
    by_label: dict[int, IndexLine] = {}
    by_person: dict[str, IndexLine] = {}
    for line in lines:
        if line.label == UNKNOWN:
            continue
        person = person_of(line.file)
        same_label = by_label.setdefault(line.label, line)
        if (other := person_of(same_label.file)) != person:
            raise SalcrError(
                f"{line.place}: label {line.label} is person {person} here, but person {other} "
                f"in {name_place(same_label.path.name, same_label.number)}; restore both lines"
            )
        same_person = by_person.setdefault(person, line)
        if same_person.label != line.label:
            raise SalcrError(
                f"{line.place}: person {person} has label {line.label} here, but label "
                f"{same_person.label} in {name_place(same_person.path.name, same_person.number)}; "
                "restore both lines"
            )


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


def check_people(train: Mapping[Any, str], test: Mapping[Any, str]) -> None:
    """Refuse people who are in training and test: they would inflate the results.

    Args:
        train: identity -> the first line that lists it for training, in words.
        test: the same for testing.

    Raises:
        SalcrError: the two share identities.
    """
    both = sorted(train.keys() & test.keys(), key=lambda identity: (len(str(identity)), identity))
    if both:
        listed, first = abbreviate(list(map(str, both))), both[0]
        raise SalcrError(
            f"{test[first]}: {len(both)} identities are in training and test: {listed} (of the "
            f"first, training images are in {train[first]}); restore both files, or remove these "
            "identities from one of the two"
        )


def first_places(lines: Iterable[IndexLine], person_of: PersonOf) -> dict[str, str]:
    """Return person -> the first line that lists an image of that person, in words."""
    places: dict[str, str] = {}
    for line in lines:
        places.setdefault(person_of(line.file), line.place)
    return places


def abbreviate(words: Sequence[str], separator: str = ", ") -> str:
    """Return the first words of a list, joined, and an ellipsis for the rest."""
    rest = ["..."] if len(words) > _MAX_LISTED else []
    return separator.join([*words[:_MAX_LISTED], *rest])
