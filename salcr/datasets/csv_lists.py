"""Csv files that say something about the pictures of a data set, checked line by line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from salcr.datasets.checks import name_place, parse_number
from salcr.errors import SalcrError

Line = tuple[str, dict[str, str]]
"""Place of a line, in words, and its values by column."""
Key = TypeVar("Key")


def refuse_again(places: dict[Key, str], key: Key, place: str, what: str) -> None:
    """Remember the line of a key, and refuse the key if another line has it.

    Args:
        places: key -> the line that has it; gets this one.
        key: that only one line may have.
        place: this line, in words.
        what: the line lists, for the message.

    Raises:
        SalcrError: another line has the key.
    """
    first = places.setdefault(key, place)
    if first != place:
        number = first.rpartition(" ")[2]
        raise SalcrError(f"{place}: lists {what} again, after line {number}; delete one of the two")


def parse_whole(values: Mapping[str, str], name: str, place: str) -> int:
    """Return the whole number in a column of a line.

    Raises:
        SalcrError: it is something else, or too large to be stored.
    """
    digits = values[name]
    if not (digits.isascii() and digits.isdecimal()):
        raise SalcrError(f"{place}: {name} is {digits!r}; write a whole number from 0")
    return parse_number(digits, place)


def read_csv_text(path: Path) -> str:
    """Return the text of a csv.

    Raises:
        SalcrError: the file cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows begin with such a mark
    except OSError as error:
        raise SalcrError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SalcrError(f"{path}: is not UTF-8; save it with this encoding") from None


def read_lines(path: Path, columns: Sequence[str], optional: str | None = None) -> Iterator[Line]:
    """Yield place and values of each line of a csv that begins with the names of its columns.

    Args:
        path: of the csv.
        columns: in any order in the file; one is `file`, a path within the data set.
        optional: a column that may be missing; its values are then empty.

    Raises:
        SalcrError: the file is not such a csv, or a path leaves the data set.
    """
    reader = csv.reader(io.StringIO(read_csv_text(path)))
    wanted, header = ",".join(columns), None
    absent = {optional: ""} if optional else {}
    try:
        for words in reader:
            values = [word.strip() for word in words]
            place = name_place(path, reader.line_num)
            if not any(values):
                continue
            if header is None:
                if sorted({*values} - {optional}) != sorted(columns) or len({*values}) < len(
                    values
                ):
                    raise SalcrError(
                        f"{place}: its columns are {','.join(values)}; write {wanted} there"
                    )
                header = values
                continue
            if len(values) != len(header):
                raise SalcrError(
                    f"{place}: has {len(values)} values for the columns {','.join(header)}; put a "
                    "name with a comma in double quotes"
                )
            line = {**absent, **dict(zip(header, values, strict=True))}
            file = PurePosixPath(line["file"])
            if file.is_absolute() or ".." in file.parts or "\\" in line["file"]:
                raise SalcrError(
                    f"{place}: {line['file']} is not a path within the data set, such as "
                    "visible/cam1/a.jpg, with / between folders"
                )
            yield place, {**line, "file": str(file)}
    except csv.Error as error:
        raise SalcrError(f"{name_place(path, reader.line_num)}: {error}; correct it") from None
    if header is None:
        raise SalcrError(f"{path}: is empty; write a line {wanted}, or remove the file")
