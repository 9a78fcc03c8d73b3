"""Pictures of one's own: a folder for each modality, and no identities.

visible/    infrared/       training images: folders of any depth, any names and sizes
test/visible/    test/infrared/     test images, if there are any
test.csv                    their identities: columns file, identity, camera
boxes.csv                   parts of training images: columns file, x, y, width, height, and track
                            if wanted
tracks.csv                  training images of one person in one camera: columns file, track

Files are named relative to the data set's folder. A picture that boxes.csv lists gives an image for
each of its lines. In a folder of which it lists any picture, those that it does not list are left
out: they show no person.

Images have the order of split, modality, path (by code points), and box. There is one trial.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salcr import files
from salcr.data.pictures import SUFFIXES, list_files
from salcr.datasets.checks import abbreviate
from salcr.datasets.crops import (
    BOXES,
    TRACKS,
    read_boxes,
    read_tracks,
    require_picture,
    with_boxes,
    with_tracks,
)
from salcr.datasets.csv_lists import parse_whole, read_csv_text, read_lines, refuse_again
from salcr.datasets.protocol import Annotations, Setting
from salcr.datasets.records import UNKNOWN, Record
from salcr.errors import SalcrError
from salcr.log import escape_name, warn
from salcr.types import MODALITIES

SPLIT_FILES = "visible"  # no file lists the images: `digest` says which there are
TEST = "test.csv"
_TEST_FOLDER = "test"
_MOST_OFTEN = 100  # as many images of one modality as of the other: more are warned of
_TEST_COLUMNS = ("file", "identity", "camera")
_PICTURES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


def _same_person_and_camera(query: Annotations, gallery: Annotations) -> NDArray[np.bool_]:
    """Return which gallery images, [Q, G], show the query's identity and are from its camera."""
    same_camera = query.camera[:, None] == gallery.camera
    return same_camera & (query.identity[:, None] == gallery.identity)


# All test images of one modality are queries, all of the other the gallery. As in other data sets
# of several cameras, the query's own camera does not count.
SETTINGS = tuple(
    Setting(f"{query}-to-{gallery}", query=query, gallery=gallery, excludes=_same_person_and_camera)
    for query, gallery in (("visible", "infrared"), ("infrared", "visible"))
)

LAYOUT = """\
  visible/     pictures for training, in folders of any depth, without identities
  infrared/
  test/visible/, test/infrared/, and test.csv with the columns file,identity,camera   if wanted
  boxes.csv with the columns file,x,y,width,height   where people are parts of the pictures
  tracks.csv with the columns file,track   if a tracker says which pictures show one person"""


def read_records(root: Path) -> list[Record]:
    """Return the images, those for training first, each with its box if it has one.

    Raises:
        SalcrError: a folder is missing or has no pictures, a picture is used twice, or a csv is
            invalid or contradicts the folders.
    """
    if not any((root / modality).is_dir() for modality in MODALITIES):
        raise SalcrError(missing(root))
    training = {modality: _pictures(root, modality) for modality in MODALITIES}
    boxes, tracks = read_boxes(root, training)
    tracks |= read_tracks(root, training, boxes)
    records = [
        Record(1, "train", modality, file, UNKNOWN, UNKNOWN, box)
        for modality, pictures in training.items()
        for file, box in with_boxes(modality, pictures, boxes)
    ]
    records = with_tracks(records, tracks)
    test = _read_test(root) if has_test(root) else []
    _check_shared(root, [*records, *test])
    _refuse_copies(root, [*records, *test])
    _warn_of_numbers(records)
    return records + test


def missing(root: Path) -> str:
    """Return the error message that describes what is expected at `root`."""
    return f"no folders visible/ and infrared/ at {root.absolute()}. Expected there:\n{LAYOUT}"


def has_test(root: Path) -> bool:
    """Return whether there are test images, or a part of what they need."""
    return any((root / name).exists() for name in (TEST, _TEST_FOLDER))


def digest(root: Path) -> str:
    """Return a hash of names and sizes of all files, and of the contents of the csv files.

    Raises:
        SalcrError: a folder or csv is not readable.
    """
    listed = hashlib.sha256()
    for name in (*MODALITIES, _TEST_FOLDER):
        if (root / name).is_dir():
            for file in list_files(root / name):
                path = root / name / file
                size = path.stat().st_size if path.exists() else None
                listed.update(f"{name}/{file}\0{size}\n".encode(errors="surrogateescape"))
    for name in (TEST, BOXES, TRACKS):
        listed.update(read_csv_text(root / name).encode() if (root / name).exists() else b"\0")
    return listed.hexdigest()


