"""Pictures of one's own: two folders without identities, made of the tiny synthetic people."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image

from salcr.datasets import regdb
from tests.support import tiny

NAMES = {"visible": "Türe 1/{:04d} a.bmp", "infrared": "nord/deep/{:04d},b.BMP"}


def from_regdb(raw: Path, root: Path) -> None:
    """Write the training images of trial 1 of a data set in RegDB's layout, in the same order."""
    numbers = dict.fromkeys(NAMES, 0)
    for record in regdb.read_records(raw):
        if (record.trial, record.split) == (1, "train"):
            name = NAMES[record.modality].format(numbers[record.modality])
            place(root, f"{record.modality}/{name}").write_bytes((raw / record.file).read_bytes())
            numbers[record.modality] += 1


def small(root: Path) -> Path:
    """Write four pictures of 40 x 80 for training, gray levels 10 to 40; return the folder."""
    for level, name in enumerate(("visible/b/1.png", "visible/a.JPG"), start=1):
        Image.new("RGB", (40, 80), (level * 10, level * 10, 200)).save(place(root, name))
    for level, name in enumerate(("infrared/é x.tif", "infrared/2.png"), start=3):
        Image.new("L", (40, 80), level * 10).save(place(root, name))
    return root


def add_test(root: Path) -> Path:
    """Add test images of identities 5 and 7, by cameras 1 and 2, and their csv; return the csv."""
    lines = ["file,identity,camera"]
    for modality, camera in (("visible", 1), ("infrared", 2)):
        for identity in (5, 7):
            name = f"test/{modality}/{identity}.png"
            Image.new("RGB", (40, 80), (identity, 0, camera)).save(place(root, name))
            lines.append(f"{name},{identity},{camera}")
    (root / "test.csv").write_text("\n".join(lines) + "\n")
    return root / "test.csv"


def place(root: Path, name: str) -> Path:
    """Return the path of a file whose folder exists."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    return root / name


def copy(root: Path, old: str, new: str) -> None:
    """Copy a picture."""
    shutil.copy(root / old, place(root, new))


def preprocess(root: Path, out: Path, *extra: object) -> int:
    """Preprocess a folder of pictures; return the exit status."""
    words = ["--root", root, "--layout", "folders", "--out", out]
    size = ["--preprocess-height", "64", "--preprocess-width", "32"]
    return tiny.run("preprocess", *words, *size, *extra)
