"""Folder layouts of synthetic people: the names, cameras and split files of real data sets.

The names of the images differ from the real ones, so that a folder of synthetic people is never
taken for a real data set. What `synthesize` may replace also holds one of its marks.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from salcr.datasets import llcm, sysu
from salcr.datasets.records import UNPAIRED
from salcr.datasets.synthetic.population import People
from salcr.types import MODALITIES

_SEED_OF_CAMERAS = 3  # others: generate.py and population.py
MARK, MARKER = "synthetic_people.txt", "synthesize.json"
"""In a synthetic data set and in no other: the folder may be replaced if it holds one of them.

The first comes with the images. The second, with the seed and the sizes, is written last; Snakemake
deletes it before it runs the stage again.
"""
_REGDB_WORDS = {"visible": "visible", "infrared": "thermal"}
# Camera 3 has no infrared test image (https://github.com/ZYK100/LLCM/issues/12).
_LLCM_CAMERAS = {"visible": tuple(range(1, 10)), "infrared": (1, 2, 4, 5, 6, 7, 8, 9)}


class SyntheticLayout(Protocol):
    """A folder layout for synthetic people. Identities and images count from 0."""

    own_files: re.Pattern[str]
    """Matches the paths, relative to the data set's folder, of the files of a synthetic set."""
    enlarged: frozenset[int]
    """Cameras whose images have twice the height and width."""

    def camera(self, people: People, modality: str, identity: int, index: int) -> int | None:
        """Return the camera that took an image; None if there is only one per modality."""

    def image_name(self, people: People, modality: str, identity: int, index: int) -> str:
        """Return the path of an image, relative to the data set's folder."""

    def write_splits(self, root: Path, people: People) -> None:
        """Write the split files, and what else belongs to the layout."""


class SyntheticRegdb:
    """RegDB: one camera per modality; every trial has its own random halves of its identities."""

    own_files = re.compile(r"(Visible|Thermal)/\d+/(visible|thermal)_\d{5}\.bmp|idx/\w+\.txt")
    enlarged: frozenset[int] = frozenset()

    def camera(self, people: People, modality: str, identity: int, index: int) -> int | None:
        """Return None."""
        return None

    def image_name(self, people: People, modality: str, identity: int, index: int) -> str:
        """Return the path of an image."""
        word = _REGDB_WORDS[modality]
        return f"{word.capitalize()}/{identity + 1}/{word}_{index + 1:05d}.bmp"

    def write_splits(self, root: Path, people: People) -> None:
        """Write idx/{train,test}_{visible,thermal}_<trial>.txt."""
        for trial in range(1, people.num_trials + 1):
            for split, identities in people.halves(trial).items():
                for modality, word in _REGDB_WORDS.items():
                    path = root / "idx" / f"{split}_{word}_{trial}.txt"
                    unseen = people.unseen(trial)[modality]
                    _write_index(path, self, people, modality, identities, unseen)
        if people.unpaired:
            (root / UNPAIRED).write_text("training people may lack a modality\n", encoding="utf-8")


