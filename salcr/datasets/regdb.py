"""RegDB (Nguyen et al., Sensors 2017) in its own layout.

Visible/<identity>/*.bmp    Thermal/<identity>/*.bmp
idx/{train,test}_{visible,thermal}_<trial>.txt      lines `path label`
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from salcr.datasets.records import Record
from salcr.errors import SalcrError

# modality -> (word in the split files' names, camera number)
_SIDES = {"visible": ("visible", 1), "infrared": ("thermal", 2)}
_INDEX_NAME = re.compile(r"(train|test)_(visible|thermal)_(\d+)\.txt")

LAYOUT = """\
  Visible/<identity>/*.bmp
  Thermal/<identity>/*.bmp
  idx/{train,test}_{visible,thermal}_<trial>.txt   with lines `path label`
Its authors at Dongguk University give it out on request, as DBPerson-Recog-DB1:
http://dm.dongguk.edu/link.html
To try the workflow without it: make demo"""


def read_records(root: Path) -> list[Record]:
    """Return the images of all trials, in the order of the split files.

    Raises:
        SalcrError: the folder is not there or not laid out like RegDB, a split file is broken,
            or images that it names are missing.
    """
    if not (root / "idx").is_dir():
        raise SalcrError(missing(root))
    trials = sorted({int(match[3]) for file in (root / "idx").iterdir() if (match := _match(file))})
    if not trials:
        raise SalcrError(missing(root))
    records = [
        record
        for trial in trials
        for split in ("train", "test")
        for modality in _SIDES
        for record in _read_split(root, trial, split, modality)
    ]
    _check_images(root, records)
    _check_identities(root, records)
    return records


def missing(root: Path) -> str:
    """Return the message that says what is expected at `root` and where to get it."""
    return f"no RegDB at {root.absolute()}. Expected there:\n{LAYOUT}"


def _match(file: Path) -> re.Match[str] | None:
    return _INDEX_NAME.fullmatch(file.name)


def _index_file(root: Path, trial: int, split: str, modality: str) -> Path:
    return root / "idx" / f"{split}_{_SIDES[modality][0]}_{trial}.txt"


def _read_split(root: Path, trial: int, split: str, modality: str) -> list[Record]:
    path = _index_file(root, trial, split, modality)
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise SalcrError(f"{path}: cannot be read ({error.strerror})") from None
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdigit():
            raise SalcrError(f"{path}, line {number}: expected `path label`, found {line!r}")
        file = PurePosixPath(name.strip())
        if file.is_absolute() or ".." in file.parts:
            raise SalcrError(f"{path}, line {number}: {name} points outside the data set")
        camera = _SIDES[modality][1]
        records.append(Record(trial, split, modality, str(file), camera, int(label)))
    if not records:
        raise SalcrError(f"{path}: names no image")
    return records


def _check_images(root: Path, records: list[Record]) -> None:
    named = {record.file: record for record in records}
    missing = [file for file in named if not (root / file).is_file()]
    if missing:
        record = named[missing[0]]
        path = _index_file(root, record.trial, record.split, record.modality)
        shown = "\n  ".join(missing[:20]) + ("\n  ..." if len(missing) > 20 else "")
        raise SalcrError(
            f"{path} and other split files name {len(missing)} images that are not in "
            f"{root.absolute()}:\n  {shown}\nCopy them there, or restore the split files"
        )


def _check_identities(root: Path, records: list[Record]) -> None:
    """Refuse a trial whose training and test images overlap, or whose labels do not pair up."""
    images: dict[tuple[int, str], set[str]] = {}
    labels: dict[tuple[int, str, str], set[int]] = {}
    for record in records:
        images.setdefault((record.trial, record.split), set()).add(record.file)
        key = (record.trial, record.split, record.modality)
        labels.setdefault(key, set()).add(record.identity)
    for trial, split in images:
        both = images[trial, "train"] & images[trial, "test"]
        if both:
            raise SalcrError(
                f"{root / 'idx'}: trial {trial} trains and tests on the same image, {min(both)}"
            )
        if labels[trial, split, "visible"] != labels[trial, split, "infrared"]:
            raise SalcrError(
                f"{_index_file(root, trial, split, 'infrared')}: its labels are not those of "
                f"{_index_file(root, trial, split, 'visible').name}"
            )
