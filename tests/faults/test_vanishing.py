"""`embed` while its pictures change: replaced ones count, and lost ones end the run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from salcr.search import blocks
from salcr.search.embedder import Embedder
from tests.support import faults, tiny


@pytest.fixture
def pictures(stage_one: Path, tmp_path: Path) -> Path:
    """Return a folder with three pictures in each of two folders."""
    for source in ("Visible", "Thermal"):
        for number, path in enumerate(sorted((stage_one / "raw" / source).rglob("*.bmp"))[:3]):
            target = tmp_path / "pictures" / source / f"{number}.bmp"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return tmp_path / "pictures"


def embed(stage_one: Path, out: Path, *folders: Path, workers: int = 1) -> int:
    """Run the stage on folders."""
    words = ["--checkpoint", stage_one / "round00/checkpoint.pt", "--out", out]
    words += ["--workers", workers]
    return tiny.run("embed", "--images", *folders, *words)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of an index, without the blocks of a run that was stopped."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("stopped", [False, True])
def test_a_picture_of_the_same_size_and_date_is_embedded_again(
    stage_one: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """The index, or the blocks of a run that was stopped, hold the picture that is there now."""
    if stopped:
        with monkeypatch.context() as patched:
            patched.setattr(blocks, "_finish", raise_interrupt)
            assert embed(stage_one, tmp_path / "index", pictures) == 130
        assert list((tmp_path / "index/blocks").iterdir())
    else:
        assert embed(stage_one, tmp_path / "index", pictures) == 0
    old, new = pictures / "Visible/0.bmp", pictures / "Thermal/0.bmp"
    status = old.stat()
    assert new.stat().st_size == status.st_size and old.read_bytes() != new.read_bytes()
    with old.open("r+b") as file:  # in place: even the inode is the same
        file.write(new.read_bytes())
    os.utime(old, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert old.stat().st_mtime_ns == status.st_mtime_ns
    for out in ("index", "expected"):
        assert embed(stage_one, tmp_path / out, pictures) == 0
    assert contents(tmp_path / "index") == contents(tmp_path / "expected")


def raise_interrupt(*_: object) -> None:
    """Act like Ctrl-C."""
    raise KeyboardInterrupt


def test_a_picture_that_is_only_touched_is_not_computed_again(
    stage_one: Path, pictures: Path, tmp_path: Path
) -> None:
    """A copy with other dates has the same content: the index is kept."""
    assert embed(stage_one, tmp_path / "index", pictures) == 0
    before = (tmp_path / "index/index.faiss").stat().st_mtime_ns
    for path in pictures.rglob("*.bmp"):
        os.utime(path, (1, 1))
    assert embed(stage_one, tmp_path / "index", pictures) == 0
    assert (tmp_path / "index/index.faiss").stat().st_mtime_ns == before


def unmount(folder: Path) -> None:
    """Leave an empty folder, as a disk does that is gone."""
    shutil.rmtree(folder)
    folder.mkdir()


LOSSES: dict[str, Callable[[Path], None]] = {
    "the folder": lambda pictures: shutil.rmtree(pictures),
    "a folder in it": lambda pictures: shutil.rmtree(pictures / "Visible"),
    "the disk": unmount,
    "one picture": lambda pictures: (pictures / "Visible/2.bmp").unlink(),
    "half of a picture": lambda pictures: os.truncate(pictures / "Visible/2.bmp", 900),
}


@pytest.mark.parametrize("moment", ["after the first block", "after the list of files"])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_vanishes_half_way_ends_the_run_and_keeps_the_old_index(
    stage_one: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    loss: str,
    moment: str,
) -> None:
    """An index without the lost pictures would answer wrongly in silence: an error names one."""
    if (loss, moment) == ("half of a picture", "after the list of files"):
        moment = "after the digests of files"
    monkeypatch.setattr(blocks, "_BLOCK", 2)
    assert embed(stage_one, tmp_path / "index", pictures) == 0
    before = contents(tmp_path / "index")
    shutil.copy(pictures / "Visible/0.bmp", pictures / "Thermal/new.bmp")  # else nothing is done
    monkeypatch.setattr(blocks, "origin_of", lambda _: "a later version, which keeps no features")
    features, listed, keyed = Embedder.features, blocks.list_files, blocks.is_done
    happened = []

    def lose(where: str) -> None:
        if where == moment and not happened:
            happened.append(where)
            LOSSES[loss](pictures)

    def features_then_lose(self: Embedder, images: np.ndarray, words: list[str]) -> np.ndarray:
        found = features(self, images, words)
        lose("after the first block")
        return found

    def list_then_lose(folder: Path) -> Iterator[str]:
        yield from list(listed(folder))
        lose("after the list of files")

    def lose_then_look(out: Path, key: str, kind: str) -> bool:
        lose("after the digests of files")
        return keyed(out, key, kind)

    monkeypatch.setattr(Embedder, "features", features_then_lose)
    monkeypatch.setattr(blocks, "list_files", list_then_lose)
    monkeypatch.setattr(blocks, "is_done", lose_then_look)
    capsys.readouterr()
    assert embed(stage_one, tmp_path / "index", pictures) == 1
    message = faults.the_error(capsys.readouterr().err)
    assert happened and str(pictures) in message and "run embed again" in message
    assert contents(tmp_path / "index") == before


def test_a_folder_without_pictures_is_said(
    stage_one: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several folders, one whose disk is missing is empty: the index is made, with a warning."""
    (tmp_path / "camera").mkdir()
    assert embed(stage_one, tmp_path / "index", tmp_path / "camera", pictures) == 0
    assert f"warning: {tmp_path / 'camera'}: no readable images" in capsys.readouterr().err
    summary = json.loads((tmp_path / "index/embed.json").read_text())
    assert sum(summary["num_pictures"].values()) == 6


def test_a_picture_that_another_process_cannot_read_is_named(
    stage_one: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is that of one process, by name, though another process has it."""
    damaged, errors = pictures / "Visible/2.bmp", []
    whole, keyed = damaged.read_bytes(), blocks.is_done

    def cut(out: Path, key: str, kind: str) -> bool:
        os.truncate(damaged, 900)
        return keyed(out, key, kind)

    monkeypatch.setattr(blocks, "is_done", cut)
    for number in (1, 2):
        damaged.write_bytes(whole)
        capsys.readouterr()
        assert embed(stage_one, tmp_path / "index", pictures, workers=number) == 1
        errors.append(faults.the_error(capsys.readouterr().err))
    assert errors[0] == errors[1] and str(damaged) in errors[0]
