"""What may be replaced: not what a stage reads, not what a person owns, not a link."""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salcr import files
from salcr.config.stages import STAGES
from salcr.datasets.synthetic import generate
from salcr.errors import SalcrError
from salcr.models import tensor_files
from tests.support import faults, tiny


def arguments_of(stage: str) -> list[argparse.Action]:
    """Return the arguments of a stage, without those of its sections."""
    parser = argparse.ArgumentParser(add_help=False)
    importlib.import_module(f"salcr.stages.{stage}").add_arguments(parser)
    return parser._actions


def paths_of(stage: str, *, written: bool) -> list[str]:
    """Return the names of a stage's arguments that are paths, as its help describes them."""
    says = re.compile(r"\bto (write|add)\b|\breplaced\b|\bfinished starts\b")
    actions = [action for action in arguments_of(stage) if action.type is Path]
    return [action.dest for action in actions if bool(says.search(str(action.help))) == written]


@pytest.mark.parametrize("stage", STAGES)
def test_the_registry_lists_what_a_stage_writes(stage: str) -> None:
    """It names exactly the arguments of which the help says that they are written."""
    assert set(STAGES[stage].writes) == set(paths_of(stage, written=True))


def words_with(stage: str, paths: dict[str, Path], folder: Path) -> list[str]:
    """Return a command of a stage with some paths; the others do not exist, in a folder."""
    words = []
    for action in arguments_of(stage):
        if not (action.required or action.dest in paths):
            continue
        if action.type is Path:
            value = str(paths.get(action.dest, folder / action.dest))
        else:
            value = next(iter(action.choices or filter(partial(accepts, action), WORDS)))
        words += action.option_strings[:1]
        words += [value] * (action.nargs if isinstance(action.nargs, int) else 1)
    return [stage.replace("_", "-"), *words]


def accepts(action: argparse.Action, word: str) -> bool:
    """Tell whether a word is one that the argument's type takes."""
    try:
        (action.type or str)(word)
    except (ValueError, argparse.ArgumentTypeError):
        return False
    return True


WORDS = ["x", "a1", "1", "{}", "a:a:1"]
PAIRS = [
    (stage, result, other)
    for stage in STAGES
    for result in paths_of(stage, written=True)
    for other in (*paths_of(stage, written=False), *paths_of(stage, written=True))
    if other != result
]


def test_every_stage_that_reads_and_writes_is_tried() -> None:
    """The pairs below hold the three of the report, among those of most stages."""
    assert len({stage for stage, _, _ in PAIRS}) >= 18
    assert set(PAIRS) >= {
        ("search", "json", "query"),
        ("search", "page", "index"),
        ("associate", "labels", "checkpoint"),
    }


@pytest.mark.parametrize(("stage", "result", "other"), PAIRS)
def test_a_result_is_not_written_over_an_input_or_another_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str, result: str, other: str
) -> None:
    """Any two arguments with one path, one of them written: refused before anything is read."""
    path = tmp_path / "precious"
    path.write_text("content")
    assert tiny.run(*words_with(stage, {result: path, other: path}, tmp_path / "none")) == 1
    message = faults.the_error(capsys.readouterr().err)
    assert str(path) in message and "name another" in message
    for name in (result, other):
        assert f"--{name.replace('_', '-')}" in message
    assert [*tmp_path.iterdir()] == [path] and path.read_text() == "content"


@pytest.mark.parametrize("stage", ["associate", "embed", "complexity"])
def test_the_record_of_a_job_is_a_result_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    """--job of any stage may not be one of its other paths."""
    name = {"associate": "checkpoint", "embed": "images", "complexity": "complexity"}[stage]
    words = words_with(stage, {name: tmp_path / "a"}, tmp_path / "none")
    assert tiny.run(*words, "--job", tmp_path / "a") == 1
    assert "--job" in faults.the_error(capsys.readouterr().err)


