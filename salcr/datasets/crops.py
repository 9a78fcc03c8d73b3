"""What csv files say about one's own pictures: boxes of people, and tracks of one person.

boxes.csv has the columns file, x, y, width, height, and track if wanted; tracks.csv, for pictures
without boxes, the columns file, track.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from salcr.datasets.checks import abbreviate
from salcr.datasets.csv_lists import parse_whole, read_lines, refuse_again
from salcr.datasets.records import Box, Record, name_image
from salcr.errors import SalcrError
from salcr.log import escape_name, say, warn
from salcr.types import MODALITIES

BOXES, TRACKS = "boxes.csv", "tracks.csv"
_BOX_COLUMNS = ("file", "x", "y", "width", "height")
_TRACK = "track"


def read_boxes(
    root: Path, training: Mapping[str, list[str]]
) -> tuple[dict[str, list[Box]], dict[str, str]]:
    """Return file -> its boxes, sorted, and image -> name of its track; empty without the csv.

    Args:
        root: folder of the data set.
        training: modality -> training pictures.

    Raises:
        SalcrError: a line is invalid, names an unknown picture, or repeats a box.
    """
    path = root / BOXES
    if not path.exists():
        return {}, {}
    known = {file for files in training.values() for file in files}
    boxes: dict[str, list[Box]] = defaultdict(list)
    tracks: dict[str, str] = {}
    places: dict[tuple[object, ...], str] = {}
    for place, values in read_lines(path, _BOX_COLUMNS, optional=_TRACK):
        file = values["file"]
        require_picture(file, known, place, root)
        x, y, width, height = (parse_whole(values, name, place) for name in _BOX_COLUMNS[1:])
        if not (width and height):
            raise SalcrError(f"{place}: the box of {file} has no area; correct the line")
        refuse_again(places, (file, x, y, width, height), place, f"this box of {file}")
        box = Box(x, y, width, height, place)
        boxes[file].append(box)
        if values[_TRACK]:
            tracks[name_image(file, box)] = values[_TRACK]
    return {file: sorted(listed) for file, listed in boxes.items()}, tracks


def read_tracks(
    root: Path, training: Mapping[str, list[str]], boxes: Mapping[str, list[Box]]
) -> dict[str, str]:
    """Return picture -> name of its track; empty without the csv.

    Args:
        root: folder of the data set.
        training: modality -> training pictures.
        boxes: picture -> its boxes, from `read_boxes`.

    Raises:
        SalcrError: a line is invalid, repeats a picture, or names one that is unknown or that is
            not an image as a whole.
    """
    path = root / TRACKS
    if not path.exists():
        return {}
    known = {file: modality for modality, files in training.items() for file in files}
    boxed = {known[file] for file in boxes}
    tracks: dict[str, str] = {}
    places: dict[str, str] = {}
    for place, values in read_lines(path, ("file", _TRACK)):
        file, track = values["file"], values[_TRACK]
        require_picture(file, known, place, root)
        refuse_again(places, file, place, file)
        if known[file] in boxed:
            raise SalcrError(
                f"{place}: the images of {known[file]}/ are boxes; give their tracks in a column "
                f"{_TRACK} of {BOXES}, and delete the line"
            )
        if not track:
            raise SalcrError(f"{place}: {file} has no track; write its name, or delete the line")
        tracks[file] = track
    return tracks


def with_tracks(records: Sequence[Record], tracks: Mapping[str, str]) -> list[Record]:
    """Return the records with the numbers of their tracks, from 0 in each modality.

    Args:
        records: of training images.
        tracks: image -> name of its track, which counts in its modality alone.
    """
    numbers: dict[str, dict[str, int]] = {modality: {} for modality in MODALITIES}
    folders: dict[tuple[str, str], set[str]] = defaultdict(set)
    numbered = []
    for record in records:
        if name := tracks.get(record.name):
            known = numbers[record.modality]
            record = record._replace(track=known.setdefault(name, len(known)))
            folders[record.modality, name].add(record.file.rpartition("/")[0])
        numbered.append(record)
    if tracks:
        say(f"tracks: {', '.join(f'{len(known)} {m}' for m, known in numbers.items())}")
    for (modality, name), several in folders.items():
        if len(several) > 1:
            warn(
                f"{modality} track {escape_name(name)} has images in "
                f"{abbreviate([escape_name(folder) for folder in sorted(several)])}: if these are "
                "different cameras, give their tracks different names"
            )
    return numbered


def require_picture(
    file: str, pictures: Container[str], place: str, root: Path, inside: str = ""
) -> None:
    """Refuse a line of a csv that names none of the pictures.

    Raises:
        SalcrError: so it is.
    """
    if file not in pictures:
        raise SalcrError(
            f"{place}: {file} is not a picture in {inside}visible/ or {inside}infrared/ of "
            f"{root.absolute()}; correct the line, or delete it"
        )


def with_boxes(
    folder: str, files: Sequence[str], boxes: Mapping[str, list[Box]]
) -> Iterator[tuple[str, Box | None]]:
    """Yield the images of a folder: each file, or, where boxes list any of it, each box."""
    listed = [file for file in files if file in boxes]
    if not listed:
        yield from ((file, None) for file in files)
        return
    say(
        f"{BOXES}: {sum(len(boxes[file]) for file in listed)} boxes in {len(listed)} pictures of "
        f"{folder}/; {len(files) - len(listed)} pictures without a box are left out"
    )
    yield from ((file, box) for file in listed for box in boxes[file])
