"""Damaged or exchanged files are rejected by name before anything is computed from them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import faults, tiny

FIRST, LAST = faults.OUT / "round00", faults.OUT / "round01"
COMPUTING = ["pretrain", "associate", "train", "evaluate", "analyze", "cluster_centers"]
# file -> stages that read it
READERS = {
    Path("data/visible.npy"): COMPUTING,
    Path("data/infrared.npy"): COMPUTING,
    Path("data/manifest.csv"): COMPUTING,
    Path("data/preprocess.json"): COMPUTING,
    Path("data/identities.csv"): ["label_quality", "evaluate", "analyze", "cluster_centers"],
    FIRST / "checkpoint.pt": ["associate", "train", "cluster_centers"],
    LAST / "checkpoint.pt": ["evaluate", "analyze"],
    LAST / "labels.csv": ["label_quality", "train", "cluster_centers"],
    LAST / "metrics.json": ["aggregate"],
    faults.OUT / "label_quality.json": ["aggregate"],
    LAST / "rankings.json": ["plot"],
}
PAIRS = [(path, stage) for path, stages in READERS.items() for stage in stages]
# Scores do not identify their data set; the files they are computed from do.
OF_A_DATA_SET = [(path, stage) for path, stage in PAIRS if path.suffix != ".json"]
OF_A_DATA_SET += [(path, stage) for path, stage in PAIRS if path.name == "preprocess.json"]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished folder with as many images as `complete_run`, but of other people."""
    run_copy = tmp_path_factory.mktemp("other")
    words = ["--out", run_copy / "raw", *tiny.SYNTHESIZE]
    assert tiny.run("synthesize", *words, "--seed", 4) == 0
    for stage in faults.STAGES[1:7]:
        assert tiny.run(*faults.words(stage, run_copy)) == 0
    return run_copy