def _pictures(root: Path, folder: str) -> list[str]:
    """Return the pictures below a folder of the data set, sorted; other files are only counted."""
    if not (root / folder).is_dir():
        raise SalcrError(
            f"{root.absolute()}: has no folder {folder}/; put pictures there, or correct "
            f"dataset.root. Expected:\n{LAYOUT}"
        )
    pictures: list[str] = []
    others: list[str] = []
    for name in list_files(root / folder):
        file = f"{folder}/{name}"
        if (root / file).is_dir():
            raise SalcrError(
                f"{escape_name(str(root / file))}: is a link to a folder, which is not followed; "
                f"put the folder itself there, or make {folder}/ as a whole the link"
            )
        (pictures if name.lower().endswith(_PICTURES) else others).append(file)
    if not pictures:
        raise SalcrError(
            f"{root / folder}: has no picture; put files there whose names end in "
            f"{', '.join(_PICTURES)}"
        )
    if others:
        warn(
            f"{root / folder}: {len(others)} files are left out, as their names do not end in "
            f"{', '.join(_PICTURES)}: {abbreviate([escape_name(name) for name in others])}"
        )
    return sorted(pictures)


def _check_shared(root: Path, records: Sequence[Record]) -> None:
    """Refuse a file that is in two folders by a link: in both modalities, or in train and test."""
    first: dict[tuple[int, int], str] = {}
    for file in dict.fromkeys(record.file for record in records):
        try:
            status = (root / file).stat()
        except OSError as error:
            raise SalcrError(
                f"{escape_name(str(root / file))}: cannot be read ({error.strerror}); remove it"
            ) from None
        other = first.setdefault((status.st_dev, status.st_ino), file)
        if other != file:
            raise SalcrError(
                f"{escape_name(str(root / file))}: is the same file as {escape_name(other)}; "
                "remove one of the two"
            )


def _refuse_copies(root: Path, records: Sequence[Record]) -> None:
    """Refuse a file whose bytes are those of another modality's or split's, too.

    Within one, copies are left to the clustering: a recording may hold equal frames.
    """
    places = {record.file: (record.split, record.modality) for record in records}
    by_size: dict[int, list[str]] = defaultdict(list)
    for file in places:
        by_size[(root / file).stat().st_size].append(file)
    first: dict[str, str] = {}
    for names in by_size.values():
        if len({places[file] for file in names}) == 1:
            continue
        for file in names:
            other = first.setdefault(files.sha256(root / file), file)
            if places[other] != places[file]:
                raise SalcrError(
                    f"{escape_name(str(root / file))}: is a copy of {escape_name(other)}; remove "
                    "one of the two"
                )


def _warn_of_numbers(records: Sequence[Record]) -> None:
    """Warn if one modality has far more training images than the other."""
    counts = Counter(record.modality for record in records)
    (many, more), (few, less) = counts.most_common()
    if more > _MOST_OFTEN * less:
        warn(
            f"there are {more} {many} and {less} {few} training images: see that none are missing, "
            "since people who were seen in one modality only cost accuracy"
        )


def _read_test(root: Path) -> list[Record]:
    """Return the test images; identities are those of the csv."""
    path = root / TEST
    if not path.exists():
        raise SalcrError(
            f"{root.absolute()}: has a folder {_TEST_FOLDER}/, but not {TEST}, which says whom its "
            f"pictures show; write it, with the columns {','.join(_TEST_COLUMNS)}, or move the "
            "folder elsewhere"
        )
    pictures = {
        file: modality
        for modality in MODALITIES
        for file in _pictures(root, f"{_TEST_FOLDER}/{modality}")
    }
    places: dict[str, str] = {}
    people: dict[str, dict[int, str]] = {modality: {} for modality in MODALITIES}
    lines = {}
    for place, values in read_lines(path, _TEST_COLUMNS):
        file = values["file"]
        require_picture(file, pictures, place, root, inside=f"{_TEST_FOLDER}/")
        refuse_again(places, file, place, file)
        identity, camera = (parse_whole(values, name, place) for name in _TEST_COLUMNS[1:])
        people[pictures[file]].setdefault(identity, place)
        lines[file] = Record(1, "test", pictures[file], file, camera, identity)
    if unlisted := [file for file in pictures if file not in lines]:
        raise SalcrError(
            f"{path}: lacks {len(unlisted)} pictures of {_TEST_FOLDER}/: "
            f"{abbreviate([escape_name(file) for file in unlisted])}; add a line for each, or move "
            "the pictures elsewhere"
        )
    for modality, other in (MODALITIES, MODALITIES[::-1]):
        for identity, place in people[modality].items():
            if identity not in people[other]:
                raise SalcrError(
                    f"{place}: identity {identity} has {modality} pictures only; add {other} ones, "
                    "or delete the lines and pictures of this identity"
                )
    return [lines[file] for file in pictures]
