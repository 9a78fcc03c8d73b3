"""RegDB's layout: what is read from split files written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from salcr.datasets.records import Record
from salcr.datasets.regdb import read_records
from salcr.errors import SalcrError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a data set of two people, one in train and one in test, in one trial."""
    for side, word in (("Visible", "visible"), ("Thermal", "thermal")):
        for identity, split in ((7, "train"), (9, "test")):
            folder = tmp_path / side / str(identity)
            folder.mkdir(parents=True)
            (folder / "a b.bmp").touch()
            index = tmp_path / "idx" / f"{split}_{word}_3.txt"
            index.parent.mkdir(exist_ok=True)
            index.write_text(f"{side}/{identity}/a b.bmp 0\n")
    return tmp_path


def test_records_are_the_lines_of_the_split_files(root: Path) -> None:
    """Every line gives one record; a blank in a file name is part of it."""
    assert read_records(root) == [
        Record(3, "train", "visible", "Visible/7/a b.bmp", 1, 0),
        Record(3, "train", "infrared", "Thermal/7/a b.bmp", 2, 0),
        Record(3, "test", "visible", "Visible/9/a b.bmp", 1, 0),
        Record(3, "test", "infrared", "Thermal/9/a b.bmp", 2, 0),
    ]


def test_a_missing_split_file_is_named(root: Path) -> None:
    """If one of a trial's four files is missing, the message names it."""
    (root / "idx/test_thermal_3.txt").unlink()
    with pytest.raises(SalcrError, match=r"test_thermal_3\.txt: cannot be read"):
        read_records(root)


def test_labels_must_pair_up(root: Path) -> None:
    """Labels that only one modality has would create identities without a match."""
    (root / "idx/train_thermal_3.txt").write_text("Thermal/7/a b.bmp 4\n")
    with pytest.raises(SalcrError, match="its labels are not those of train_visible_3"):
        read_records(root)


def test_an_empty_split_file_is_named(root: Path) -> None:
    """A split file without any line is rejected."""
    (root / "idx/train_visible_3.txt").write_text("\n\n")
    with pytest.raises(SalcrError, match=r"train_visible_3\.txt: does not list an image"):
        read_records(root)


def test_a_person_in_training_and_test_is_refused(root: Path) -> None:
    """Two images in one folder, one for training and one for testing, show the same person."""
    (root / "Thermal/7/c.bmp").touch()
    (root / "idx/test_thermal_3.txt").write_text("Thermal/7/c.bmp 0\n")
    with pytest.raises(SalcrError, match=r"test_thermal_3\.txt: 1 identities .* and test: 7;"):
        read_records(root)


def test_an_image_named_twice_is_refused_with_both_lines(root: Path) -> None:
    """A path that is repeated, however it is spelled, is rejected with its line numbers."""
    path = root / "idx/train_thermal_3.txt"
    path.write_text("Thermal/7/a b.bmp 0\n\nThermal//7/./a b.bmp 0\n")
    with pytest.raises(SalcrError, match=r"train_thermal_3\.txt, line 3: .* again, after line 1"):
        read_records(root)


def test_an_image_of_both_modalities_is_refused(root: Path) -> None:
    """A thermal split file that names a visible image is rejected, naming the other file."""
    (root / "idx/train_thermal_3.txt").write_text("Visible/7/a b.bmp 0\n")
    with pytest.raises(SalcrError, match=r"train_thermal_3.*which train_visible_3\.txt lists too"):
        read_records(root)
