"""Files of tensors and plain values: checkpoints, optimizer states, state dicts of other programs.

Reading such a file never executes code.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from salcr import files
from salcr.atomic import atomic_path
from salcr.errors import SalcrError
from salcr.files import RERUN_HINT

CHECKPOINT_FORMAT = 1


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write tensors and plain values with torch.save."""
    # Given a path, torch writes the file's name into the archive, and the bytes of two equal
    # checkpoints would differ; given an open file, it does not.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save({"format": CHECKPOINT_FORMAT, **checkpoint}, file)
        except RuntimeError as error:
            # torch raises its own error in place of the cause: a full disk or a signal.
            raise (error.__context__ or error) from None


def read_checkpoint(
    path: Path, kind: files.Kind | None = None, device: torch.device | str = "cpu"
) -> dict[str, Any]:
    """Return a checkpoint; only tensors and plain values are unpickled, never code.

    Args:
        path: file to read.
        kind: what it must hold; None for anything.
        device: device of its tensors.

    Raises:
        SalcrError: the file is missing, damaged, or not a checkpoint of this kind.
    """
    checkpoint = files.read(
        path,
        lambda: _load_tensors(path, device),
        f"is damaged or not a checkpoint; if the workflow wrote it, {RERUN_HINT}",
    )
    if not _has_format(checkpoint):
        raise SalcrError(
            f"{path}: not a checkpoint of this version; if the workflow wrote it, {RERUN_HINT}; "
            "convert one of the released code with `python -m salcr import-checkpoint`"
        )
    if kind is not None:
        kind.check(path, checkpoint, RERUN_HINT)
    return checkpoint


def is_checkpoint(path: Path) -> bool:
    """Tell whether a file of tensors is a checkpoint of this project.

    Raises:
        SalcrError: the file is missing, damaged, or not one of tensors.
    """
    message = "is damaged, or neither a state dict nor a checkpoint"
    return _has_format(files.read(path, lambda: _load_foreign(path), message))


def _has_format(content: object) -> bool:
    return isinstance(content, dict) and content.get("format") == CHECKPOINT_FORMAT


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a state-dict file, loaded without executing code.

    Raises:
        SalcrError: the file is missing, damaged, or holds something else.
    """
    state, _ = read_foreign_checkpoint(path)
    return state


def read_foreign_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the state dict in a file by another program, and the other entries of the file.

    The state dict is the entry `state_dict`, or the file itself. Tensors, plain values and NumPy
    scalars are unpickled, never code.

    Raises:
        SalcrError: the file is missing, damaged, or holds something else.
    """
    loaded = files.read(path, lambda: _load_foreign(path), "is damaged or not a state dict")
    rest = {}
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        rest = {name: value for name, value in loaded.items() if name != "state_dict"}
        loaded = loaded["state_dict"]
    if not (isinstance(loaded, dict) and loaded) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in loaded.items()
    ):
        raise SalcrError(f"{path}: does not hold a state dict (name -> tensor)")
    return loaded, rest


def _load_foreign(path: Path) -> Any:
    """Return what `_load_tensors` returns, NumPy scalars among it."""
    # Training scripts often store their best score as a NumPy scalar. Files written with NumPy 1
    # refer to its constructor by another path.
    scalar: Any = np.float64(0).__reduce__()[0]
    names = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    kinds = [type(np.dtype(name)) for name in ("f8", "f4", "f2", "i8", "i4", "?")]
    with torch.serialization.safe_globals([*names, np.dtype, *kinds]):
        return _load_tensors(path, "cpu")


def _load_tensors(path: Path, device: torch.device | str) -> Any:
    """Return the content of a file by torch.save, if its checksums are right; executes no code."""
    # torch does not check the checksums that it writes. Files in the format before torch 1.6, which
    # some ImageNet weights have, do not contain checksums.
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if (entry := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {entry} is wrong")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError:  # torch's own message advises to execute the file's code
        raise ValueError("not from torch.save, or more than tensors and plain values") from None
