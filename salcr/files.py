"""The only module that writes results, and reads them back.

No reader ever sees half of a file: each is written out of sight and renamed when whole (atomic.py).
"""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from salcr.atomic import atomic_path
from salcr.errors import SalcrError, is_out_of_memory

if TYPE_CHECKING:
    import torch

CHECKPOINT_FORMAT = 1
AGAIN = "delete it and run snakemake again"
_CHUNK = 1 << 20
_SEAL = "seal"


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write values as indented JSON, keys in their order, and a seal by which damage is noticed."""
    write_plain_json(path, {**value, _SEAL: seal(json.dumps(value))})


def write_plain_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, for programs that know of no seals."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path, *, again: str = AGAIN) -> dict[str, Any]:
    """Return the values in a JSON file that `write_json` wrote, without the seal.

    Args:
        path: file to read.
        again: what the user should do if it is damaged.

    Raises:
        SalcrError: the file is missing or damaged.
    """
    value = _read(path, lambda: json.loads(path.read_text()), f"is not valid JSON; {again}")
    found = value.pop(_SEAL, None) if isinstance(value, dict) else None
    if found != seal(json.dumps(value)):
        raise SalcrError(f"{path}: is damaged or of another version; {again}")
    return dict(value)


def read_foreign_json(path: Path) -> Any:
    """Return the value in a JSON file without a seal.

    Raises:
        SalcrError: the file is missing or is not JSON.
    """
    return _read(path, lambda: json.loads(path.read_text()), "is not valid JSON")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, without its index."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def read_text(path: Path) -> str:
    """Return a text file.

    Raises:
        SalcrError: the file is missing or is not UTF-8.
    """
    return str(_read(path, lambda: path.read_text(encoding="utf-8"), "is no text"))


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        SalcrError: the file is missing or cannot be read.
    """
    return bytes(_read(path, path.read_bytes, "cannot be read"))


def read_table(
    path: Path, columns: list[str] | None = None, *, separator: str = ","
) -> pd.DataFrame:
    """Return a CSV file's columns: the named ones in that order, or all.

    Raises:
        SalcrError: the file is missing, is not CSV, or lacks a column.
    """
    table = _read(
        path,
        lambda: pd.read_csv(path, usecols=columns, sep=separator),
        f"is not the expected table; {AGAIN}",
    )
    return table if columns is None else table[columns]


def map_array(path: Path) -> NDArray[Any]:
    """Return a .npy array memory-mapped, read-only.

    Raises:
        SalcrError: the file is missing, truncated, or no .npy file.
    """
    return _read(path, lambda: np.load(path, mmap_mode="r"), "is damaged or no .npy file")


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a .npz file by name; none is unpickled.

    Raises:
        SalcrError: the file is missing or damaged.
    """

    def read() -> dict[str, NDArray[Any]]:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    return _read(path, read, "is damaged or no .npz file")


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays as .npz, by name."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def write_blocks(path: Path, header: bytes, blocks: Iterable[NDArray[Any]]) -> None:
    """Write bytes, then arrays one after another, with one of them in memory at a time."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        SalcrError: the file is missing or cannot be read.
    """

    def read() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return str(_read(path, read, "cannot be read"))


def crc32(path: Path) -> str:
    """Return the CRC-32 of a file, in hexadecimal: it tells damage, and takes half of SHA's time.

    Raises:
        SalcrError: the file is missing or cannot be read.
    """

    def read() -> str:
        checksum = 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                checksum = zlib.crc32(chunk, checksum)
        return f"{checksum:08x}"

    return str(_read(path, read, "cannot be read"))


def seal(text: str) -> str:
    """Return the CRC-32 of a text, in hexadecimal, to be written beside it."""
    return f"{zlib.crc32(text.encode()):08x}"


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write tensors and plain values with torch.save."""
    import torch

    # Through an open file: given a path, torch writes the file's name into the archive, and the
    # bytes of two equal checkpoints would differ.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save({"format": CHECKPOINT_FORMAT, **checkpoint}, file)
        except RuntimeError as error:
            # What ended the writing, a full disk or a signal, torch hides behind its own error.
            raise (error.__context__ or error) from None


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return a checkpoint; only tensors and plain values are unpickled, never code.

    Raises:
        SalcrError: the file is missing, damaged, or not a checkpoint of this project.
    """
    checkpoint = _read(
        path,
        lambda: _load_tensors(path, device),
        f"is damaged or no checkpoint; if the workflow wrote it, {AGAIN}",
    )
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != CHECKPOINT_FORMAT:
        raise SalcrError(
            f"{path}: not a checkpoint of this version; if the workflow wrote it, delete it and "
            "run again; one of the released code needs `python -m salcr import-checkpoint` first"
        )
    return checkpoint


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a state-dict file, loaded without executing code.

    Raises:
        SalcrError: the file is missing, damaged, or holds something else.
    """
    state, _ = read_foreign_checkpoint(path)
    return state


def read_foreign_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the state dict of a file by another program, and what else the file holds.

    The state dict is the entry `state_dict`, or the file itself. Tensors, plain values and NumPy
    scalars are unpickled, never code.

    Raises:
        SalcrError: the file is missing, damaged, or holds something else.
    """
    import torch

    def read() -> Any:
        # Training scripts often store their best score as a NumPy scalar. Files written with
        # NumPy 1 name its function by another path.
        scalar: Any = np.float64(0).__reduce__()[0]
        names = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
        kinds = [type(np.dtype(name)) for name in ("f8", "f4", "f2", "i8", "i4", "?")]
        with torch.serialization.safe_globals([*names, np.dtype, *kinds]):
            return _load_tensors(path, "cpu")

    content = _read(path, read, "is damaged or no state dict")
    rest = {}
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        rest = {name: value for name, value in content.items() if name != "state_dict"}
        content = content["state_dict"]
    if not (isinstance(content, dict) and content) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()
    ):
        raise SalcrError(f"{path}: holds no state dict (name -> tensor)")
    return content, rest


def _load_tensors(path: Path, device: torch.device | str) -> Any:
    """Return what torch.save wrote, if its checksums hold, without executing code."""
    import torch

    # torch itself does not look at the checksums that it writes. Files of the format before
    # torch 1.6, in which some ImageNet weights come, have none.
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if (entry := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {entry} is wrong")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError:  # torch's own words advise to execute what the file holds
        raise ValueError("not from torch.save, or more than tensors and plain values") from None


def _read(path: Path, reader: Callable[[], Any], complaint: str) -> Any:
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
