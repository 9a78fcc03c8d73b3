"""Pictures of one's own that cannot be used: one message, with file and line, before training."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from salcr.files import read_json
from tests.support import faults, own_pictures

Edit = Callable[[Path], object]
Output = pytest.CaptureFixture[str]


def refusal(root: Path, capsys: Output, *words: object) -> str:
    """Return the error of preprocess, which has written nothing."""
    capsys.readouterr()
    out = root.parent / "data"
    assert own_pictures.preprocess(root, out, *words) == 1
    assert not list(out.glob("*"))
    return faults.the_error(capsys.readouterr().err)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of four pictures, for training."""
    return own_pictures.small(tmp_path / "own")


FOLDERS: dict[str, tuple[Edit, str]] = {
    "nothing": (shutil.rmtree, "no folders visible/ and infrared/ at"),
    "one modality": (
        lambda root: shutil.rmtree(root / "infrared"),
        "has no folder infrared/; put pictures there",
    ),
    "an empty folder": (
        lambda root: (shutil.rmtree(root / "visible"), (root / "visible").mkdir()),
        "visible: has no picture; put files there whose names end in .bmp",
    ),
    "no picture": (
        lambda root: (shutil.rmtree(root / "visible/b"), (root / "visible/a.JPG").rename(
            root / "visible/a.txt")),
        "visible: has no picture",
    ),
    "a damaged picture": (
        lambda root: (root / "infrared/2.png").write_bytes(b"\x89PNG"),
        "infrared/2.png: cannot be decoded",
    ),
    "a link to a folder": (
        lambda root: (root / "visible/more").symlink_to(root / "visible/b"),
        "visible/more: is a link to a folder",
    ),
    "a link to nothing": (
        lambda root: (root / "visible/more.png").symlink_to(root / "gone.png"),
        "visible/more.png: cannot be read (No such file or directory); remove it",
    ),
    "a file in both modalities": (
        lambda root: (root / "infrared/1.png").symlink_to(root / "visible/b/1.png"),
        "infrared/1.png: is the same file as visible/b/1.png; remove one of the two",
    ),
    "a copy in both modalities": (
        lambda root: shutil.copy(root / "visible/b/1.png", root / "infrared/x.png"),
        "infrared/x.png: is a copy of visible/b/1.png; remove one of the two",
    ),
    "a copy in training and test": (
        lambda root: (own_pictures.add_test(root), shutil.copy(
            root / "infrared/2.png", root / "test/infrared/5.png")),
        "test/infrared/5.png: is a copy of infrared/2.png",
    ),
    "a folder that is a file": (
        lambda root: (shutil.rmtree(root / "visible"), (root / "visible").touch()),
        "has no folder visible/",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FOLDERS)
def test_folders(root: Path, capsys: Output, fault: str) -> None:
    """What is missing, not a picture or used twice is named."""
    edit, complaint = FOLDERS[fault]
    edit(root)
    assert complaint in refusal(root, capsys)


FILE, LAST = "test/visible/5.png", "test/infrared/7.png,7,2"
TWICE = "line 6: lists test/infrared/7.png again, after line 5"
# fault -> text of the csv that is replaced, by what, and the complaint
TEST: dict[str, tuple[str, str, str]] = {
    "unknown column": ("camera", "place", "line 1: its columns are file,identity,place; write "),
    "missing column": ("identity,camera", "identity", "line 1: its columns are file,identity; "),
    "column again": ("identity,camera", "camera,camera", "line 1: its columns are file,camera,"),
    "one value less": (LAST, "test/infrared/7.png,7", "line 5: has 2 values for the columns"),
    "one value more": (LAST, f"{LAST},1", "line 5: has 4 values"),
    "not a number": (LAST, "test/infrared/7.png,Ann,2", "line 5: identity is 'Ann'; write a whole"),
    "a negative number": (LAST, "test/infrared/7.png,7,-2", "line 5: camera is '-2'; write"),
    "a large number": (LAST, f"test/infrared/7.png,7,{'9' * 30}", "line 5: 9999"),
    "unknown file": (FILE, "test/visible/6.png", "line 2: test/visible/6.png is not a picture in"),
    "training file": (FILE, "visible/a.JPG", "line 2: visible/a.JPG is not a picture in test/"),
    "outside": (FILE, f"test/../{FILE}", "line 2: test/../test/visible/5.png is not a path within"),
    "backslashes": (FILE, "test\\visible\\5.png", "line 2: test\\visible\\5.png is not a path"),
    "a line again": (LAST, f"{LAST}\n{LAST}", TWICE),
    "the same spelled otherwise": (LAST, f"{LAST}\n./{LAST}", TWICE),
    "a picture without a line": (f"{LAST}\n", "", "test.csv: lacks 1 pictures of test/: test/i"),
    "one modality": (LAST, "test/infrared/7.png,5,2", "line 3: identity 7 has visible pictures"),
    "one person": ("7,1\ntest/infrared/5.png,5,2\ntest/infrared/7.png,7", "5,1\n"
        "test/infrared/5.png,5,2\ntest/infrared/7.png,5", "fewer than two people"),
    "one camera": (",2\n", ",1\n", "cannot be evaluated"),
    "an open quote": (LAST, '"test/infrared/7.png,7,2', "line 5: "),
}  # fmt: skip


@pytest.mark.parametrize("fault", TEST)
def test_the_csv_of_test_images(root: Path, capsys: Output, fault: str) -> None:
    """Each contradiction is refused with the line, or with the file that lacks one."""
    path = own_pictures.add_test(root)
    old, new, complaint = TEST[fault]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    error = refusal(root, capsys)
    assert complaint in error and (str(path) in error or "trial 1" in error)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "test.csv: is empty; write a line file,identity,camera"),
        (b"\n\n", "test.csv: is empty"),
        ("file,identity,camera\né".encode("latin-1"), "test.csv: is not UTF-8"),
        (b"file;identity;camera\n", "line 1: its columns are file;identity;camera; write"),
    ],
)
def test_a_file_that_is_not_such_a_csv(
    root: Path, capsys: Output, content: bytes, complaint: str
) -> None:
    """Empty, in another encoding, or with other separators."""
    own_pictures.add_test(root).write_bytes(content)
    assert complaint in refusal(root, capsys)


