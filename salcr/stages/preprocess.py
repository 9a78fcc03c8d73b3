"""Decode and resize every image once, and list the images of each trial."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from salcr import files
from salcr.config.schema import Config
from salcr.data import store
from salcr.data.images import decode_image, guess_modality, name_fault
from salcr.data.thermal import ThermalRanges
from salcr.datasets.checks import abbreviate
from salcr.datasets.counts import PUBLISHED, deviations
from salcr.datasets.protocol import Annotations, check_evaluation
from salcr.datasets.readers import READERS
from salcr.datasets.records import UNKNOWN, Record
from salcr.errors import SalcrError, UndecodableError
from salcr.log import escape_name, progress, say, warn
from salcr.types import MODALITIES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--layout", choices=sorted(READERS), required=True, help="its layout")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--allow-subset",
        action="store_true",
        help="only warn if the numbers of identities or images are not the published ones",
    )


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the arrays, the manifest, the identities and the summary with its hashes."""
    records = READERS[arguments.layout].read_records(arguments.root)
    for name in {record.name for record in records}:
        if (fault := name_fault(name)) is not None:
            raise SalcrError(f"{arguments.root}/{escape_name(name)}: {fault}")
    published = _check_counts(arguments, records)
    trials = sorted({record.trial for record in records})
    say(f"{arguments.root}: {len(records)} lines in the splits of trials {trials}")
    if any(record.split == "test" for record in records):
        for trial in trials:
            _check_test_images(arguments, [record for record in records if record.trial == trial])
    else:
        say("there are no test images: nothing will be evaluated")
    unlabeled = _count_unlabeled(records)
    if any(unlabeled.values()):
        listed = ", ".join(f"{number} {modality}" for modality, number in unlabeled.items())
        say(f"{listed} training images have no label; label quality is measured on the others")
    images = _by_modality(records)
    size = settings.preprocess.height, settings.preprocess.width
    infrared = (image.file for image in images["infrared"].values())
    ranges = ThermalRanges(settings.preprocess.thermal_range, arguments.root, infrared)
    undecodable: dict[str, str] = {}
    try:
        shapes, hashes, checksums = _write_arrays(arguments, images, size, ranges)
    except _UndecodableImagesError as error:
        undecodable = error.reasons
        _require_few(undecodable, images, settings.preprocess.max_undecodable)
        records = [record for record in records if record.name not in undecodable]
        images, unlabeled = _by_modality(records), _count_unlabeled(records)
        shapes, hashes, checksums = _write_arrays(arguments, images, size, ranges)
    table = _table(records, images)
    has_tracks = any(record.track != UNKNOWN for record in records)
    columns = [*store.MANIFEST_COLUMNS, *([store.TRACK] if has_tracks else [])]
    files.write_table(arguments.out / store.MANIFEST, table[columns])
    files.write_table(arguments.out / store.IDENTITIES, table[store.IDENTITY_COLUMNS])
    for name in (store.MANIFEST, store.IDENTITIES):
        hashes[name] = files.sha256(arguments.out / name)
    summary = {
        "layout": arguments.layout,
        "published": published,
        "shapes": shapes,
        "sha256": hashes,
        "crc32": checksums,
        "data_hash": store.data_hash(hashes),
    }
    if any(unlabeled.values()):
        summary["unlabeled"] = unlabeled
    if has_tracks:
        summary["has_tracks"] = True
    if undecodable:
        summary["undecodable"] = undecodable
    summary |= ranges.summary()
    files.write_json(arguments.out / store.SUMMARY, summary)


def _check_counts(arguments: argparse.Namespace, records: list[Record]) -> bool:
    """Return whether the numbers are published ones; refuse others unless they are allowed."""
    if arguments.layout not in PUBLISHED:
        return False
    differences = deviations(arguments.layout, records)
    if not differences:
        return True
    title = f"{arguments.root}: is not the published {arguments.layout}:"
    listed = "\n  ".join([title, *differences])
    if not arguments.allow_subset:
        raise SalcrError(
            f"{listed}\nCopy the whole data set there; to use a part of it, set "
            "dataset.allow_subset: true (--allow-subset)"
        )
    warn(listed)
    return False


def _check_test_images(arguments: argparse.Namespace, records: list[Record]) -> None:
    """Refuse a trial that cannot be evaluated, before anything is trained."""
    test = {}
    for modality in MODALITIES:
        sides = [r for r in records if (r.split, r.modality) == ("test", modality)]
        columns = np.array([(r.identity, r.camera) for r in sides], dtype=np.int64)
        test[modality] = Annotations(*columns.reshape(-1, 2).T)
    place = f"{arguments.root}: trial {records[0].trial}"
    check_evaluation(READERS[arguments.layout].settings, test, place)


def _count_unlabeled(records: list[Record]) -> dict[str, int]:
    """Return modality -> number of training images whose person is unknown."""
    return {
        modality: len({r.name for r in records if (r.modality, r.identity) == (modality, UNKNOWN)})
        for modality in MODALITIES
    }


