"""RegDB's layout: what is read from split files written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salcr.datasets import regdb
from salcr.datasets.counts import deviations
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
    (root / "Thermal/8").mkdir()
    (root / "Thermal/8/c.bmp").touch()
    path = root / "idx/train_thermal_3.txt"
    path.write_text("Thermal/7/a b.bmp 0\nThermal/8/c.bmp 4\n")
    complaint = r"train_thermal_3\.txt, line 2: its label, 4, is not in train_visible_3\.txt"
    with pytest.raises(SalcrError, match=complaint):
        read_records(root)


def test_a_label_of_another_folder_in_the_other_modality_is_refused(root: Path) -> None:
    """Label 0 is folder 7 in visible images; with folder 12 in thermal ones, pairs would be wrong.

    Folders of equal number are equal, 7 and 007; words are compared as they are.
    """
    path = root / "idx/train_thermal_3.txt"
    for folder in ("007", "12", "p7"):
        (root / f"Thermal/{folder}").mkdir()
        (root / f"Thermal/{folder}/c.bmp").touch()
        path.write_text(f"Thermal/{folder}/c.bmp 0\n")
        if folder == "007":
            assert len(read_records(root)) == 4
            continue
        complaint = (
            rf"l_3\.txt, line 1: label 0 is person {folder} .*person 7 in train_visible_3.txt,"
        )
        with pytest.raises(SalcrError, match=complaint):
            read_records(root)


def test_images_without_a_label_are_for_training(root: Path) -> None:
    """Label -1 is of no person: neither paired nor compared with folders, but not of a test person.

    As any of them may be of the person whom the other modality labels, that label may lack a match.
    """
    path = root / "idx/train_thermal_3.txt"
    (root / "Thermal/some").mkdir()
    (root / "Thermal/some/c.bmp").touch()
    path.write_text("Thermal/7/a b.bmp -1\nThermal/some/c.bmp -1\n")
    assert read_records(root)[1:3] == [
        Record(3, "train", "infrared", "Thermal/7/a b.bmp", 2, -1),
        Record(3, "train", "infrared", "Thermal/some/c.bmp", 2, -1),
    ]
    (root / "Thermal/9/c.bmp").touch()
    path.write_text("Thermal/7/a b.bmp -1\nThermal/9/c.bmp -1\n")
    with pytest.raises(SalcrError, match=r"test: 9 \(.*train_thermal_3\.txt, line 2\)"):
        read_records(root)
    path.write_text("Thermal/7/a b.bmp -2\n")
    with pytest.raises(SalcrError, match="line 1: expected `path label`"):
        read_records(root)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        (r"Visible\7\a.bmp", r"has backslashes, as paths on Windows have"),
        ("Visible/a.bmp", "is not in the folder of a person"),
        ("a.bmp", "is not in the folder of a person"),
    ],
)
def test_a_path_without_the_folder_of_a_person_is_refused(
    root: Path, path: str, complaint: str
) -> None:
    """Only the folder says who an image shows; without it, labels could not be checked."""
    (root / "idx/train_visible_3.txt").write_text(f"{path} 0\n")
    with pytest.raises(SalcrError, match=rf"train_visible_3\.txt, line 1: .* {complaint}"):
        read_records(root)


def test_files_of_macos_are_skipped(root: Path) -> None:
    """Scripts that list folders put `._` files into lists; they are skipped, whatever the label."""
    before = read_records(root)
    path = root / "idx/train_thermal_3.txt"
    path.write_text(f"Thermal/7/._a b.bmp 5\n{path.read_text()}")
    (root / "idx/._train_thermal_4.txt").write_text("x")
    assert read_records(root) == before


def test_an_empty_split_file_is_named(root: Path) -> None:
    """A split file without any line is rejected."""
    (root / "idx/train_visible_3.txt").write_text("\n\n")
    with pytest.raises(SalcrError, match=r"train_visible_3\.txt: does not list an image"):
        read_records(root)


def test_a_person_in_training_and_test_is_refused(root: Path) -> None:
    """Two images in one folder, one for training and one for testing, show the same person."""
    (root / "Thermal/7/c.bmp").touch()
    (root / "idx/test_thermal_3.txt").write_text("Thermal/7/c.bmp 0\n")
    complaint = r"test_thermal_3\.txt, line 1: 1 identities .* and test: 7 .*train_visible_3\.txt,"
    with pytest.raises(SalcrError, match=complaint):
        read_records(root)


def test_an_image_named_twice_is_refused_with_both_lines(root: Path) -> None:
    """A path that is repeated, however it is spelled, is rejected with its line numbers."""
    path = root / "idx/train_thermal_3.txt"
    path.write_text("Thermal/7/a b.bmp 0\n\nThermal//7/./a b.bmp 0\n")
    with pytest.raises(SalcrError, match=r"train_thermal_3\.txt, line 3: .* again, after line 1"):
        read_records(root)


def test_an_image_of_the_other_modality_is_refused(root: Path) -> None:
    """A thermal split file that names a visible image is rejected, whatever the case of letters."""
    for folder in ("Visible", "VISIBLE"):
        (root / "idx/train_thermal_3.txt").write_text(f"\n{folder}/7/a b.bmp 0\n")
        complaint = r"train_thermal_3\.txt, line 2: .* is visible by its path, .* infrared images"
        with pytest.raises(SalcrError, match=complaint):
            read_records(root)


def test_an_image_of_both_modalities_is_refused(root: Path) -> None:
    """Where folders do not tell, an image in two files of a trial is rejected, naming both."""
    (root / "both/7").mkdir(parents=True)
    (root / "both/7/a.bmp").touch()
    for word in ("visible", "thermal"):
        (root / f"idx/train_{word}_3.txt").write_text("both/7/a.bmp 0\n")
    with pytest.raises(SalcrError, match=r"train_thermal_3.*which train_visible_3\.txt lists too"):
        read_records(root)


def test_the_published_form_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """412 people in ten trials, halved, labels 0 to 205 in each half, ten images of each."""
    monkeypatch.setattr(regdb, "check_images", lambda *_: None)  # 8240 files take seconds
    rng = np.random.default_rng(0)
    (tmp_path / "idx").mkdir()
    names = {"visible": "Visible/{0}/male_front_v_{1:05}_{0}.bmp",
             "thermal": "Thermal/{0}/male_front_t_{1:05}_{0}.bmp"}  # fmt: skip
    for trial in range(1, 11):
        people = rng.permutation(np.arange(1, 413))
        for split, half in (("train", np.sort(people[:206])), ("test", np.sort(people[206:]))):
            for word, name in names.items():
                lines = [
                    f"{name.format(person, image)} {label}"
                    for label, person in enumerate(half)
                    for image in range(10)
                ]
                (tmp_path / f"idx/{split}_{word}_{trial}.txt").write_text("\n".join(lines))
    assert deviations("regdb", read_records(tmp_path)) == []
