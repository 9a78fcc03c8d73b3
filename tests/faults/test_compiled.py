"""The compiled code that numba keeps on disk: damaged, cut, or out of reach, it is made again."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from salcr.data import kernels as of_data
from salcr.pseudo_labels import kernels as of_labels

SOURCE = """
def doubled(values):
    for index in range(len(values)):
        values[index] = 2 * values[index]
"""
DECORATORS: dict[str, Callable[[Any], Any]] = {
    "data": of_data._compiled,
    "pseudo_labels": of_labels._parallel(),
}


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a loop in a module of its own, which numba compiles into the folder `cache`."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "own.py").write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("own", tmp_path / "own.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.doubled


def run(decorator: str, loop: Any) -> list[int]:
    """Run the loop as a process does that was just started: its compiled code is on disk only."""
    values = np.arange(3)
    DECORATORS[decorator](loop)(values)
    return values.tolist()


def kept(folder: Path) -> Iterator[Path]:
    """Yield the files that numba keeps: the list, .nbi, and the code, .nbc."""
    yield from folder.rglob("*.nb?")


@pytest.mark.filterwarnings("ignore::numba.NumbaPerformanceWarning")  # there is no parallel loop
@pytest.mark.parametrize("decorator", DECORATORS)
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_damaged_code_is_compiled_again_and_replaced(
    tmp_path: Path, loop: Any, decorator: str, suffix: str, damage: str
) -> None:
    """The result is right, and afterwards the files are whole and used."""
    assert run(decorator, loop) == [0, 2, 4]
    before = set(kept(tmp_path))
    assert {path.suffix for path in before} == {".nbi", ".nbc"}
    (path,) = (path for path in before if path.suffix == suffix)
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": content[:-20], "text": b"hello\n"}[damage])
    assert run(decorator, loop) == [0, 2, 4]
    assert set(kept(tmp_path)) == before
    with path.open("rb") as file:
        pickle.load(file)
    times = {path: path.stat().st_mtime_ns for path in before}
    assert run(decorator, loop) == [0, 2, 4]  # from the files, which are not written again
    assert {path: path.stat().st_mtime_ns for path in kept(tmp_path)} == times


@pytest.mark.filterwarnings("ignore::numba.NumbaPerformanceWarning")
@pytest.mark.parametrize("decorator", DECORATORS)
def test_code_that_can_be_neither_read_nor_replaced_is_compiled(
    tmp_path: Path, loop: Any, decorator: str
) -> None:
    """As in a folder that somebody else shares; folders take the place of the files here."""
    assert run(decorator, loop) == [0, 2, 4]
    for path in list(kept(tmp_path)):
        path.unlink()
        path.mkdir()
        (path / "file").touch()
    assert run(decorator, loop) == [0, 2, 4]


@pytest.mark.filterwarnings("ignore::numba.NumbaPerformanceWarning")
@pytest.mark.parametrize("decorator", DECORATORS)
def test_code_that_cannot_be_kept_is_compiled(
    tmp_path: Path, loop: Any, decorator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full, or became read-only after the start, stops no kernel."""

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile._save_index", refuse)
    assert run(decorator, loop) == [0, 2, 4]
    assert not list(kept(tmp_path))
