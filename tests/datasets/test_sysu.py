"""SYSU-MM01's layout: what is read from folders and split files, and what is rejected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salcr.datasets.records import Record
from salcr.datasets.synthetic.generate import synthesize
from salcr.datasets.sysu import read_records
from salcr.errors import SalcrError
from tests.support import tiny

IMAGES = [
    "cam1/0007/0001.jpg", "cam1/0007/0002.jpg", "cam5/0007/0001.jpg", "cam3/0007/0001.jpg",
    "cam2/0012/0001.jpg", "cam6/0012/0001.JPG",
    "cam4/0030/0001.jpg", "cam3/0030/0001.jpg", "cam6/0030/0001.jpg",
    "cam2/0031/0001.jpg", "cam6/0031/0001.jpg",
    "cam1/0444/0001.jpg", "cam3/0444/0001.jpg",
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a data set: 7 for training, 12 for validation, 30 and 31 for testing, 444 unused."""
    folder = tmp_path / "sysu"
    for name in IMAGES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 16), (200, 100, 50)).save(folder / name)
    (folder / "exp").mkdir()
    for word, text in (("train", "7"), ("val", "12"), ("test", "30,31")):
        (folder / f"exp/{word}_id.txt").write_text(text + "\n")
    return folder


def preprocess(root: Path, out: Path) -> int:
    """Preprocess the data set, which is a small part of the published one."""
    words = ["--root", root, "--layout", "sysu", "--out", out]
    return tiny.run("preprocess", *words, *tiny.PREPROCESS)


def test_records_are_the_images_of_the_identities(root: Path) -> None:
    """Train and val are for training, test for testing; cameras 3 and 6 are infrared; no others."""
    assert read_records(root) == [
        Record(1, "train", "visible", "cam1/0007/0001.jpg", 1, 7),
        Record(1, "train", "visible", "cam1/0007/0002.jpg", 1, 7),
        Record(1, "train", "visible", "cam5/0007/0001.jpg", 5, 7),
        Record(1, "train", "visible", "cam2/0012/0001.jpg", 2, 12),
        Record(1, "train", "infrared", "cam3/0007/0001.jpg", 3, 7),
        Record(1, "train", "infrared", "cam6/0012/0001.JPG", 6, 12),
        Record(1, "test", "visible", "cam4/0030/0001.jpg", 4, 30),
        Record(1, "test", "visible", "cam2/0031/0001.jpg", 2, 31),
        Record(1, "test", "infrared", "cam3/0030/0001.jpg", 3, 30),
        Record(1, "test", "infrared", "cam6/0030/0001.jpg", 6, 30),
        Record(1, "test", "infrared", "cam6/0031/0001.jpg", 6, 31),
    ]


@pytest.mark.parametrize("text", [b"7,444\r\n", b" 7 , 444 ,  \r\n\r\n", b"\xef\xbb\xbf444,7"])
def test_windows_line_ends_and_blanks_are_harmless(root: Path, text: bytes) -> None:
    """CRLF, blanks, a trailing comma and a byte order mark at the start have no effect."""
    (root / "exp/train_id.txt").write_bytes(text)
    trained = {record.identity for record in read_records(root) if record.split == "train"}
    assert trained == {7, 12, 444}


@pytest.mark.parametrize(
    ("word", "text", "complaint"),
    [
        ("train", "7,x", r"train_id\.txt, line 1: expected identities .* 'x'"),
        ("train", "\n7,,8", r"train_id\.txt, line 2: expected identities .* ''"),
        ("train", "7,\n7", r"train_id\.txt, line 2: .* 7 again, after .*train_id\.txt, line 1;"),
        ("val", "7", r"val_id\.txt, line 1: lists identity 7 again, after .*train_id\.txt, line 1"),
        ("val", "9" * 23, r"val_id\.txt, line 1: 9{23} is larger than 9223372036854775807"),
        ("test", "12,30", r"test_id\.txt, line 1: 1 .* in training and test: 12 \(.*val_id\.txt,"),
        ("test", "", r"test_id\.txt: does not list an identity"),
        ("test", "32", r"no visible image of the identities of .*test_id\.txt"),
    ],
)
def test_broken_split_files_are_named(root: Path, word: str, text: str, complaint: str) -> None:
    """Not an identity, repeated, without images, or for both training and testing: rejected."""
    (root / f"exp/{word}_id.txt").write_text(text)
    with pytest.raises(SalcrError, match=complaint):
        read_records(root)


