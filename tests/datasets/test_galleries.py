"""Random galleries are those of the code of the field: Python's random module, seeded by draw."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from salcr.datasets.protocol import Annotations, Setting, sample_gallery
from salcr.datasets.readers import READERS
from salcr.datasets.synthetic.generate import synthesize

# Identity -> camera -> number of images; cameras 3 and 6 are infrared. A single image takes random
# numbers, too; from 21 to 22 images, random.sample changes its algorithm.
SYSU = {
    6: {1: 20, 2: 21, 3: 4, 4: 22, 5: 1},
    17: {1: 1, 3: 2, 5: 40, 6: 3},
    25: {2: 33, 4: 7, 6: 20},
    102: {4: 9, 5: 12, 3: 1},
    333: {1: 5, 2: 10, 4: 11, 5: 13, 3: 20, 6: 20},
}
CAMERAS = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
# First digits of the SHA-256 of the ten lists of files, one a line, from `walk`.
CHECKSUMS = {
    "all": [
        "26d4925ecef2", "f517c0d5db0a", "261d029ee1c3", "7892bad321e4", "4f2c3976d3fe",
        "10cc68ca5fac", "1b5d03c8ad0b", "729aaef8c7da", "c499bed07d33", "f7739038abb5",
    ],
    "indoor": [
        "23e272e2c731", "346ebe78b2c7", "1f5dddae42b5", "011ac040b4d0", "e531cc3a09e1",
        "c3e2a5b9b027", "2fe93f8aeab3", "7d94a0801083", "db4f93fe2795", "9ca179cf5803",
    ],
}  # fmt: skip
LLCM = {4: {1: 3, 2: 30, 9: 7}, 12: {5: 1, 8: 24}, 351: {1: 22, 3: 6, 6: 21}}


def walk(root: Path, identities: Iterable[int], cameras: Iterable[str], draw: int) -> list[str]:
    """Return the files of a gallery as published code draws them, from the folders themselves."""
    random.seed(draw)
    files = []
    for identity in sorted(f"{identity:04d}" for identity in identities):
        for camera in cameras:
            folder = root / camera / identity
            if folder.is_dir():
                names = sorted(str(path.relative_to(root)) for path in folder.iterdir())
                files.append(random.choice(names))
    return files


def drawn(layout: str, root: Path, setting: Setting, draw: int) -> list[str]:
    """Return the files of a gallery by the reader and the protocol."""
    records = [
        record
        for record in READERS[layout].read_records(root)
        if record.split == "test" and record.modality == setting.gallery
    ]
    images = Annotations(*np.array([(r.identity, r.camera) for r in records]).T)
    return [records[position].file for position in sample_gallery(setting, images, draw)]


def settings_of(layout: str) -> dict[str, Setting]:
    """Return the single-shot settings by name."""
    return {s.name: s for s in READERS[layout].settings if s.shots == 1}


def checksum(files: list[str]) -> str:
    """Return twelve digits that identify a list of files."""
    return hashlib.sha256("\n".join(files).encode()).hexdigest()[:12]


@pytest.fixture
def sysu(tmp_path: Path) -> Path:
    """Return a data set in the layout of SYSU-MM01 with empty files, in no particular order."""
    paths = [
        tmp_path / f"cam{camera}/{identity:04d}/{number:04d}.jpg"
        for identity, sizes in {**SYSU, 1: {1: 1, 3: 1}, 2: {1: 1, 3: 1}}.items()
        for camera, size in sizes.items()
        for number in range(1, size + 1)
    ]
    write(np.random.default_rng(0).permutation(paths))
    (tmp_path / "exp").mkdir()
    for word, text in (("train", "1"), ("val", "2"), ("test", "333,17,102,6,25")):
        (tmp_path / f"exp/{word}_id.txt").write_text(text)
    return tmp_path


def write(paths: Iterable[Path]) -> None:
    """Create empty files."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("name", CAMERAS)
def test_galleries_of_sysu_are_those_of_the_field(sysu: Path, name: str) -> None:
    """Ten galleries equal a walk over the folders, and the lists that Python's random gave once."""
    assert list(settings_of("sysu")) == list(CAMERAS)
    setting, folders = settings_of("sysu")[name], [f"cam{camera}" for camera in CAMERAS[name]]
    galleries = [drawn("sysu", sysu, setting, draw) for draw in range(10)]
    assert galleries == [walk(sysu, SYSU, folders, draw) for draw in range(10)]
    assert [checksum(gallery) for gallery in galleries] == CHECKSUMS[name]


def test_synthetic_people_have_the_galleries_of_the_field(tmp_path: Path) -> None:
    """Synthetic people in the layout of SYSU-MM01 are walked and drawn with the same result."""
    sizes = {"num_identities": 9, "images_per_identity": 6, "num_trials": 1, "seed": 5}
    synthesize(tmp_path, layout="sysu", **sizes, height=16, width=8)
    test = [int(word) for word in (tmp_path / "exp/test_id.txt").read_text().split(",")]
    for name, setting in settings_of("sysu").items():
        folders = [f"cam{camera}" for camera in CAMERAS[name]]
        for draw in range(10):
            assert drawn("sysu", tmp_path, setting, draw) == walk(tmp_path, test, folders, draw)


def test_drawing_leaves_the_global_generator_alone() -> None:
    """What others draw from Python's random module does not depend on the galleries."""
    images = Annotations(np.zeros(5, np.int64), np.ones(5, np.int64))
    random.seed(1)
    expected = random.random()
    random.seed(1)
    sample_gallery(settings_of("sysu")["all"], images, 3)
    assert random.random() == expected


@pytest.mark.parametrize(("modality", "word"), [("visible", "vis"), ("infrared", "nir")])
def test_galleries_of_llcm_are_those_of_the_field(tmp_path: Path, modality: str, word: str) -> None:
    """Whatever the order of the split files' lines, galleries equal a walk over the folders."""
    rng = np.random.default_rng(1)
    lines: dict[str, list[str]] = {"train_vis": [], "train_nir": [], "test_vis": [], "test_nir": []}
    for split, sizes in (("train", {1: {1: 1}}), ("test", LLCM)):
        for (label, (identity, cameras)), kind in [
            (one, kind) for one in enumerate(sizes.items()) for kind in ("vis", "nir")
        ]:
            for camera, size in cameras.items():
                frames = rng.choice(10000, size, replace=False)
                stems = [f"{identity:04d}_c{camera:02d}_s1_f{frame}_{kind}" for frame in frames]
                folder = f"{split}_{kind}/cam{camera}/{identity:04d}"
                lines[f"{split}_{kind}"] += [f"{folder}/{stem}.jpg {label}" for stem in stems]
    (tmp_path / "idx").mkdir()
    for name, listed in lines.items():
        (tmp_path / f"idx/{name}.txt").write_text("\n".join(rng.permutation(listed)))
        write(tmp_path / line.split()[0] for line in listed)
    folders = [f"test_{word}/cam{camera}" for camera in range(1, 10)]
    (setting,) = (s for s in settings_of("llcm").values() if s.gallery == modality)
    for draw in range(10):
        assert drawn("llcm", tmp_path, setting, draw) == walk(tmp_path, LLCM, folders, draw)