def refused(run_copy: Path, stage: str, path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a stage and return the error, which names the file; it must not leave a new result."""
    for result in faults.WRITES[stage]:
        if result != path:
            (run_copy / result).unlink(missing_ok=True)
    capsys.readouterr()
    assert tiny.run(*faults.words(stage, run_copy)) == 1
    message = faults.the_error(capsys.readouterr().err)
    assert str(run_copy / path) in message
    left = {
        name for name, content in faults.contents(run_copy, stage).items() if content is not None
    }
    assert left <= {path}
    return message


@pytest.mark.parametrize(("path", "stage"), PAIRS)
@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_damage_is_detected_by_every_reader(
    complete_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    path: Path,
    stage: str,
    damage: str,
) -> None:
    """Truncated, with one bit changed, or deleted: each stage that reads the file names it."""
    run_copy = faults.copy_run(complete_run, tmp_path / "copy")
    content = (run_copy / path).read_bytes()
    if damage == "gone":
        (run_copy / path).unlink()
    elif damage == "flipped":
        faults.flip(run_copy / path)
    else:
        (run_copy / path).write_bytes(content[:-7])
    message = refused(run_copy, stage, path, capsys)
    if damage == "gone":
        assert "no such file" in message
    else:
        assert "again" in message


@pytest.mark.parametrize("share", np.linspace(0.001, 0.999, 12))
def test_one_changed_bit_is_detected_anywhere_in_a_file(
    complete_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float
) -> None:
    """Damage is detected anywhere in the file: in the header, the first image or the last line."""
    for path, stage in ((Path("data/visible.npy"), "associate"), (LAST / "labels.csv", "train")):
        run_copy = faults.copy_run(complete_run, tmp_path / stage)
        faults.flip(run_copy / path, share)
        refused(run_copy, stage, path, capsys)


@pytest.mark.parametrize(("path", "stage"), OF_A_DATA_SET)
def test_a_file_of_another_data_set_is_refused(
    complete_run: Path,
    other: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    path: Path,
    stage: str,
) -> None:
    """With as many images, lines and parameters, but of other people: it or its neighbor is named.

    A foreign summary does not match the manifest, in which case the manifest is named.
    """
    run_copy = faults.copy_run(complete_run, tmp_path / "copy")
    shutil.copy(other / path, run_copy / path)
    assert (run_copy / path).read_bytes() != (complete_run / path).read_bytes()
    named = Path("data/manifest.csv") if path.name == "preprocess.json" else path
    refused(run_copy, stage, named, capsys)


def test_a_complete_preprocess_folder_of_another_data_set_is_refused(
    complete_run: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Although consistent, it is rejected by everything that was trained on the right one."""
    run_copy = faults.copy_run(complete_run, tmp_path / "copy")
    shutil.copytree(other / "data", run_copy / "data", dirs_exist_ok=True)
    message = refused(run_copy, "associate", FIRST / "checkpoint.pt", capsys)
    assert "was trained on data_hash" in message


@pytest.mark.parametrize("damage", ["truncated", "flipped", "other"])
def test_the_state_of_the_optimizer_is_checked(
    complete_run: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    """Round 2 rejects a damaged state, and one from another data set."""
    run_copy = faults.copy_run(complete_run, tmp_path / "copy")
    path = run_copy / LAST / "optimizer.pt"
    if damage == "flipped":
        faults.flip(path)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        shutil.copy(other / LAST / "optimizer.pt", path)
    assert tiny.associate(run_copy / "data", run_copy / faults.OUT, 2) == 0
    capsys.readouterr()
    assert tiny.train(run_copy / "data", run_copy / faults.OUT, 2) == 1
    assert str(path) in faults.the_error(capsys.readouterr().err)
    assert not (run_copy / faults.OUT / "round02/checkpoint.pt").exists()


def test_a_file_of_another_kind_is_not_a_network(
    complete_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The optimizer state under the name of the checkpoint has our format, but is rejected."""
    run_copy = faults.copy_run(complete_run, tmp_path / "copy")
    shutil.copy(run_copy / LAST / "optimizer.pt", run_copy / LAST / "checkpoint.pt")
    message = refused(run_copy, "evaluate", LAST / "checkpoint.pt", capsys)
    assert "is not the checkpoint.pt of a round" in message


@pytest.mark.parametrize("damage", ["gone", "truncated"])
def test_images_are_not_needed_after_preprocessing(
    complete_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    """Results do not change; another preprocessing names the image and changes no array."""
    run_copy = faults.copy_run(complete_run, tmp_path / "copy")
    image = run_copy / "raw/Visible/3/visible_00002.bmp"
    if damage == "gone":
        image.unlink()
    else:
        image.write_bytes(image.read_bytes()[:900])
    for stage in ("pretrain", "associate", "train", "evaluate"):
        assert tiny.run(*faults.words(stage, run_copy)) == 0
        assert faults.contents(run_copy, stage) == faults.contents(complete_run, stage)
    capsys.readouterr()
    assert tiny.run(*faults.words("preprocess", run_copy)) == 1
    message = capsys.readouterr().err
    assert faults.the_error(message) and image.relative_to(run_copy / "raw").as_posix() in message
    assert faults.contents(run_copy, "preprocess") == faults.contents(complete_run, "preprocess")


def test_images_damaged_anywhere_end_in_a_message(
    complete_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rng: np.random.Generator,
) -> None:
    """Images (bmp, jpg) with random damage to the header are decoded or named; no traceback."""
    run_copy = faults.copy_run(complete_run, tmp_path / "copy")
    image = run_copy / "raw/Visible/1/visible_00001.bmp"
    picture = Image.open(image).copy()
    named = 0
    for form in ("BMP", "JPEG"):
        picture.save(image, format=form)
        content = image.read_bytes()
        for _ in range(40):
            damaged = bytearray(content)
            for position in rng.integers(0, 80, 4):
                damaged[position] = rng.integers(256)
            image.write_bytes(damaged)
            capsys.readouterr()
            if tiny.run(*faults.words("preprocess", run_copy)) == 1:
                assert str(image) in faults.the_error(capsys.readouterr().err)
                named += 1
    assert named > 20


def test_arrays_are_what_numpy_writes(complete_run: Path, tmp_path: Path) -> None:
    """The arrays, which are written image by image, have the same bytes as from numpy.save."""
    for name in ("visible.npy", "infrared.npy"):
        np.save(tmp_path / name, np.load(complete_run / "data" / name))
        assert (tmp_path / name).read_bytes() == (complete_run / "data" / name).read_bytes()