class _UndecodableImagesError(Exception):
    """Training images that cannot be decoded, where some may be left out."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__()
        self.reasons = reasons
        """Name of an image -> what is wrong with it."""


def _require_few(
    undecodable: dict[str, str], images: dict[str, dict[str, Record]], at_most: float
) -> None:
    """Warn about images that cannot be decoded; refuse too large a share of a modality."""
    for modality, named in images.items():
        number = sum(image.split == "train" for image in named.values())
        reasons = [reason for name, reason in undecodable.items() if name in named]
        if not reasons:
            continue
        counted = f"{len(reasons)} of {number} {modality} training images cannot be decoded"
        if len(reasons) > at_most * number:
            raise SalcrError(
                f"{counted}, and preprocess.max_undecodable is {at_most}: remove or replace the "
                f"files, or raise it. {abbreviate(reasons)}"
            )
        warn(f"{counted} and are left out: {abbreviate(reasons)}")


def _by_modality(records: list[Record]) -> dict[str, dict[str, Record]]:
    """Return modality -> name -> image, in the order of the rows."""
    return {
        modality: {r.name: r for r in sorted(records, key=_name) if r.modality == modality}
        for modality in MODALITIES
    }


def _write_arrays(
    arguments: argparse.Namespace,
    images: dict[str, dict[str, Record]],
    size: tuple[int, int],
    ranges: ThermalRanges,
) -> tuple[dict[str, list[int]], dict[str, str], dict[str, str]]:
    """Write the images of both modalities, or none if one cannot be decoded; warn of odd ones.

    Args:
        arguments: of the stage.
        images: modality -> name -> image, in the order of the rows.
        size: height and width of the stored images.
        ranges: of the infrared pictures with 16 bits.

    Returns:
        modality -> shape of its array; name of the array's file -> its SHA-256; -> its CRC-32.

    Raises:
        _UndecodableImagesError: training images of the layout `folders` cannot be decoded.
        SalcrError: another one cannot, or an image is refused for another reason.
    """
    shapes, hashes, checksums = {}, {}, {}
    undecodable: dict[str, str] = {}
    guessed: dict[str, Counter[str]] = {modality: Counter() for modality in images}

    def decode(image: Record) -> NDArray[np.uint8]:
        try:
            decoded = _decode(arguments.root, ranges, image, height=size[0], width=size[1])
        except UndecodableError as error:
            if arguments.layout != "folders" or image.split == "test":
                raise
            undecodable[image.name] = str(error)
            return np.zeros((*size, 3), np.uint8)
        guessed[image.modality][guess_modality(decoded)] += 1
        return decoded

    with ExitStack() as whole:
        for modality, named in images.items():
            path = arguments.out / store.ARRAYS[modality]
            temporary = whole.enter_context(files.atomic_path(path))
            shape = (len(named), *size, 3)
            _fill(temporary, map(decode, named.values()), shape)
            shapes[modality] = list(shape)
            hashes[path.name] = files.sha256(temporary)
            checksums[path.name] = files.crc32(temporary)
            say(f"{path}: {len(named)} {modality} images of {size[0]}x{size[1]}")
        if undecodable:
            raise _UndecodableImagesError(undecodable)
    for modality, counts in guessed.items():
        _warn_of_modality(modality, counts)
    return shapes, hashes, checksums


def _warn_of_modality(modality: str, guessed: Counter[str]) -> None:
    """Warn if most images of a modality look like the other one."""
    number = guessed.total() - guessed[modality]
    if number > guessed.total() / 2:
        kind = "gray, as infrared ones are" if modality == "visible" else "in color"
        warn(
            f"{number} of {guessed.total()} {modality} images are {kind}: see that no folder is in "
            "the place of another"
        )


def _table(records: list[Record], images: dict[str, dict[str, Record]]) -> pd.DataFrame:
    rows = {m: {name: row for row, name in enumerate(named)} for m, named in images.items()}
    table = pd.DataFrame(records, columns=list(Record._fields))
    table["file"] = [record.name for record in records]
    table["row"] = [rows[record.modality][record.name] for record in records]
    return table


def _fill(path: Path, images: Iterable[NDArray[np.uint8]], shape: tuple[int, ...]) -> None:
    """Write the images to a uint8 .npy array [N, H, W, 3], with one of them in memory at a time."""
    # Not memory-mapped: on a full disk, a write raises an error, but a mapped page kills the job.
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for image in progress(images, title="images", total=shape[0]):
            file.write(image.tobytes())


def _decode(
    root: Path, ranges: ThermalRanges, image: Record, *, height: int, width: int
) -> NDArray[np.uint8]:
    """Return an image, [H, W, 3]; an error names the line that lists its box, if it has one."""
    range_of = partial(ranges.of, image.file) if image.modality == "infrared" else None
    box = image.box and image.box[:4]
    try:
        return decode_image(
            root / image.file, height=height, width=width, box=box, range_of=range_of
        )
    except SalcrError as error:
        raise type(error)(f"{image.box.place}: {error}" if image.box else str(error)) from None


def _name(image: Record) -> str:
    return image.name
