"""RegDB (Nguyen et al., Sensors 2017) in its own layout.

Visible/<identity>/*.bmp    Thermal/<identity>/*.bmp
idx/{train,test}_{visible,thermal}_<trial>.txt      lines `path label`

Not in RegDB, but accepted: if there is a file idx/unpaired.txt, a training label may be of one
modality only. `synthesize` writes it for such people.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from salcr.datasets.checks import check_images, check_people, check_splits, read_index
from salcr.datasets.protocol import Setting
from salcr.datasets.records import UNPAIRED, Record
from salcr.errors import SalcrError

# modality -> (word in the split files' names, camera number)
_SIDES = {"visible": ("visible", 1), "infrared": ("thermal", 2)}
_INDEX_NAME = re.compile(r"(train|test)_(visible|thermal)_(\d+)\.txt")

SPLIT_FILES = "idx/*.txt"
# All images of one modality are queries, all of the other the gallery. The literature calls
# RegDB's infrared images thermal.
SETTINGS = (
    Setting("visible-to-thermal", query="visible", gallery="infrared"),
    Setting("thermal-to-visible", query="infrared", gallery="visible"),
)
LAYOUT = """\
  Visible/<identity>/*.bmp
  Thermal/<identity>/*.bmp
  idx/{train,test}_{visible,thermal}_<trial>.txt   with lines `path label`
Its authors at Dongguk University provide it on request, as DBPerson-Recog-DB1:
http://dm.dongguk.edu/link.html
To try the workflow without it, in a clone of the repository: make demo"""


def read_records(root: Path) -> list[Record]:
    """Return the images of all trials, in the order of the split files.

    Raises:
        SalcrError: the folder is missing or not laid out like RegDB, a split file is invalid,
            images that it lists are missing, or an identity is in training and test.
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

    def split_file(record: Record) -> Path:
        return _index_file(root, record.trial, record.split, record.modality)

    check_images(root, records, split_file)
    check_splits(records, split_file)
    _check_identities(root, records)
    return records


def missing(root: Path) -> str:
    """Return the error message that describes what is expected at `root` and where to get it."""
    return f"no RegDB at {root.absolute()}. Expected there:\n{LAYOUT}"


def _match(file: Path) -> re.Match[str] | None:
    return _INDEX_NAME.fullmatch(file.name)


def _index_file(root: Path, trial: int, split: str, modality: str) -> Path:
    return root / "idx" / f"{split}_{_SIDES[modality][0]}_{trial}.txt"


def _read_split(root: Path, trial: int, split: str, modality: str) -> list[Record]:
    lines = read_index(_index_file(root, trial, split, modality))
    camera = _SIDES[modality][1]
    return [Record(trial, split, modality, line.file, camera, line.label) for line in lines]


def _check_identities(root: Path, records: list[Record]) -> None:
    """Refuse a trial whose modalities differ in labels, or with a person in training and test."""
    labels: dict[tuple[int, str, str], set[int]] = {}
    # Labels count from 0 in each split: only the name of the folder identifies a person.
    people: dict[tuple[int, str, str], set[int]] = {}
    for record in records:
        key = (record.trial, record.split, record.modality)
        labels.setdefault(key, set()).add(record.identity)
        person = PurePosixPath(record.file).parent.name
        people.setdefault(key, set()).update([int(person)] if person.isdecimal() else [])
    may_differ = {"train"} if (root / UNPAIRED).exists() else set()
    for trial, split, modality in labels:
        sides = labels[trial, split, "visible"], labels[trial, split, "infrared"]
        if sides[0] != sides[1] and split not in may_differ:
            raise SalcrError(
                f"{_index_file(root, trial, split, 'infrared')}: its labels are not those of "
                f"{_index_file(root, trial, split, 'visible').name}; restore both files"
            )
        path = _index_file(root, trial, "test", modality)
        check_people(path, people[trial, "train", modality], people[trial, "test", modality])