def test_a_missing_split_file_is_named(root: Path) -> None:
    """Without val_id.txt, a quarter of the training images would be missing: this is rejected."""
    (root / "exp/val_id.txt").unlink()
    with pytest.raises(SalcrError, match=r"val_id\.txt: cannot be read .* restore it"):
        read_records(root)


def test_a_missing_folder_is_explained(root: Path, tmp_path: Path) -> None:
    """If the folder, its split files or a camera is missing, layout and source are explained."""
    with pytest.raises(SalcrError, match=r"no SYSU-MM01 at .*none(.|\n)*cam1 \.\. cam6(.|\n)*isee"):
        read_records(tmp_path / "none")
    (root / "cam4").rename(root / "four")
    with pytest.raises(SalcrError, match=r"lacks cam4\. Expected:(.|\n)*cam1 \.\. cam6"):
        read_records(root)


@pytest.mark.parametrize("name", ["cam7", "Cam1", "cam03"])
def test_a_wrong_camera_is_refused(root: Path, name: str) -> None:
    """A folder that resembles a camera but is not one would be silently left out: rejected."""
    (root / name).mkdir()
    with pytest.raises(SalcrError, match=f"{name} is not a camera of SYSU-MM01"):
        read_records(root)


def test_what_is_beside_the_images_is_left_alone(root: Path) -> None:
    """Videos of the second archive, other folders, and `._` files of macOS are not read."""
    before = read_records(root)
    for name in ("cam1_video_train/0007/0001.jpg", "camera/0007/0001.jpg", "cam1/0007/._0001.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    assert read_records(root) == before


@pytest.mark.parametrize("name", ["7", "00007"])
def test_a_folder_of_another_spelling_is_refused(root: Path, name: str) -> None:
    """The images of identity 7 in a folder that has not four digits would be left out."""
    (root / "cam2" / name).mkdir()
    complaint = f"cam2/{name}: the folder of this identity is 0007; rename it"
    with pytest.raises(SalcrError, match=complaint):
        read_records(root)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_an_unreadable_image_is_named_and_nothing_is_written(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    """An empty, foreign or truncated infrared image does not leave a visible array either."""
    path = root / "cam6/0030/0001.jpg"
    path.write_bytes(path.read_bytes()[:-300] if content is None else content)
    assert preprocess(root, tmp_path / "out") == 1
    text = capsys.readouterr().err
    assert f"{path}: cannot be decoded" in text and "damaged, or not one of" in text
    assert "Traceback" not in text
    assert not list((tmp_path / "out").iterdir())


def test_gray_images_get_three_equal_channels(root: Path, tmp_path: Path) -> None:
    """A grayscale jpg is stored like a color image with three equal channels; others keep color."""
    Image.new("L", (8, 16), 90).save(root / "cam3/0030/0001.jpg")
    assert preprocess(root, tmp_path / "out") == 0
    infrared = np.load(tmp_path / "out/infrared.npy")
    names = sorted(name for name in IMAGES if name[3] in "36" and "0444" not in name)
    assert infrared.shape == (len(names), 64, 32, 3)
    assert (infrared[names.index("cam3/0030/0001.jpg")] == 90).all()
    assert np.abs(infrared[names.index("cam3/0007/0001.jpg")][0, 0] - [200.0, 100, 50]).max() < 4


def test_synthetic_people_are_read(tmp_path: Path) -> None:
    """Half of the people are for testing, each with all images, from cameras of both modalities."""
    sizes = {"num_identities": 9, "images_per_identity": 4, "num_trials": 1, "seed": 5}
    synthesize(tmp_path / "d", layout="sysu", **sizes, height=48, width=32)
    records = read_records(tmp_path / "d")
    people: dict[tuple[str, str], list[int]] = {}
    for record in records:
        people.setdefault((record.split, record.modality), []).append(record.identity)
        assert record.file.startswith(f"cam{record.camera}/{record.identity:04d}/")
    assert {key: len(members) for key, members in people.items()} == {
        ("train", "visible"): 16, ("train", "infrared"): 16,
        ("test", "visible"): 20, ("test", "infrared"): 20,
    }  # fmt: skip
    assert sorted({record.identity for record in records}) == list(range(1, 10))
    assert (tmp_path / "d/exp/val_id.txt").read_text().strip()
