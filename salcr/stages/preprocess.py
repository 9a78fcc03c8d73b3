"""Decode and resize every image once, and write down which trial uses which."""

from __future__ import annotations

import argparse
import hashlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from PIL import Image, UnidentifiedImageError

from salcr import data, files, schema
from salcr.datasets.counts import deviations
from salcr.datasets.readers import READERS
from salcr.datasets.records import Record
from salcr.errors import SalcrError
from salcr.logs import progress, say, warn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--layout", choices=sorted(READERS), required=True, help="its layout")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--allow-subset",
        action="store_true",
        help="only warn where numbers of identities and images are not the published ones",
    )


def run(arguments: argparse.Namespace, *, preprocess: schema.Preprocess) -> None:
    """Write the arrays, the manifest, the identities and the summary with its hashes."""
    records = READERS[arguments.layout].read_records(arguments.root)
    published = _check_counts(arguments, records)
    trials = sorted({record.trial for record in records})
    say(f"{arguments.root}: {len(records)} lines in the splits of trials {trials}")
    rows = {
        modality: {
            name: row
            for row, name in enumerate(sorted({r.file for r in records if r.modality == modality}))
        }
        for modality in data.MODALITIES
    }
    shapes, hashes = _write_arrays(arguments, rows, (preprocess.height, preprocess.width))
    table = _table(records, rows)
    files.write_table(arguments.out / data.MANIFEST, table[data.MANIFEST_COLUMNS])
    files.write_table(arguments.out / data.IDENTITIES, table[data.IDENTITY_COLUMNS])
    for name in (data.MANIFEST, data.IDENTITIES):
        hashes[name] = files.sha256(arguments.out / name)
    summary = {
        "layout": arguments.layout,
        "published": published,
        "shapes": shapes,
        "sha256": hashes,
        "data_hash": _data_hash(hashes),
    }
    files.write_json(arguments.out / data.SUMMARY, summary)


def _check_counts(arguments: argparse.Namespace, records: list[Record]) -> bool:
    """Tell whether the numbers are the published ones; refuse others unless they are allowed."""
    found = deviations(arguments.layout, records)
    if not found:
        return True
    listed = "\n  ".join([f"{arguments.root}: is not the published {arguments.layout}:", *found])
    if not arguments.allow_subset:
        raise SalcrError(
            f"{listed}\nCopy the whole data set there; if a part of it is meant, set "
            "dataset.allow_subset: true (--allow-subset)"
        )
    warn(listed)
    return False


def _write_arrays(
    arguments: argparse.Namespace, rows: dict[str, dict[str, int]], size: tuple[int, int]
) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Write the images of both modalities, or of none if one cannot be decoded.

    Args:
        arguments: of the stage.
        rows: modality -> file -> row of its array.
        size: height and width of the stored images.

    Returns:
        modality -> shape of its array; name of the array's file -> its SHA-256.
    """
    shapes, hashes = {}, {}
    with ExitStack() as whole:
        for modality, files_of_rows in rows.items():
            path = arguments.out / data.ARRAYS[modality]
            temporary = whole.enter_context(files.atomic_path(path))
            shape = (len(files_of_rows), *size, 3)
            _fill(temporary, [arguments.root / name for name in files_of_rows], shape)
            shapes[modality] = list(shape)
            hashes[path.name] = files.sha256(temporary)
            say(f"{path}: {len(files_of_rows)} {modality} images of {size[0]}x{size[1]}")
    return shapes, hashes


def _data_hash(hashes: dict[str, str]) -> str:
    """Return what identifies the images and the splits; identities do not belong to it."""
    used = [f"{name} {hashes[name]}" for name in sorted(hashes) if name != data.IDENTITIES]
    return hashlib.sha256("\n".join(used).encode()).hexdigest()


def _table(records: list[Record], rows: dict[str, dict[str, int]]) -> pd.DataFrame:
    table = pd.DataFrame(records, columns=list(Record._fields))
    table["row"] = [rows[record.modality][record.file] for record in records]
    return table


def _fill(path: Path, sources: list[Path], shape: tuple[int, ...]) -> None:
    """Write the images as one uint8 array, one at a time, so that memory stays small."""
    array = open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    for row, source in enumerate(progress(sources, title="images", total=len(sources))):
        array[row] = _decoded(source, height=shape[1], width=shape[2])
    array.flush()


def _decoded(path: Path, *, height: int, width: int) -> np.ndarray:
    """Return the image as uint8 [height, width, 3]; grey images get three equal channels."""
    try:
        with Image.open(path) as image:
            resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise SalcrError(f"{path}: cannot be decoded ({error}); restore the file") from None
    return np.asarray(resized)
