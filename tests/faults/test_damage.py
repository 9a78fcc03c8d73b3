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
    LAST / "label_quality.json": ["aggregate"],
    LAST / "rankings.json": ["plot"],
}
PAIRS = [(path, stage) for path, stages in READERS.items() for stage in stages]
# Scores do not identify their data set; the files they are computed from do.
OF_A_DATA_SET = [(path, stage) for path, stage in PAIRS if path.suffix != ".json"]
OF_A_DATA_SET += [(path, stage) for path, stage in PAIRS if path.name == "preprocess.json"]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished folder with as many images as `whole`, but of other people."""
    place = tmp_path_factory.mktemp("other")
    words = ["--out", place / "raw", *tiny.SYNTHESIZE]
    assert tiny.run("synthesize", *words, "--seed", 4) == 0
    for stage in faults.STAGES[1:7]:
        assert tiny.run(*faults.words(stage, place)) == 0
    return place


def refused(place: Path, stage: str, path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a stage and return the error, which names the file; it must not leave a new result."""
    for result in faults.WRITES[stage]:
        if result != path:
            (place / result).unlink(missing_ok=True)
    capsys.readouterr()
    assert tiny.run(*faults.words(stage, place)) == 1
    message = faults.the_error(capsys.readouterr().err)
    assert str(place / path) in message
    left = {name for name, content in faults.contents(place, stage).items() if content is not None}
    assert left <= {path}
    return message


@pytest.mark.parametrize(("path", "stage"), PAIRS)
@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_damage_is_noticed_by_every_reader(
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    path: Path,
    stage: str,
    damage: str,
) -> None:
    """Truncated, with one bit changed, or deleted: each stage that reads the file names it."""
    place = faults.copy_run(whole, tmp_path / "copy")
    content = (place / path).read_bytes()
    if damage == "gone":
        (place / path).unlink()
    elif damage == "flipped":
        faults.flip(place / path)
    else:
        (place / path).write_bytes(content[:-7])
    message = refused(place, stage, path, capsys)
    if damage == "gone":
        assert "no such file" in message
    else:
        assert "again" in message


@pytest.mark.parametrize("share", np.linspace(0.001, 0.999, 12))
def test_a_bit_anywhere_in_an_array_or_label_file_counts(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float
) -> None:
    """Damage is detected anywhere in the file: in the header, the first image or the last line."""
    for path, stage in ((Path("data/visible.npy"), "associate"), (LAST / "labels.csv", "train")):
        place = faults.copy_run(whole, tmp_path / stage)
        faults.flip(place / path, share)
        refused(place, stage, path, capsys)


@pytest.mark.parametrize(("path", "stage"), OF_A_DATA_SET)
def test_a_file_of_another_data_set_is_refused(
    whole: Path,
    other: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    path: Path,
    stage: str,
) -> None:
    """With as many images, lines and parameters, but of other people: it or its neighbor is named.

    A foreign summary does not match the manifest, in which case the manifest is named.
    """
    place = faults.copy_run(whole, tmp_path / "copy")
    shutil.copy(other / path, place / path)
    assert (place / path).read_bytes() != (whole / path).read_bytes()
    named = Path("data/manifest.csv") if path.name == "preprocess.json" else path
    refused(place, stage, named, capsys)


def test_a_whole_preprocess_folder_of_another_data_set_fits_no_checkpoint(
    whole: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Although consistent, it is rejected by everything that was trained on the right one."""
    place = faults.copy_run(whole, tmp_path / "copy")
    shutil.copytree(other / "data", place / "data", dirs_exist_ok=True)
    message = refused(place, "associate", FIRST / "checkpoint.pt", capsys)
    assert "was trained on data_hash" in message


@pytest.mark.parametrize("damage", ["truncated", "flipped", "other"])
def test_the_state_of_the_optimizer_is_checked(
    whole: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    """Round 2 rejects a damaged state, and one from another data set."""
    place = faults.copy_run(whole, tmp_path / "copy")
    path = place / LAST / "optimizer.pt"
    if damage == "flipped":
        faults.flip(path)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        shutil.copy(other / LAST / "optimizer.pt", path)
    assert tiny.associate(place / "data", place / faults.OUT, 2) == 0
    capsys.readouterr()
    assert tiny.train(place / "data", place / faults.OUT, 2) == 1
    assert str(path) in faults.the_error(capsys.readouterr().err)
    assert not (place / faults.OUT / "round02/checkpoint.pt").exists()


def test_a_file_of_another_kind_is_no_network(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The optimizer state under the name of the checkpoint has our format, but is rejected."""
    place = faults.copy_run(whole, tmp_path / "copy")
    shutil.copy(place / LAST / "optimizer.pt", place / LAST / "checkpoint.pt")
    message = refused(place, "evaluate", LAST / "checkpoint.pt", capsys)
    assert "does not hold a network" in message


@pytest.mark.parametrize("damage", ["gone", "truncated"])
def test_images_are_not_needed_after_preprocessing(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    """Results do not change; another preprocessing names the image and changes no array."""
    place = faults.copy_run(whole, tmp_path / "copy")
    image = place / "raw/Visible/3/visible_00002.bmp"
    if damage == "gone":
        image.unlink()
    else:
        image.write_bytes(image.read_bytes()[:900])
    for stage in ("pretrain", "associate", "train", "evaluate"):
        assert tiny.run(*faults.words(stage, place)) == 0
        assert faults.contents(place, stage) == faults.contents(whole, stage)
    capsys.readouterr()
    assert tiny.run(*faults.words("preprocess", place)) == 1
    message = capsys.readouterr().err
    assert faults.the_error(message) and image.relative_to(place / "raw").as_posix() in message
    assert faults.contents(place, "preprocess") == faults.contents(whole, "preprocess")


def test_images_damaged_anywhere_end_in_a_message(
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rng: np.random.Generator,
) -> None:
    """Images (bmp, jpg) with random damage to the header are decoded or named; no traceback."""
    place = faults.copy_run(whole, tmp_path / "copy")
    image = place / "raw/Visible/1/visible_00001.bmp"
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
            if tiny.run(*faults.words("preprocess", place)) == 1:
                assert str(image) in faults.the_error(capsys.readouterr().err)
                named += 1
    assert named > 20


def test_arrays_are_what_numpy_writes(whole: Path, tmp_path: Path) -> None:
    """The arrays, which are written image by image, have the same bytes as from numpy.save."""
    for name in ("visible.npy", "infrared.npy"):
        np.save(tmp_path / name, np.load(whole / "data" / name))
        assert (tmp_path / name).read_bytes() == (whole / "data" / name).read_bytes()
