"""LLCM's layout: what is read from split files and file names, and what is rejected."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salcr.datasets.llcm import read_records
from salcr.datasets.records import Record
from salcr.datasets.synthetic.generate import synthesize
from salcr.errors import SalcrError
from tests.support import tiny

LINES = {
    "train_vis": ["vis/0003/0003_c01_s185535_f7010_vis.jpg 0", "vis/0351/0351_c09_s1_f2_vis.jpg 1"],
    "train_nir": ["nir/0003/0003_c06_s200656_f4830_nir.jpg 0", "nir/0351/0351_c02_s1_f2_nir.jpg 1"],
    "test_vis": [
        "test_vis/cam3/0004/0004_c03_s1_f2_vis.jpg 0",
        "test_vis/cam3/0006/0006_c03_s1_f2_vis.jpg 1",
    ],
    "test_nir": [
        "test_nir/cam8/0004/0004_c08_s1_f2_nir.jpg 0",
        "test_nir/cam8/0006/0006_c08_s1_f2_nir.jpg 1",
    ],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a data set with identities 3 and 351 for training, 4 and 6 for testing."""
    folder = tmp_path / "llcm"
    (folder / "idx").mkdir(parents=True)
    for name, lines in LINES.items():
        (folder / f"idx/{name}.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            path = folder / line.split()[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 16), (200, 100, 50)).save(path)
    return folder


def preprocess(root: Path, out: Path) -> int:
    """Preprocess the data set, which is a small part of the published one."""
    words = ["--root", root, "--layout", "llcm", "--out", out]
    return tiny.run("preprocess", *words, *tiny.PREPROCESS)


def test_records_are_the_lines_with_the_names_identity_and_camera(root: Path) -> None:
    """Identity and camera come from the name; labels, 0 in both splits, are not identities."""
    expected = [
        ("train", "visible", "train_vis", [(1, 3), (9, 351)]),
        ("train", "infrared", "train_nir", [(6, 3), (2, 351)]),
        ("test", "visible", "test_vis", [(3, 4), (3, 6)]),
        ("test", "infrared", "test_nir", [(8, 4), (8, 6)]),
    ]
    assert read_records(root) == [
        Record(1, split, modality, line.split()[0], camera, identity)
        for split, modality, name, pairs in expected
        for line, (camera, identity) in zip(LINES[name], pairs, strict=True)
    ]


def test_backslashes_are_named(root: Path) -> None:
    """A list that was written on Windows is refused as such, not for the name of its image."""
    path = root / "idx/train_vis.txt"
    path.write_text(path.read_text().replace("/", "\\"))
    with pytest.raises(SalcrError, match=r"train_vis\.txt, line 1: .* has backslashes"):
        read_records(root)


def test_windows_line_ends_and_blanks_are_harmless(root: Path) -> None:
    """CRLF, blanks and tabs around a line, and empty lines do not change the records."""
    before = read_records(root)
    for path in (root / "idx").iterdir():
        lines = [line.replace(" ", " \t ") for line in path.read_text().splitlines()]
        path.write_bytes("\r\n".join(["", *[f" {line}\t " for line in lines], ""]).encode())
    assert read_records(root) == before


@pytest.mark.parametrize(
    ("name", "line", "complaint"),
    [
        ("train_vis", "vis/0003/0003_c01_s185535_f7010_vis.jpg 0", r"again, after line 1; delete"),
        ("train_vis", "vis/0003/person.jpg 0", r"no name like <identity>_c<camera>_s"),
        ("train_vis", "vis/0003/0003_c10_s1_f1_vis.jpg 0", r"of camera 10, but LLCM has cameras 1"),
        ("train_vis", "vis/0003/0003_c00_s1_f1_vis.jpg 0", r"of camera 0, but LLCM has cameras 1"),
        ("test_vis", "test_vis/cam1/0004/0004_c02_s1_f1_vis.jpg 0", r"another by its folder"),
        ("train_nir", "nir/0009/0009_c02_s1_f1_nir.jpg 1", r"label 1 is person 9 .* person 351 in"),
        ("train_nir", "nir/0003/0003_c02_s1_f1_nir.jpg 5", r"person 3 has label 5 .* label 0 in"),
        (
            "train_nir",
            "nir/0009/0003_c02_s1_f1_nir.jpg 0",
            r"of person 3 by its name and of another",
        ),
        (
            "train_nir",
            "nir/0003/0003_c02_s1_f1_vis.jpg 0",
            r"is visible by its path, .* infrared im",
        ),
        ("train_nir", "test_vis/0003/0003_c02_s1_f1.jpg 0", r"is visible by its path"),
        (
            "train_nir",
            f"nir/{'9' * 23}_c02_s1_f1_nir.jpg 2",
            r"9{23} is larger than 9223372036854775807",
        ),
        ("train_nir", f"nir/0003/0003_c02_s1_f1_nir.jpg {2**63}", r"9223372036854775808 is larger"),
        ("test_nir", "nir/0004/0004_c02_s1_f1_nir.jpg -1", r"person of a test image must be known"),
        ("train_nir", "nir/0009/0009_c02_s1_f1_nir.jpg", r"expected `path label`"),
        ("train_nir", "../0009_c02_s1_f1_nir.jpg 2", r"points outside the data set"),
    ],
)
def test_broken_lines_are_named(root: Path, name: str, line: str, complaint: str) -> None:
    """A malformed or repeated line, or one that contradicts its image, is named by its number."""
    path = root / f"idx/{name}.txt"
    path.write_text(path.read_text() + line + "\n")
    number = len(LINES[name]) + 1
    with pytest.raises(SalcrError, match=rf"{re.escape(str(path))}, line {number}: .*{complaint}"):
        read_records(root)


def test_images_without_a_label_are_for_training(root: Path) -> None:
    """Label -1: the number in the name is not taken for an identity, but is not a test person's."""
    path = root / "idx/train_nir.txt"
    name = LINES["train_nir"][0].split()[0]
    path.write_text(f"{name} -1\n{LINES['train_nir'][1]}\n")
    assert Record(1, "train", "infrared", name, 6, -1) in read_records(root)
    path.write_text("test_nir/cam1/0004/0004_c01_s1_f2_nir.jpg -1\n")
    with pytest.raises(SalcrError, match=r"in training and test: 4 \(.*train_nir\.txt, line 1"):
        read_records(root)


def test_files_of_macos_are_skipped(root: Path) -> None:
    """`._` files beside the images, which a script may list, are not images."""
    before = read_records(root)
    path = root / "idx/train_nir.txt"
    path.write_text(f"nir/0003/._0003_c06_s200656_f4830_nir.jpg 9\n{path.read_text()}")
    assert read_records(root) == before


def test_an_identity_in_training_and_test_is_refused(root: Path) -> None:
    """Other images of a training identity must not be used for testing, whatever their label."""
    path = root / "idx/test_nir.txt"
    path.write_text("nir/0351/0351_c04_s1_f1_nir.jpg 7\n")
    (root / "nir/0351/0351_c04_s1_f1_nir.jpg").touch()
    with pytest.raises(
        SalcrError, match=r"1 identities are in training and test: 351 \(.*_vis\.txt, line 2"
    ):
        read_records(root)


def test_missing_files_are_named(root: Path, tmp_path: Path) -> None:
    """A missing image, split file or data set is named, together with the layout and the source."""
    with pytest.raises(SalcrError, match=r"no LLCM at .*none(.|\n)*idx/(.|\n)*ZYK100/LLCM"):
        read_records(tmp_path / "none")
    gone = root / LINES["test_nir"][0].split()[0]
    gone.unlink()
    with pytest.raises(SalcrError, match=rf"test_nir\.txt (.|\n)*{gone.name}(.|\n)*Copy them"):
        read_records(root)
    (root / "idx/test_nir.txt").unlink()
    with pytest.raises(SalcrError, match=r"test_nir\.txt: cannot be read .* restore it"):
        read_records(root)


def test_a_file_that_is_not_text_is_named(root: Path) -> None:
    """The message names a split file that is not text, instead of reporting a decoding error."""
    (root / "idx/train_vis.txt").write_bytes(b"\xff\xfe\x00v")
    with pytest.raises(SalcrError, match=r"train_vis\.txt: is not a text file"):
        read_records(root)


def test_an_empty_image_is_named_and_nothing_is_written(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A zero-byte infrared image stops preprocess, which does not leave a visible array either."""
    path = root / LINES["train_nir"][1].split()[0]
    path.write_bytes(b"")
    assert preprocess(root, tmp_path / "out") == 1
    assert f"{path}: cannot be decoded" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_gray_images_get_three_equal_channels(root: Path, tmp_path: Path) -> None:
    """A grayscale infrared image is stored with its gray value in each of three channels."""
    Image.new("L", (8, 16), 33).save(root / LINES["test_nir"][0].split()[0])
    assert preprocess(root, tmp_path / "out") == 0
    infrared = np.load(tmp_path / "out/infrared.npy")
    assert infrared.shape == (4, 64, 32, 3)
    assert [bool((image == 33).all()) for image in infrared] == [False, False, True, False]


def test_synthetic_people_are_read(tmp_path: Path) -> None:
    """Half of the people are for testing; two to four cameras per modality see each person."""
    sizes = {"num_identities": 9, "images_per_identity": 4, "num_trials": 1, "seed": 5}
    synthesize(tmp_path / "d", layout="llcm", **sizes, height=48, width=32)
    records = read_records(tmp_path / "d")
    assert len(records) == 9 * 4 * 2
    assert len({r.identity for r in records if r.split == "test"}) == 5
    for identity in range(1, 10):
        for modality in ("visible", "infrared"):
            seen = {r.camera for r in records if (r.identity, r.modality) == (identity, modality)}
            assert 2 <= len(seen) <= 4 and not (modality == "infrared" and 3 in seen)
