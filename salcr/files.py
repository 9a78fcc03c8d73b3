"""Write results and read them back; files of tensors are in models/tensor_files.py.

A reader never sees a partial file: each is written under a temporary name and renamed when it is
complete (atomic.py).
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from salcr.atomic import atomic_path
from salcr.errors import SalcrError, is_out_of_memory

RERUN_HINT = "delete it and run snakemake again"
_CHUNK = 1 << 20
_CHECKSUM = "checksum"


class Kind(Protocol):
    """What a file must hold; see config/kinds.py."""

    @property
    def title(self) -> str:
        """Return what such a file is."""

    def check(self, path: Path, content: Any, hint: str, /) -> None:
        """Raise a SalcrError, with the hint, if the content of the file is something else."""


class TableKind(Kind, Protocol):
    """What a table must hold."""

    @property
    def words(self) -> Collection[str]:
        """Return the columns that are read as text."""


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write values as indented JSON, keys in their order, and a CRC-32 that reveals damage."""
    write_plain_json(path, {**value, _CHECKSUM: text_crc32(json.dumps(value))})


def write_plain_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, for other programs, without a checksum."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path, kind: Kind | None = None, *, hint: str = RERUN_HINT) -> dict[str, Any]:
    """Return the values in a JSON file that `write_json` wrote, without the checksum.

    Args:
        path: file to read.
        kind: what it must hold; None for anything.
        hint: what the user should do if it is damaged.

    Raises:
        SalcrError: the file is missing or damaged, or holds something else.
    """
    title = "JSON" if kind is None else kind.title
    value = _read_json(path, f"is not {title}, or damaged; {hint}")
    checksum = value.pop(_CHECKSUM, None) if isinstance(value, dict) else None
    if checksum != text_crc32(json.dumps(value)):
        raise SalcrError(f"{path}: is not {title}, or damaged or of another version; {hint}")
    if kind is not None:
        kind.check(path, value, hint)
    return dict(value)


def read_foreign_json(path: Path, kind: Kind | None = None) -> Any:
    """Return the value in a JSON file without a checksum.

    Args:
        path: file to read.
        kind: what it must hold; None for anything.

    Raises:
        SalcrError: the file is missing, is not JSON, or holds something else.
    """
    value = _read_json(path, "is not valid JSON")
    if kind is not None:
        kind.check(path, value, RERUN_HINT)
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        SalcrError: the file is missing, is not YAML, or does not hold a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SalcrError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise SalcrError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise SalcrError(f"{path}: must hold `key: value` pairs")
    return values


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, without its index."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def read_text(path: Path) -> str:
    """Return a text file.

    Raises:
        SalcrError: the file is missing or is not UTF-8.
    """
    return str(read(path, lambda: path.read_text(encoding="utf-8"), "is not a text file"))


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        SalcrError: the file is missing or cannot be read.
    """
    return bytes(read(path, path.read_bytes, "cannot be read"))


def read_table(
    path: Path, kind: TableKind, *, separator: str = ",", hint: str = RERUN_HINT
) -> pd.DataFrame:
    """Return a CSV file's content, all columns.

    Args:
        path: file to read.
        kind: what it must hold.
        separator: of the columns.
        hint: what the user should do if it is damaged.

    Raises:
        SalcrError: the file is missing or is not CSV, a column is missing or holds something else,
            or there are no lines.
    """
    complaint = f"is not {kind.title}, or damaged; {hint}"
    types = dict.fromkeys(kind.words, str)
    table: pd.DataFrame = read(
        path, lambda: pd.read_csv(path, sep=separator, dtype=types), complaint
    )
    kind.check(path, table, hint)
    return table


def read_columns(path: Path, columns: list[str]) -> pd.DataFrame:
    """Return the named columns of a CSV file whose content has a checksum, in that order.

    Raises:
        SalcrError: the file is missing, is not CSV, or lacks a column.
    """
    table = read(
        path,
        lambda: pd.read_csv(path, usecols=columns),
        f"is not the expected table; {RERUN_HINT}",
    )
    return table[columns]


def map_array(path: Path) -> NDArray[Any]:
    """Return a .npy array memory-mapped, read-only.

    Raises:
        SalcrError: the file is missing, truncated, or not a .npy file.
    """
    return read(path, lambda: np.load(path, mmap_mode="r"), "is damaged or not a .npy file")


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a .npz file by name; objects are never unpickled.

    Raises:
        SalcrError: the file is missing or damaged.
    """

    def content() -> dict[str, NDArray[Any]]:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    return read(path, content, "is damaged or not a .npz file")


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays as .npz, by name."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def write_blocks(path: Path, header: bytes, blocks: Iterable[NDArray[Any]]) -> None:
    """Write bytes, then the arrays one after another; only one of them is in memory at a time."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        SalcrError: the file is missing or cannot be read.
    """

    def content() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return str(read(path, content, "cannot be read"))


def crc32(path: Path) -> str:
    """Return the CRC-32 of a file, in hexadecimal: it reveals damage in half the time of SHA-256.

    Raises:
        SalcrError: the file is missing or cannot be read.
    """

    def content() -> str:
        checksum = 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                checksum = zlib.crc32(chunk, checksum)
        return f"{checksum:08x}"

    return str(read(path, content, "cannot be read"))


def text_crc32(text: str) -> str:
    """Return the CRC-32 of a text, in hexadecimal, to be written beside it."""
    return f"{zlib.crc32(text.encode()):08x}"


def _read_json(path: Path, complaint: str) -> Any:
    return read(path, lambda: json.loads(path.read_text(encoding="utf-8")), complaint)


def read(path: Path, reader: Callable[[], Any], complaint: str) -> Any:
    """Return the reader's value; its exceptions become errors that name the file.

    Args:
        path: file that is read.
        reader: reads it.
        complaint: what is wrong with the file if the reader fails, such as "is damaged".

    Raises:
        SalcrError: the file is missing or not readable, or the reader fails.
    """
    try:
        return reader()
    except FileNotFoundError:
        raise SalcrError(f"{path}: no such file") from None
    except PermissionError:
        raise SalcrError(f"{path}: no permission to read it") from None
    except Exception as error:  # the libraries raise many types for a damaged file
        if is_out_of_memory(error):  # the file may be whole
            raise
        raise SalcrError(f"{path}: {complaint} ({type(error).__name__}: {error})") from None