BOX = "visible/b/1.png,0,0,10,20"
# The lines after the names of the columns, and the complaint; pictures have 40 x 80 pixels.
BOXES: dict[str, tuple[str, str]] = {
    "too wide": ("visible/b/1.png,31,0,10,20", "line 2: "),
    "too high": (f"{BOX}\nvisible/b/1.png,0,61,10,20", "line 3: "),
    "no area": ("visible/b/1.png,0,0,10,0", "line 2: the box of visible/b/1.png has no area"),
    "a negative number": ("visible/b/1.png,-1,0,10,20", "line 2: x is '-1'; write a whole number"),
    "a fraction": ("visible/b/1.png,0,0.5,10,20", "line 2: y is '0.5'; write a whole number"),
    "a box again": (f"{BOX}\n{BOX}", "line 3: lists this box of visible/b/1.png again, a"),
    "unknown file": ("visible/1.png,0,0,1,1", "line 2: visible/1.png is not a picture in visible/"),
    "a test picture": ("test/visible/5.png,0,0,1,1", "line 2: test/visible/5.png is not a picture"),
    "no name": (",0,0,10,20", "line 2: . is not a picture"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BOXES)
def test_boxes(root: Path, capsys: Output, fault: str) -> None:
    """Each is refused with its line; one outside of the picture, with the size of the picture."""
    own_pictures.add_test(root)
    lines, complaint = BOXES[fault]
    (root / "boxes.csv").write_text(f"file,x,y,width,height\n{lines}\n")
    error = refusal(root, capsys)
    assert f"boxes.csv, {complaint}" in error
    if fault.startswith("too"):
        numbers = lines.rpartition("png,")[2]
        assert f"the box {numbers} leaves the picture, which is 40 wide and 80 high" in error


def test_boxes_of_unknown_columns(root: Path, capsys: Output) -> None:
    """Corners instead of sizes would be taken for them."""
    (root / "boxes.csv").write_text("file,left,top,right,bottom\nvisible/b/1.png,0,0,10,20\n")
    assert "line 1: its columns are file,left,top,right,bottom; write file,x," in refusal(
        root, capsys
    )


def test_a_few_damaged_pictures_are_left_out(root: Path, capsys: Output, tmp_path: Path) -> None:
    """Up to a share of the training pictures; they are listed, and all else is as without them."""
    (root / "visible/b/0.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    words = ("--preprocess-max-undecodable", "0.3")
    assert "1 of 3 visible training images cannot be decoded" in refusal(root, capsys, *words)
    words = ("--preprocess-max-undecodable", "0.34")
    assert own_pictures.preprocess(root, tmp_path / "some", *words) == 0
    text = capsys.readouterr().err
    assert "warning: 1 of 3 visible training images cannot be decoded and are left out: " in text
    (root / "visible/b/0.png").unlink()
    assert own_pictures.preprocess(root, tmp_path / "all") == 0
    for name in ("visible.npy", "infrared.npy", "manifest.csv", "identities.csv"):
        assert (tmp_path / "some" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()
    some, every = (read_json(tmp_path / name / "preprocess.json") for name in ("some", "all"))
    (reason,) = some.pop("undecodable").values()
    assert "visible/b/0.png: cannot be decoded" in reason
    assert some == every


@pytest.mark.parametrize("mode", ["refuse", "folder"])
def test_a_damaged_test_picture_is_refused(root: Path, capsys: Output, mode: str) -> None:
    """The csv names it, so the result would be another; also where 16 bits are measured before."""
    own_pictures.add_test(root)
    (root / "test/infrared/5.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    words = ("--preprocess-max-undecodable", "0.9", "--preprocess-thermal-range", mode)
    assert "test/infrared/5.png: cannot be decoded" in refusal(root, capsys, *words)


def test_a_modality_in_the_place_of_the_other_is_warned_of(
    root: Path, capsys: Output, tmp_path: Path
) -> None:
    """By the colors; an exchange is not refused, since a visible camera may be gray at night."""
    assert own_pictures.preprocess(root, tmp_path / "right") == 0
    assert "in the place of another" not in capsys.readouterr().err
    for old, new in (("visible", "x"), ("infrared", "visible"), ("x", "infrared")):
        (root / old).rename(root / new)
    assert own_pictures.preprocess(root, tmp_path / "wrong") == 0
    text = capsys.readouterr().err
    assert "2 of 2 visible images are gray, as infrared ones are" in text
    assert "2 of 2 infrared images are in color" in text


def test_very_different_numbers_are_warned_of(root: Path, capsys: Output, tmp_path: Path) -> None:
    """201 visible pictures for two infrared ones: almost all people lack a partner."""
    for number in range(199):
        own_pictures.copy(root, "visible/b/1.png", f"visible/c/{number}.png")
    assert own_pictures.preprocess(root, tmp_path / "data") == 0
    assert "there are 201 visible and 2 infrared training images" in capsys.readouterr().err