@pytest.mark.parametrize("kind", ["link", "hard link", "dots", "relative", "linked folder"])
def test_names_of_one_file_are_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Through links, hard links and detours, the checkpoint is recognized, and is kept."""
    checkpoint = tmp_path / "models/checkpoint.pt"
    checkpoint.parent.mkdir()
    checkpoint.write_text("content")
    (tmp_path / "link").symlink_to(checkpoint)
    (tmp_path / "hard").hardlink_to(checkpoint)
    (tmp_path / "folder").symlink_to(checkpoint.parent)
    monkeypatch.chdir(tmp_path)
    other = {
        "link": tmp_path / "link", "hard link": tmp_path / "hard",
        "dots": tmp_path / "models/../models/./checkpoint.pt",
        "relative": Path("models/checkpoint.pt"),
        "linked folder": tmp_path / "folder/checkpoint.pt",
    }[kind]  # fmt: skip
    words = words_with("associate", {"checkpoint": checkpoint, "labels": other}, tmp_path / "none")
    assert tiny.run(*words) == 1
    assert "--labels" in faults.the_error(capsys.readouterr().err)
    assert checkpoint.read_text() == "content" and (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("stage", "folder", "result"),
    [
        ("associate", "data", "labels"),
        ("search", "index", "page"),
        ("transfer", "other", "metrics"),
    ],
)
def test_no_result_is_put_into_a_folder_that_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str, folder: str, result: str
) -> None:
    """What preprocess and embed wrote is checked as a whole: its files are not replaced."""
    read = tmp_path / "read"
    read.mkdir()
    (read / "manifest.csv").write_text("content")
    (tmp_path / "way").symlink_to(read)
    for path in (read / "manifest.csv", tmp_path / "way/manifest.csv", read / "below/new.csv"):
        words = words_with(stage, {folder: read, result: path}, tmp_path / "none")
        assert tiny.run(*words) == 1
        message = faults.the_error(capsys.readouterr().err)
        assert f"--{result} is in the folder {read} that --{folder} reads" in message
    assert [path.read_text() for path in read.iterdir()] == ["content"]


WRITERS: dict[str, Callable[[Path, Any], None]] = {
    "text": lambda path, value: files.write_text(path, str(value)),
    "json": lambda path, value: files.write_json(path, {"value": value}),
    "table": lambda path, value: files.write_table(path, pd.DataFrame({"value": [value]})),
    "arrays": lambda path, value: files.write_arrays(path, {"value": np.array(value)}),
    "blocks": lambda path, value: files.write_blocks(path, b"", [np.array([value])]),
    "tensors": lambda path, value: tensor_files.write_checkpoint(path, {"value": value}),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("form", ["absolute", "relative", "chain", "nothing there"])
def test_a_link_is_written_through(tmp_path: Path, kind: str, form: str) -> None:
    """The link remains, and what it points at is written, beside which nothing is left."""
    write = WRITERS[kind]
    target, link = tmp_path / "disk/target", tmp_path / "here/link"
    target.parent.mkdir()
    link.parent.mkdir()
    if form == "chain":
        (tmp_path / "between").symlink_to(target)
        link.symlink_to("../between")
    else:
        link.symlink_to("../disk/target" if form == "relative" else target)
    if form != "nothing there":
        write(target, 1)
    write(link, 2)
    write(tmp_path / "expected", 2)
    assert link.is_symlink() and [*link.parent.iterdir()] == [link]
    assert not target.is_symlink() and [*target.parent.iterdir()] == [target]
    assert target.read_bytes() == (tmp_path / "expected").read_bytes()


@pytest.mark.parametrize("kind", ["read-only", "circle", "no folder"])
def test_a_link_that_cannot_be_written_through_is_refused(tmp_path: Path, kind: str) -> None:
    """To a file in DVC's cache, which is read-only; back to itself; to a disk that is not there."""
    link, target = tmp_path / "link", tmp_path / "cache"
    link.symlink_to({"read-only": target, "circle": link}.get(kind, tmp_path / "gone/file"))
    target.write_text("old")
    target.chmod(0o444)
    before = link.readlink()
    with pytest.raises(SalcrError, match=rf"{link}: is a link to .*; delete the link or change it"):
        files.write_text(link, "new")
    assert target.read_text() == "old" and link.readlink() == before
    assert {*tmp_path.iterdir()} == {link, target}


def content_of(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def synthesize(out: Path, layout: str = "regdb", seed: int = 3) -> int:
    """Run the stage with a few people."""
    words = ["--layout", layout, "--seed", seed, *tiny.SYNTHESIZE]
    few = ["--synthesize-num-identities", 4, "--synthesize-images-per-identity", 2]
    return tiny.run("synthesize", "--out", out, *words, *few)


@pytest.mark.parametrize("layout", ["regdb", "sysu", "llcm", "folders"])
def test_own_images_with_the_names_of_synthetic_ones_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    """The names alone are no reason to replace a folder; what synthesize marked is replaced.

    Snakemake deletes the second mark before it runs the stage again.
    """
    out = tmp_path / "data"
    assert synthesize(out, layout) == 0
    (out / "synthesize.json").unlink()
    assert synthesize(out, layout, seed=4) == 0
    (out / "synthesize.json").unlink()
    (out / "synthetic_people.txt").unlink()  # now they are somebody's own
    before = content_of(out)
    capsys.readouterr()
    assert synthesize(out, layout) == 1
    message = faults.the_error(capsys.readouterr().err)
    assert f"{out}: is not empty and not by synthesize" in message and "dataset.root" in message
    assert content_of(out) == before and [*tmp_path.iterdir()] == [out]


def test_a_link_to_a_folder_on_another_disk_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images are written where it points, if that is empty or synthetic; other files are kept."""
    disk, link = tmp_path / "disk/people", tmp_path / "data"
    disk.mkdir(parents=True)
    link.symlink_to(disk)
    for seed in (3, 4):
        assert synthesize(link, seed=seed) == 0
        assert synthesize(tmp_path / f"expected{seed}", seed=seed) == 0
        assert link.is_symlink() and [*disk.parent.iterdir()] == [disk]
        assert content_of(disk) == content_of(tmp_path / f"expected{seed}")
    (disk / "thesis.tex").write_text("mine")
    before = content_of(disk)
    capsys.readouterr()
    assert synthesize(link) == 1
    assert "holds other files" in faults.the_error(capsys.readouterr().err)
    assert link.is_symlink() and content_of(disk) == before


def test_a_failure_keeps_the_images_that_were_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old images are replaced when all of the new ones are there, not before."""
    assert synthesize(tmp_path / "data") == 0
    before = content_of(tmp_path / "data")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generate.LAYOUTS["regdb"], "write_splits", fail, raising=False)
    assert synthesize(tmp_path / "data", seed=4) == 1
    assert content_of(tmp_path / "data") == before
    assert [*tmp_path.iterdir()] == [tmp_path / "data"]


def test_embed_deletes_no_file_of_a_person(
    stage_one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder `blocks` with hidden files is not embed's, though it would delete its own."""
    (tmp_path / "pictures").mkdir()
    shutil.copy(stage_one / "raw/Visible/1/visible_00001.bmp", tmp_path / "pictures")
    own = tmp_path / "out/blocks/.notes"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    words = ["--images", tmp_path / "pictures", "--checkpoint", stage_one / "round00/checkpoint.pt"]
    assert tiny.run("embed", *words, "--out", tmp_path / "out") == 1
    assert "holds blocks/.notes" in faults.the_error(capsys.readouterr().err)
    assert own.read_text() == "mine"
