"""RegDB (Nguyen et al., Sensors 2017) in its own layout.

Visible/<identity>/*.bmp    Thermal/<identity>/*.bmp
idx/{train,test}_{visible,thermal}_<trial>.txt      lines `path label`

Not in RegDB, but accepted: if there is a file idx/unpaired.txt, a training label may be of one
modality only. `synthesize` writes it for such people. The label of a training image may be -1: its
person is unknown.

Labels count from 0 in each split, so they do not name people: the folders do, which have the same
name in both modalities.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from salcr.datasets.checks import (
    IndexLine,
    check_images,
    check_labels,
    check_modality,
    check_people,
    check_splits,
    first_places,
    read_index,
)
from salcr.datasets.protocol import Setting
from salcr.datasets.records import UNKNOWN, UNPAIRED, Record
from salcr.errors import SalcrError

# modality -> word in the names of split files and folders; camera number
_WORDS = {"visible": "visible", "infrared": "thermal"}
_CAMERAS = {"visible": 1, "infrared": 2}
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
            images that it lists are missing, labels contradict the folders, or a person is in
            training and test.
    """
    if not (root / "idx").is_dir():
        raise SalcrError(missing(root))
    trials = find_trials((root / "idx").iterdir())
    if not trials:
        raise SalcrError(missing(root))
    lines = {
        (trial, split, modality): _read_lines(root, trial, split, modality)
        for trial in trials
        for split in ("train", "test")
        for modality in _WORDS
    }
    records = [
        Record(*key, line.file, _CAMERAS[key[2]], line.label)
        for key, listed in lines.items()
        for line in listed
    ]

    def split_file(record: Record) -> Path:
        return _index_file(root, record.trial, record.split, record.modality)

    check_splits(records, split_file)
    for trial in trials:
        train, test = (
            {modality: lines[trial, split, modality] for modality in _WORDS}
            for split in ("train", "test")
        )
        check_people(*(first_places(chain(*s.values()), _person) for s in (train, test)))
        for sides in (train, test):
            check_labels(chain(*sides.values()), _person)
        _check_both_modalities(test)
        if not (root / UNPAIRED).exists():
            _check_both_modalities(train)
    check_images(root, records, split_file)
    return records


def find_trials(files: Iterable[Path]) -> list[int]:
    """Return the trials that have a split file, in ascending order."""
    return sorted({int(match[3]) for path in files if (match := _INDEX_NAME.fullmatch(path.name))})


def missing(root: Path) -> str:
    """Return the error message that describes what is expected at `root` and where to get it."""
    return f"no RegDB at {root.absolute()}. Expected there:\n{LAYOUT}"


def _index_file(root: Path, trial: int, split: str, modality: str) -> Path:
    return root / "idx" / f"{split}_{_WORDS[modality]}_{trial}.txt"


def _read_lines(root: Path, trial: int, split: str, modality: str) -> list[IndexLine]:
    lines = read_index(_index_file(root, trial, split, modality), split)
    check_modality(lines, modality, _WORDS, lambda file: file.lower().split("/")[:-1])
    for line in lines:
        if _person(line.file).lower() in ("", *_WORDS.values()):
            raise SalcrError(
                f"{line.place}: {line.file} is not in the folder of a person; expected a path "
                "such as Visible/<identity>/<image>"
            )
    return lines


def _person(file: str) -> str:
    """Return the name of an image's folder, a number without its leading zeros."""
    name = file.rpartition("/")[0].rpartition("/")[2]
    return (name.lstrip("0") or "0") if name.isdecimal() else name


def _check_both_modalities(sides: dict[str, list[IndexLine]]) -> None:
    """Refuse a label of one modality only, unless the other has images without a label."""
    labels = {modality: {line.label for line in lines} for modality, lines in sides.items()}
    for modality, other in (("visible", "infrared"), ("infrared", "visible")):
        for line in sides[modality]:
            if line.label not in labels[other] and UNKNOWN not in labels[other] | {line.label}:
                raise SalcrError(
                    f"{line.place}: its label, {line.label}, is not in "
                    f"{sides[other][0].path.name}; restore both files"
                )
