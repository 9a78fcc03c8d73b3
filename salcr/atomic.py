"""Files and folders that appear whole or not at all, whatever ends the process that writes them.

They are written under a temporary name beside their place and renamed when whole. A killed process
leaves its temporary behind; the next one that writes the same file deletes it.
"""

from __future__ import annotations

import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from salcr.errors import SalcrError

_MARK = "unfinished-"
_RANDOM = "?" * 8  # eight digits

_unfinished: set[Path] = set()  # temporaries of this process


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place when the block succeeds.

    Raises:
        SalcrError: the folder cannot be written to, the disk is full, or there is something else
            than a file, such as a device.
    """
    if not path.name:
        raise SalcrError(f"{str(path)!r}: is no name of a file")
    with _told(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise SalcrError(f"{path}: is no regular file, and is not replaced by one")
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path, path.suffix)
        handle, temporary = _claimed_file(path)
    try:
        with _told(path):
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    finally:
        os.close(handle)
        _remove(temporary)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`, deleted in the end; to fill a folder out of sight.

    Raises:
        SalcrError: the folder above cannot be written to, or the disk is full.
    """
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path, "")
        handle, temporary = _claimed_folder(path)
    try:
        with _told(path):
            yield temporary
    finally:
        os.close(handle)
        _remove(temporary)


def remove_unfinished() -> None:
    """Delete what this process has begun to write, before it ends in the middle of it."""
    for temporary in tuple(_unfinished):
        _remove(temporary)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SalcrError(f"{path}: cannot be written ({error.strerror or error})") from None


# A lock says that a temporary's writer lives. The system takes it back however a process ends.
# Where a network file system knows no locks, leftovers stay.


def _claimed_file(path: Path) -> tuple[int, Path]:
    """Return a new temporary file beside `path`, open and locked."""
    while True:
        temporary = _named(path, path.suffix)
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if _locked_in_time(handle):
            return handle, temporary


def _claimed_folder(path: Path) -> tuple[int, Path]:
    """Return a new temporary folder beside `path`, open and locked."""
    while True:
        temporary = _named(path, "")
        temporary.mkdir(0o700)
        with suppress(FileNotFoundError):
            handle = os.open(temporary, os.O_RDONLY)
            if _locked_in_time(handle):
                return handle, temporary


def _named(path: Path, suffix: str) -> Path:
    """Return a temporary's name, remembered before it is made: the process may end in between."""
    temporary = path.with_name(f".{path.name}.{_MARK}{secrets.token_hex(4)}{suffix}")
    _unfinished.add(temporary)
    return temporary


def _locked_in_time(handle: int) -> bool:
    """Lock a new temporary; tell whether it is still there: it had no lock when it was made."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
    if os.fstat(handle).st_nlink:
        return True
    os.close(handle)
    return False


def _remove_leftovers(path: Path, suffix: str) -> None:
    """Delete the temporaries of `path` that no living process has locked."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{_MARK}{_RANDOM}{suffix}"):
        is_folder = leftover.is_dir()
        with suppress(OSError):
            handle = os.open(leftover, os.O_RDONLY if is_folder else os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(leftover)
            finally:
                os.close(handle)


def _remove(temporary: Path) -> None:
    """Delete a temporary file or folder, if it is still there."""
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        with suppress(OSError):
            temporary.unlink()
    _unfinished.discard(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