class SyntheticSysu:
    """SYSU-MM01: six cameras, one trial; a few of the training identities are in val_id.txt."""

    own_files = re.compile(r"cam[1-6]/\d{4}/drawn_\d{5}\.jpg|exp/\w+\.txt")
    enlarged: frozenset[int] = frozenset()

    def camera(self, people: People, modality: str, identity: int, index: int) -> int | None:
        """Return one of the two to four visible or one or two infrared cameras of a person."""
        least = {"visible": 2, "infrared": 1}[modality]
        return _camera(people, sysu.CAMERAS[modality], least, modality, identity, index)

    def image_name(self, people: People, modality: str, identity: int, index: int) -> str:
        """Return the path of an image."""
        camera = self.camera(people, modality, identity, index)
        return f"cam{camera}/{identity + 1:04d}/drawn_{index + 1:05d}.jpg"

    def write_splits(self, root: Path, people: People) -> None:
        """Write exp/{train,val,test}_id.txt, and the folders of cameras without images."""
        for cameras in sysu.CAMERAS.values():
            for camera in cameras:
                (root / f"cam{camera}").mkdir(exist_ok=True)
        halves = people.halves(1)
        num_val = max(1, len(halves["train"]) // 4)
        groups = {
            "train": halves["train"][num_val:],
            "val": halves["train"][:num_val],
            "test": halves["test"],
        }
        (root / "exp").mkdir(exist_ok=True)
        for word, identities in groups.items():
            numbers = ",".join(str(identity + 1) for identity in sorted(identities))
            (root / "exp" / f"{word}_id.txt").write_text(numbers + "\n", encoding="utf-8")


class SyntheticLlcm:
    """LLCM: nine cameras, one trial; images are in the folders from which public code reads."""

    own_files = re.compile(
        r"((vis|nir)|test_(vis|nir)/cam\d)/\d{4}/\d{4}_c\d\d_s000000_f\d{5}_drawn_(vis|nir)\.jpg"
        r"|idx/\w+\.txt"
    )
    enlarged: frozenset[int] = frozenset()

    def camera(self, people: People, modality: str, identity: int, index: int) -> int | None:
        """Return one of the two to four cameras of a person."""
        return _camera(people, _LLCM_CAMERAS[modality], 2, modality, identity, index)

    def image_name(self, people: People, modality: str, identity: int, index: int) -> str:
        """Return the path of an image."""
        camera, word = self.camera(people, modality, identity, index), llcm.WORDS[modality]
        is_test = identity in people.halves(1)["test"]
        folder = f"test_{word}/cam{camera}" if is_test else word
        person = f"{identity + 1:04d}"
        return f"{folder}/{person}/{person}_c{camera:02d}_s000000_f{index + 1:05d}_drawn_{word}.jpg"

    def write_splits(self, root: Path, people: People) -> None:
        """Write idx/{train,test}_{vis,nir}.txt."""
        for split, identities in people.halves(1).items():
            for modality, word in llcm.WORDS.items():
                path = root / "idx" / f"{split}_{word}.txt"
                unseen = people.unseen(1)[modality]
                _write_index(path, self, people, modality, sorted(identities), unseen)


class SyntheticFolders:
    """Pictures of one's own: names that say nothing, two cameras a modality, of two sizes."""

    own_files = re.compile(
        r"(test/)?(visible|infrared)/[\w ()]+/synthetic [0-9a-f]{12}\.(jpg|JPG|png|bmp)|test\.csv"
    )
    enlarged = frozenset({2, 4})
    _CAMERAS: ClassVar = {1: ("Tür (1)", "jpg"), 2: ("yard", "JPG"), 3: ("north", "png"),
                          4: ("south side", "bmp")}  # fmt: skip

    def camera(self, people: People, modality: str, identity: int, index: int) -> int | None:
        """Return one of the one or two cameras of a modality that see a person."""
        cameras = (1, 2) if modality == "visible" else (3, 4)
        return _camera(people, cameras, 1, modality, identity, index)

    def image_name(self, people: People, modality: str, identity: int, index: int) -> str:
        """Return the path of an image, which does not tell who it shows."""
        folder, suffix = self._CAMERAS[self.camera(people, modality, identity, index) or 1]
        image = f"{people.seed} {modality} {identity} {index}"
        word = hashlib.sha256(image.encode()).hexdigest()[:12]
        split = "test/" if identity in people.halves(1)["test"] else ""
        return f"{split}{modality}/{folder}/synthetic {word}.{suffix}"

    def write_splits(self, root: Path, people: People) -> None:
        """Write test.csv."""
        lines = ["file,identity,camera\n"]
        for identity in sorted(people.halves(1)["test"]):
            for modality in MODALITIES:
                for index in range(people.images_per_identity):
                    of_image = (people, modality, identity, index)
                    lines.append(
                        f"{self.image_name(*of_image)},{identity},{self.camera(*of_image)}\n"
                    )
        (root / "test.csv").write_text("".join(lines), encoding="utf-8")


LAYOUTS: dict[str, SyntheticLayout] = {
    "regdb": SyntheticRegdb(),
    "sysu": SyntheticSysu(),
    "llcm": SyntheticLlcm(),
    "folders": SyntheticFolders(),
}


def _camera(
    people: People,
    cameras: tuple[int, ...],
    least: int,
    modality: str,
    identity: int,
    index: int,
) -> int:
    """Return the camera of an image: the cameras that see a person take turns.

    Each person is seen by `least` to four of the cameras, chosen at random.
    """
    side = MODALITIES.index(modality)
    rng = np.random.default_rng([people.seed, _SEED_OF_CAMERAS, identity, side])
    number = rng.integers(least, min(4, len(cameras)), endpoint=True)
    own_cameras = sorted(rng.choice(cameras, size=number, replace=False).tolist())
    return int(own_cameras[index % len(own_cameras)])


def _write_index(
    path: Path,
    layout: SyntheticLayout,
    people: People,
    modality: str,
    identities: list[int],
    unseen: set[int],
) -> None:
    """Write the lines `path label` of one modality, labels from 0 in the order of identities.

    Those in `unseen` keep their labels, but their images are not listed.
    """
    path.parent.mkdir(exist_ok=True)
    lines = [
        f"{layout.image_name(people, modality, identity, index)} {label}\n"
        for label, identity in enumerate(identities)
        if identity not in unseen
        for index in range(people.images_per_identity)
    ]
    path.write_text("".join(lines), encoding="utf-8")
