"""LLCM (Zhang and Wang, CVPR 2023) in its own layout.

idx/{train,test}_{vis,nir}.txt      lines `path label`, paths relative to the data set's folder
<path>: .../<identity>_c<camera>_s<scene>_f<frame>_{vis,nir}.jpg

The split files give the paths of the images. No folder is assumed, because public code, including
the authors' own, reads vis/<identity>/*.jpg and nir/<identity>/*.jpg as well as
test_vis/cam<camera>/<identity>/*.jpg. The name of an image contains identity and camera:
0351_c06_s200656_f4830_nir.jpg is identity 351 seen by camera 6 of 9; a folder cam<camera> on its
path must agree, as must that of a person, <identity>. Labels count from 0 in each split, so the
identity is taken from the name, and the labels are only checked against it. The label of a training
image may be -1: its person is unknown, whatever number its name has. There is one trial.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from salcr.datasets.checks import (
    IndexLine,
    check_images,
    check_labels,
    check_modality,
    check_people,
    check_splits,
    first_places,
    parse_number,
    read_index,
)
from salcr.datasets.protocol import Annotations, Setting
from salcr.datasets.records import UNKNOWN, Record
from salcr.errors import SalcrError

WORDS = {"visible": "vis", "infrared": "nir"}
NUM_CAMERAS = 9
_NAME = re.compile(r"(\d+)_c(\d+)_.*")
_CAMERA_FOLDER = re.compile(r"cam(\d+)")

SPLITS = ("train", "test")
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
            that it lists are missing, labels contradict the names of the images, or an identity is
            in training and test.
    """
    if not (root / "idx").is_dir():
        raise SalcrError(missing(root))
    lines = {
        (split, modality): _read_lines(root, split, modality)
        for split in SPLITS
        for modality in WORDS
    }
    records = [
        Record(1, *key, line.file, camera, UNKNOWN if line.label == UNKNOWN else identity)
        for key, listed in lines.items()
        for line in listed
        for identity, camera in [_parse(line)]
    ]

    def split_file(record: Record) -> Path:
        return _index_file(root, record.split, record.modality)

    check_splits(records, split_file)
    both = {split: [one for m in WORDS for one in lines[split, m]] for split in SPLITS}
    check_people(*(first_places(both[split], _person) for split in SPLITS))
    for split in SPLITS:
        check_labels(both[split], _person)
    check_images(root, records, split_file)
    # The random galleries depend on this order, in which public code lists the images.
    return sorted(records, key=_order)


def missing(root: Path) -> str:
    """Return the error message that describes what is expected at `root` and where to get it."""
    return f"no LLCM at {root.absolute()}. Expected there:\n{LAYOUT}"


def _index_file(root: Path, split: str, modality: str) -> Path:
    return root / "idx" / f"{split}_{WORDS[modality]}.txt"


def _read_lines(root: Path, split: str, modality: str) -> list[IndexLine]:
    lines = read_index(_index_file(root, split, modality), split)
    check_modality(lines, modality, WORDS, _last_words)
    return lines


def _last_words(file: str) -> list[str]:
    """Return the last word of each folder and of the name, such as "vis" of test_vis."""
    return [part.rpartition("_")[2] for part in PurePosixPath(file).with_suffix("").parts]


def _order(record: Record) -> tuple[bool, bool, int, int, str]:
    name = PurePosixPath(record.file).name
    is_test, is_infrared = record.split == "test", record.modality == "infrared"
    return is_test, is_infrared, record.identity, record.camera, name


def _person(file: str) -> str:
    """Return the identity in the name of an image, without leading zeros."""
    return PurePosixPath(file).name.partition("_")[0].lstrip("0") or "0"


def _parse(line: IndexLine) -> tuple[int, int]:
    """Return the identity and the camera in the name of an image."""
    file = PurePosixPath(line.file)
    parsed = _NAME.fullmatch(file.name)
    if parsed is None:
        raise SalcrError(
            f"{line.place}: {line.file} has no name like "
            "<identity>_c<camera>_s<scene>_f<frame>_vis.jpg, which contains the camera"
        )
    identity, camera = (parse_number(digits, line.place) for digits in parsed.groups())
    if not 1 <= camera <= NUM_CAMERAS:
        raise SalcrError(
            f"{line.place}: {line.file} is of camera {camera}, but LLCM has cameras 1 to "
            f"{NUM_CAMERAS}; restore the name of the image"
        )
    folders = [
        ("camera", camera, match[1])
        for part in file.parts
        if (match := _CAMERA_FOLDER.fullmatch(part))
    ]
    if file.parent.name.isdecimal():
        folders.append(("person", identity, file.parent.name))
    for what, number, digits in folders:
        if number != parse_number(digits, line.place):
            raise SalcrError(
                f"{line.place}: {line.file} is of {what} {number} by its name and of another by "
                "its folder; restore the image's name or folder"
            )
    return identity, camera
