"""Files and folders that appear whole or not at all, however the writing process ends.

They are written under a temporary name beside their final path and renamed when whole. A killed
process leaves its temporary behind; the next process that writes the same path deletes it. A link
is kept: what is written takes the place of what it points at.
"""

from __future__ import annotations

import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from salcr.errors import SalcrError

_unfinished: set[Path] = set()  # temporaries of this process


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which replaces it when the block succeeds.

    Raises:
        SalcrError: the folder cannot be written to, the disk is full, or `path` is something other
            than a regular file, such as a device, or a link to a file that is read-only.
    """
    path = follow_link(path)
    with _temporary(path, Path.touch) as temporary:
        yield temporary
        temporary.replace(path)


def temporary_folder(path: Path) -> AbstractContextManager[Path]:
    """Return a context of an empty folder beside what `path` is or points at; deleted at the end.

    Raises:
        SalcrError: the parent folder cannot be written to, or the disk is full.
    """
    return _temporary(follow_link(path), Path.mkdir)


def follow_link(path: Path) -> Path:
    """Return what a link points at in the end, there or not; any other path as it is.

    Raises:
        SalcrError: it points at nothing that can be written: a link that leads back to itself, a
            folder that is not there, or a file that is read-only, as those in DVC's cache are.
    """
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    reason = None
    if target.is_symlink():
        reason = "which leads back to itself"
    elif not target.parent.is_dir():
        reason = "whose folder is not there"
    elif target.is_file() and not target.stat().st_mode & 0o222:  # renaming would not mind
        reason = "which is read-only"
    if reason is not None:
        raise SalcrError(f"{path}: is a link to {target}, {reason}; delete the link or change it")
    return target


def remove_unfinished() -> None:
    """Delete the temporaries of this process, which is about to end in the middle of writing."""
    for temporary in tuple(_unfinished):
        _remove(temporary)


@contextmanager
def _temporary(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Yield a new temporary of `path`, locked while this process works on it; delete it at the end.

    Any OSError on the way, in the caller's block too, becomes a SalcrError that names `path`.
    """
    try:
        if not path.name or (path.exists() and not (path.is_file() or path.is_dir())):
            raise SalcrError(f"{path}: cannot be written (not a regular file)")
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        temporary, lock = _make_locked(path, make)
        try:
            yield temporary
        finally:
            os.close(lock)
            _remove(temporary)
    except OSError as error:
        raise SalcrError(f"{path}: cannot be written ({error.strerror or error})") from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which may be replaced by another while the lock is held.

    The file is made, empty, if it does not exist.

    Raises:
        SalcrError: it cannot be opened for writing.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            with suppress(OSError):  # a network file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    break
            # Whoever held the lock has replaced the file: this was the lock of the old one.
            os.close(handle)
    except OSError as error:
        raise SalcrError(f"{path}: cannot be written ({error.strerror or error})") from None
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def claimed(folder: Path, *, together: bool = False) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it does not exist.

    Args:
        folder: to hold.
        together: with other processes that hold it together, but not with one that holds it alone.

    Raises:
        SalcrError: another process holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise SalcrError(f"{folder}: cannot be written ({error.strerror or error})") from None
    try:
        try:
            kind = fcntl.LOCK_SH if together else fcntl.LOCK_EX
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SalcrError(
                f"{folder}: another process is writing to it; wait for it, or choose another folder"
            ) from None
        except OSError:  # a network file system without locks
            pass
        yield
    finally:
        os.close(handle)


# The lock on a temporary shows that its writer is alive: the system releases it however a process
# ends. On a network file system without locks, leftovers stay.


def _make_locked(path: Path, make: Callable[[Path], None]) -> tuple[Path, int]:
    """Return a new temporary and the handle that holds its lock."""
    while True:
        temporary = path.with_name(f".{path.name}.unfinished-{secrets.token_hex(8)}{path.suffix}")
        _unfinished.add(temporary)  # before it is made, since SIGTERM may come in between
        make(temporary)
        # Until it is locked, another writer may take it for a leftover and delete it.
        with suppress(FileNotFoundError):
            lock = _open(temporary)
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            if temporary.exists():
                return temporary, lock
            os.close(lock)


def _remove_leftovers(path: Path) -> None:
    """Delete the temporaries of `path` that no living process has locked."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.unfinished-*"):
        with suppress(OSError):
            lock = _open(leftover)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(leftover)
            finally:
                os.close(lock)


def _open(temporary: Path) -> int:
    # A network file system locks only files that are open for writing.
    return os.open(temporary, os.O_RDONLY if temporary.is_dir() else os.O_RDWR)


def _remove(temporary: Path) -> None:
    """Delete a temporary file or folder if it still exists."""
    with suppress(OSError):
        temporary.unlink()
    shutil.rmtree(temporary, ignore_errors=True)
    _unfinished.discard(temporary)
