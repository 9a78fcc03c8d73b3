"""Pictures of one's own, without identities: what is read, in which order, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from salcr.datasets import folders
from salcr.datasets.records import Record
from salcr.errors import SalcrError
from salcr.files import read_json
from tests.support import own_pictures


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of four pictures."""
    return own_pictures.small(tmp_path / "own")


def test_every_picture_is_an_image_without_identity(root: Path) -> None:
    """Any depth, any name, in the order of the paths, whatever was written first; others are not.

    Hidden files and those with the name of something else are left out.
    """
    for name in ("visible/.a.png", "visible/notes.txt", "infrared/.hidden/a.png"):
        own_pictures.copy(root, "visible/b/1.png", name)
    assert folders.read_records(root) == [
        Record(1, "train", "visible", "visible/a.JPG", -1, -1),
        Record(1, "train", "visible", "visible/b/1.png", -1, -1),
        Record(1, "train", "infrared", "infrared/2.png", -1, -1),
        Record(1, "train", "infrared", "infrared/é x.tif", -1, -1),
    ]


def test_the_stored_images_are_the_pictures(root: Path, tmp_path: Path) -> None:
    """Pixels by row, all identities unknown, no camera, and a summary that counts them."""
    assert own_pictures.preprocess(root, tmp_path / "data") == 0
    manifest = pd.read_csv(tmp_path / "data/manifest.csv")
    for modality, levels in (("visible", [20, 10]), ("infrared", [40, 30])):
        rows = manifest.loc[manifest["modality"] == modality, "row"]
        stored = np.load(tmp_path / f"data/{modality}.npy")[rows]
        assert np.abs(stored[..., 0].reshape(2, -1).astype(int).T - levels).max() <= 2  # JPEG
    identities = pd.read_csv(tmp_path / "data/identities.csv")
    assert (identities["identity"] == -1).all() and (manifest["camera"] == -1).all()
    assert set(manifest["split"]) == {"train"}
    summary = read_json(tmp_path / "data/preprocess.json")
    assert summary["unlabeled"] == {"visible": 2, "infrared": 2}
    assert summary["layout"] == "folders" and summary["published"] is False


def test_test_images_have_the_identities_of_the_csv(root: Path) -> None:
    """After the training images; the columns may have any order, names may have blanks."""
    path = own_pictures.add_test(root)
    own_pictures.copy(root, "test/visible/5.png", "test/visible/x, y/6 .png")
    lines = ['camera,file,identity\n4,"test/visible/x, y/6 .png",5\n\n']
    for line in path.read_text().splitlines()[1:]:
        file, identity, camera = line.split(",")
        lines.append(f"{camera},{file},{identity}\n")
    path.write_text("\ufeff" + "".join(lines), encoding="utf-8")
    assert [record[1:6] for record in folders.read_records(root)[4:]] == [
        ("test", "visible", "test/visible/5.png", 1, 5),
        ("test", "visible", "test/visible/7.png", 1, 7),
        ("test", "visible", "test/visible/x, y/6 .png", 4, 5),
        ("test", "infrared", "test/infrared/5.png", 2, 5),
        ("test", "infrared", "test/infrared/7.png", 2, 7),
    ]


def test_whether_there_is_a_test_does_not_depend_on_its_being_complete(root: Path) -> None:
    """A csv or a folder is enough: what lacks the other is refused, not left out."""
    assert not folders.has_test(root)
    path = own_pictures.add_test(root)
    assert folders.has_test(root)
    path.unlink()
    assert folders.has_test(root)
    with pytest.raises(SalcrError, match=r"has a folder test/, but not test\.csv"):
        folders.read_records(root)


@pytest.mark.parametrize(
    ("name", "content"),
    [("visible/c.png", b"new"), ("visible/a.JPG", b"longer" * 999), ("boxes.csv", b"file")],
)
def test_the_digest_says_whether_pictures_were_added_or_changed(
    root: Path, name: str, content: bytes
) -> None:
    """A new picture, another size, or a csv gives another digest; a hidden file does not."""
    before = folders.digest(root)
    (root / "visible/.DS_Store").touch()
    assert folders.digest(root) == before
    (root / name).write_bytes(content)
    assert folders.digest(root) != before


def test_each_box_is_an_image(root: Path, tmp_path: Path) -> None:
    """Boxes are cut out of the picture, in the order of their numbers; others are left out.

    In the other modality, of which no picture is listed, all of each picture counts.
    """
    ramp = np.tile(np.arange(40, dtype=np.uint8), (80, 1))
    Image.fromarray(ramp).save(root / "visible/ramp.png")
    boxes = [(20, 0, 8, 16), (3, 5, 8, 16)]
    lines = [f"visible/ramp.png,{','.join(map(str, box))}\n" for box in boxes]
    (root / "boxes.csv").write_text("file,x,y,width,height\n" + "".join(lines))
    assert own_pictures.preprocess(root, tmp_path / "data") == 0
    manifest = pd.read_csv(tmp_path / "data/manifest.csv")
    visible = manifest[manifest["modality"] == "visible"]
    assert visible["file"].tolist() == [
        "visible/ramp.png#xywh=3,5,8,16", "visible/ramp.png#xywh=20,0,8,16",
    ]  # fmt: skip
    assert (manifest["modality"] == "infrared").sum() == 2
    stored = np.load(tmp_path / "data/visible.npy")[visible["row"]]
    for image, left in zip(stored, (3, 20), strict=True):
        cut = Image.fromarray(ramp[:16, left : left + 8]).resize(
            (32, 64), Image.Resampling.BILINEAR
        )
        assert (image == np.asarray(cut)[..., None]).all()
