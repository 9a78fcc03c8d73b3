"""SYSU-MM01 (Wu et al., ICCV 2017) in its own layout.

cam1 .. cam6/<identity, 4 digits>/*.jpg      cameras 1, 2, 4, 5 visible; 3, 6 infrared
exp/{train,val,test}_id.txt                  identities, separated by commas

As usual, the identities of val_id.txt are used for training as well. There is one trial. Other
folders, such as cam1_video_train of the second archive, and hidden files are left alone.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salcr.datasets.checks import check_people, name_place, parse_number, read_lines
from salcr.datasets.protocol import Annotations, Setting
from salcr.datasets.records import Record
from salcr.errors import SalcrError

CAMERAS = {"visible": (1, 2, 4, 5), "infrared": (3, 6)}
SPLITS = {"train": ("train", "val"), "test": ("test",)}

SPLIT_FILES = "exp/*.txt"
_CAMERA = re.compile(r"cam\d+", re.IGNORECASE)


def _same_place(query: Annotations, gallery: Annotations) -> NDArray[np.bool_]:
    """Return the pairs of query camera 3 and gallery camera 2, [Q, G]: both are in one place."""
    return (query.camera[:, None] == 3) & (gallery.camera == 2)


# Infrared images are the queries; the gallery has one or ten random visible images of each
# identity and camera.
SETTINGS = tuple(
    Setting(
        name,
        query="infrared",
        gallery="visible",
        cameras=cameras,
        shots=shots,
        draws=10,
        identity_once=True,
        excludes=_same_place,
    )
    for name, cameras, shots in (
        ("all", (1, 2, 4, 5), 1),
        ("indoor", (1, 2), 1),
        ("all multi-shot", (1, 2, 4, 5), 10),
        ("indoor multi-shot", (1, 2), 10),
    )
)

LAYOUT = """\
  cam1 .. cam6/<identity as 4 digits>/*.jpg
  exp/{train,val,test}_id.txt     with identities, separated by commas
Its authors at Sun Yat-sen University provide it on request:
https://www.isee-ai.cn/project/RGBIRReID.html
To try the workflow without it, in a clone of the repository: make demo"""


def read_records(root: Path) -> list[Record]:
    """Return the images of the trial, in the order of split, modality, identity, camera, name.

    Raises:
        SalcrError: the folder is missing or not laid out like SYSU-MM01, a split file is invalid,
            the folder of an identity has another name, or an identity is in training and test.
    """
    if not (root / "exp").is_dir():
        raise SalcrError(missing(root))
    _check_cameras(root)
    places = {split: _read_split(root, split) for split in SPLITS}
    check_people(places["train"], places["test"])
    identities = {split: sorted(listed) for split, listed in places.items()}
    _check_folders(root, {_folder(one) for numbers in identities.values() for one in numbers})
    records = []
    for split, numbers in identities.items():
        for modality in CAMERAS:
            images = [r for number in numbers for r in _images(root, split, modality, number)]
            if not images:
                raise SalcrError(
                    f"{root.absolute()}: no {modality} image of the identities of "
                    f"{_split_file(root, split)}; copy the cam folders there"
                )
            records += images
    return records


def missing(root: Path) -> str:
    """Return the error message that describes what is expected at `root` and where to get it."""
    return f"no SYSU-MM01 at {root.absolute()}. Expected there:\n{LAYOUT}"


def _split_file(root: Path, word: str) -> Path:
    return root / "exp" / f"{word}_id.txt"


def _check_cameras(root: Path) -> None:
    """Refuse a folder that lacks a camera or has one that SYSU-MM01 does not have."""
    wanted = {f"cam{number}" for numbers in CAMERAS.values() for number in numbers}
    folders = [path.name for path in root.iterdir() if path.is_dir()]
    cameras = {name for name in folders if _CAMERA.fullmatch(name)}
    if lacking := sorted(wanted - cameras):
        raise SalcrError(f"{root.absolute()}: lacks {', '.join(lacking)}. Expected:\n{LAYOUT}")
    if unknown := sorted(cameras - wanted):
        raise SalcrError(
            f"{root.absolute()}: {', '.join(unknown)} is not a camera of SYSU-MM01, which has "
            "cam1 to cam6; move it elsewhere"
        )


def _folder(identity: int) -> str:
    return f"{identity:04d}"


def _check_folders(root: Path, wanted: set[str]) -> None:
    """Refuse a folder of a listed identity that has not four digits: it would be left out."""
    for cameras in CAMERAS.values():
        for camera in cameras:
            for path in sorted((root / f"cam{camera}").iterdir()):
                name = path.name.lstrip("0").zfill(4)
                if name in wanted and path.name != name and path.is_dir():
                    raise SalcrError(
                        f"{path}: the folder of this identity is {name}; rename it, or move it "
                        "elsewhere"
                    )


def _read_split(root: Path, split: str) -> dict[int, str]:
    """Return identity -> the line that lists it, in words, of a split."""
    seen: dict[int, str] = {}
    for word in SPLITS[split]:
        path = _split_file(root, word)
        identities = _read_identities(path)
        if not identities:
            raise SalcrError(f"{path}: does not list an identity; restore it")
        for number, identity in identities:
            place = name_place(path, number)
            if identity in seen:
                raise SalcrError(
                    f"{place}: lists identity {identity} again, after {seen[identity]}; keep it "
                    "once"
                )
            seen[identity] = place
    return seen


def _read_identities(path: Path) -> list[tuple[int, int]]:
    """Return the identities of a file, each with the number of its line."""
    identities = []
    for number, line in read_lines(path):
        place = name_place(path, number)
        # A comma may end a line.
        for word in line.rstrip(",").split(","):
            if not word.strip().isdecimal():
                raise SalcrError(f"{place}: expected identities separated by commas, not {word!r}")
            identities.append((number, parse_number(word.strip(), place)))
    return identities


def _images(root: Path, split: str, modality: str, identity: int) -> list[Record]:
    """Return the images of an identity; not every camera saw every person."""
    return [
        Record(1, split, modality, path.relative_to(root).as_posix(), camera, identity)
        for camera in CAMERAS[modality]
        for path in sorted((root / f"cam{camera}" / _folder(identity)).glob("*.[jJ][pP][gG]"))
        if not path.name.startswith(".")
    ]
