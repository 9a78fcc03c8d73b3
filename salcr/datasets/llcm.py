"""LLCM (Zhang and Wang, CVPR 2023) in its own layout.

idx/{train,test}_{vis,nir}.txt      lines `path label`, paths relative to the data set's folder
<path>: .../<identity>_c<camera>_s<scene>_f<frame>_{vis,nir}.jpg

The split files give the paths of the images. No folder is assumed, because public code, including
the authors' own, reads vis/<identity>/*.jpg and nir/<identity>/*.jpg as well as
test_vis/cam<camera>/<identity>/*.jpg. The name of an image contains identity and camera:
0351_c06_s200656_f4830_nir.jpg is identity 351 seen by camera 6 of 9; a folder cam<camera> on its
path must agree. Labels count from 0 in each split, so the identity is taken from the name, and the
labels are only checked against it. There is one trial.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from salcr.datasets.checks import (
    IndexLine,
    check_images,
    check_people,
    check_splits,
    read_index,
)
from salcr.datasets.protocol import Annotations, Setting
from salcr.datasets.records import Record
from salcr.errors import SalcrError

WORDS = {"visible": "vis", "infrared": "nir"}
NUM_CAMERAS = 9
_NAME = re.compile(r"(\d+)_c(\d+)_.*")
_CAMERA_FOLDER = re.compile(r"cam(\d+)")

SPLIT_FILES = "idx/*.txt"


def _same_person_and_camera(query: Annotations, gallery: Annotations) -> NDArray[np.bool_]:
    """Return which gallery images, [Q, G], show the query's identity and are from its camera."""
    same_camera = query.camera[:, None] == gallery.camera
    return same_camera & (query.identity[:, None] == gallery.identity)


# The gallery has one random image of each identity and camera.
SETTINGS = tuple(
    Setting(
        f"{query}-to-{gallery}",
        query=query,
        gallery=gallery,
        shots=1,
        draws=10,
        identity_once=True,
        excludes=_same_person_and_camera,
    )
    for query, gallery in (("visible", "infrared"), ("infrared", "visible"))
)

LAYOUT = """\
  idx/{train,test}_{vis,nir}.txt   with lines `path label`
  the images at these paths, named <identity>_c<camera>_s<scene>_f<frame>_{vis,nir}.jpg
Its authors at Xiamen University provide it for a signed agreement:
https://github.com/ZYK100/LLCM
To try the workflow without it, in a clone of the repository: make demo"""


def read_records(root: Path) -> list[Record]:
    """Return the images of the trial, in the order of split, modality, identity, camera, name.

    Raises:
        SalcrError: the folder is missing or not laid out like LLCM, a split file is invalid, images
            that it lists are missing, or an identity is in training and test.
    """
    if not (root / "idx").is_dir():
        raise SalcrError(missing(root))
    records = [record for split in ("train", "test") for record in _read_split(root, split)]

    def split_file(record: Record) -> Path:
        return _index_file(root, record.split, record.modality)

    check_images(root, records, split_file)
    check_splits(records, split_file)
    people = {
        split: {record.identity for record in records if record.split == split}
        for split in ("train", "test")
    }
    check_people(_index_file(root, "test", "visible"), people["train"], people["test"])
    return records


def missing(root: Path) -> str:
    """Return the error message that describes what is expected at `root` and where to get it."""
    return f"no LLCM at {root.absolute()}. Expected there:\n{LAYOUT}"


def _index_file(root: Path, split: str, modality: str) -> Path:
    return root / "idx" / f"{split}_{WORDS[modality]}.txt"


def _read_split(root: Path, split: str) -> list[Record]:
    """Return the images of a split; a label must be one identity in both modalities."""
    records = []
    identities: dict[int, int] = {}
    labels: dict[int, int] = {}
    for modality in WORDS:
        path = _index_file(root, split, modality)
        for line in read_index(path):
            identity, camera = _parse(path, line)
            if (
                identities.setdefault(line.label, identity) != identity
                or labels.setdefault(identity, line.label) != line.label
            ):
                raise SalcrError(
                    f"{path}, line {line.number}: {line.file} has label {line.label}, which is not "
                    f"one to one with identities in the {split} split; restore the file"
                )
            records.append(Record(1, split, modality, line.file, camera, identity))
    # The random galleries depend on this order, in which public code lists the images.
    return sorted(records, key=_order)


def _order(record: Record) -> tuple[bool, int, int, str]:
    name = PurePosixPath(record.file).name
    return record.modality == "infrared", record.identity, record.camera, name


def _parse(path: Path, line: IndexLine) -> tuple[int, int]:
    """Return the identity and the camera of an image."""
    file = PurePosixPath(line.file)
    parsed = _NAME.fullmatch(file.name)
    if parsed is None:
        raise SalcrError(
            f"{path}, line {line.number}: {line.file} has no name like "
            "<identity>_c<camera>_s<scene>_f<frame>_vis.jpg, which contains the camera"
        )
    camera = int(parsed[2])
    if not 1 <= camera <= NUM_CAMERAS:
        raise SalcrError(
            f"{path}, line {line.number}: {line.file} is of camera {camera}, but LLCM has "
            f"cameras 1 to {NUM_CAMERAS}; restore the name of the image"
        )
    folders = [int(match[1]) for part in file.parts if (match := _CAMERA_FOLDER.fullmatch(part))]
    if any(folder != camera for folder in folders):
        raise SalcrError(
            f"{path}, line {line.number}: {line.file} is of camera {camera} by its name and of "
            "another by its folder; restore the image's name or folder"
        )
    return int(parsed[1]), camera
