"""Reading and writing: completely or not at all, verified, without executing code."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from salcr import files
from salcr.errors import SalcrError
from salcr.models import tensor_files


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """If the block fails, the old content remains and no temporary file is left."""
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_only_a_regular_file_is_replaced(tmp_path: Path) -> None:
    """A pipe, which behaves like a device, remains; the path of a folder is rejected, too."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path()):
        with pytest.raises(SalcrError, match=rf"{path}: cannot be written \(not a regular file\)"):
            files.write_text(path, "text")
    assert (tmp_path / "pipe").is_fifo() and [*tmp_path.iterdir()] == [tmp_path / "pipe"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    """The umask decides who may read and write a file, whatever the old file's permissions."""
    path = tmp_path / "a.txt"
    path.touch(0o640)
    before = os.umask(mask)
    try:
        files.write_text(path, "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize(("module", "call"), [(os, "open"), (fcntl, "flock")])
def test_a_temporary_file_deleted_before_its_lock_is_recreated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, call: str
) -> None:
    """Another writer may delete a temporary file before it is locked: then another is created."""
    original, deleted = getattr(module, call), []

    def delete_first(*arguments: Any) -> Any:
        if not deleted and (new := [*tmp_path.glob(".a.txt.*")]):
            deleted.extend(new)
            new[0].unlink()
        return original(*arguments)

    monkeypatch.setattr(module, call, delete_first)
    with files.atomic_path(tmp_path / "a.txt") as temporary:
        assert len(deleted) == 1 and [*tmp_path.iterdir()] == [temporary] != deleted
    assert [*tmp_path.iterdir()] == [tmp_path / "a.txt"]


def test_an_unwritable_path_is_named(tmp_path: Path) -> None:
    """A path below a file cannot be created: the message names it."""
    (tmp_path / "file").touch()
    with pytest.raises(SalcrError, match="cannot be written"):
        files.write_text(tmp_path / "file" / "below.txt", "x")


@pytest.mark.parametrize(
    ("reader", "content"),
    [
        (files.read_json, "{"),
        (files.read_foreign_json, "{"),
        (files.map_array, "no array"),
        (tensor_files.read_checkpoint, "no zip"),
        (tensor_files.read_state_dict, "no zip"),
        (lambda path: files.read_columns(path, ["x"]), "a,b\n1,2\n"),
    ],
)
def test_missing_and_damaged_files_are_named(tmp_path: Path, reader, content: str) -> None:
    """Every reader names the file, both when it is missing and when it is damaged."""
    path = tmp_path / "thing"
    with pytest.raises(SalcrError, match=f"{path}: no such file"):
        reader(path)
    path.write_text(content)
    with pytest.raises(SalcrError, match=f"{path}: "):
        reader(path)


def test_round_trips(tmp_path: Path) -> None:
    """Arrays, tables and checkpoints are read back as they were written."""
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.save(tmp_path / "a.npy", array)
    assert np.array_equal(files.map_array(tmp_path / "a.npy"), array)
    table = pd.DataFrame({"x": [0.1, 1 / 3], "y": ["a", "b"]})
    files.write_table(tmp_path / "t.csv", table)
    assert files.read_columns(tmp_path / "t.csv", ["y", "x"]).equals(table[["y", "x"]])
    tensor_files.write_checkpoint(tmp_path / "c.pt", {"state": {"w": torch.eye(2)}, "round": 3})
    checkpoint = tensor_files.read_checkpoint(tmp_path / "c.pt")
    assert checkpoint["round"] == 3 and torch.equal(checkpoint["state"]["w"], torch.eye(2))


def test_checkpoint_of_another_format_is_refused(tmp_path: Path) -> None:
    """A file of torch.save that is not one of our checkpoints is reported as such."""
    torch.save({"state_dict": {}}, tmp_path / "c.pt")
    with pytest.raises(SalcrError, match="not a checkpoint of this version"):
        tensor_files.read_checkpoint(tmp_path / "c.pt")


def test_state_dict_must_hold_tensors(tmp_path: Path) -> None:
    """A mapping of other objects is rejected."""
    torch.save({"lr": 0.1}, tmp_path / "s.pth")
    with pytest.raises(SalcrError, match="does not hold a state dict"):
        tensor_files.read_state_dict(tmp_path / "s.pth")
