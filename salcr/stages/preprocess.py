"""Decode and resize every image once, and write down which trial uses which."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from PIL import Image, UnidentifiedImageError

from salcr import data, files, schema
from salcr.datasets import regdb
from salcr.datasets.records import Record
from salcr.errors import SalcrError
from salcr.logs import progress, say

READERS = {"regdb": regdb.read_records}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--layout", choices=sorted(READERS), required=True, help="its layout")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def run(arguments: argparse.Namespace, *, preprocess: schema.Preprocess) -> None:
    """Write the arrays, the manifest, the identities and the summary with its hashes."""
    records = READERS[arguments.layout](arguments.root)
    trials = sorted({record.trial for record in records})
    say(f"{arguments.root}: {len(records)} lines in the splits of trials {trials}")
    rows: dict[str, dict[str, int]] = {}
    summary: dict[str, dict[str, object]] = {"shapes": {}, "sha256": {}}
    for modality in data.MODALITIES:
        names = sorted({record.file for record in records if record.modality == modality})
        rows[modality] = {name: row for row, name in enumerate(names)}
        path = arguments.out / data.ARRAYS[modality]
        shape = (len(names), preprocess.height, preprocess.width, 3)
        _write_images(path, [arguments.root / name for name in names], shape)
        summary["shapes"][modality] = list(shape)
        summary["sha256"][path.name] = files.sha256(path)
        say(f"{path}: {len(names)} {modality} images of {shape[1]}x{shape[2]}")
    table = _table(records, rows)
    files.write_table(arguments.out / data.MANIFEST, table[data.MANIFEST_COLUMNS])
    files.write_table(arguments.out / data.IDENTITIES, table[data.IDENTITY_COLUMNS])
    for name in (data.MANIFEST, data.IDENTITIES):
        summary["sha256"][name] = files.sha256(arguments.out / name)
    files.write_json(
        arguments.out / data.SUMMARY, {**summary, "data_hash": _data_hash(summary["sha256"])}
    )


def _data_hash(hashes: dict[str, object]) -> str:
    """Return what identifies the images and the splits; identities do not belong to it."""
    used = [f"{name} {hashes[name]}" for name in sorted(hashes) if name != data.IDENTITIES]
    return hashlib.sha256("\n".join(used).encode()).hexdigest()


def _table(records: list[Record], rows: dict[str, dict[str, int]]) -> pd.DataFrame:
    table = pd.DataFrame(records, columns=list(Record._fields))
    table["row"] = [rows[record.modality][record.file] for record in records]
    return table


def _write_images(path: Path, sources: list[Path], shape: tuple[int, ...]) -> None:
    """Write the images as one uint8 array, one at a time, so that memory stays small."""
    with files.atomic_path(path) as temporary:
        array = open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        for row, source in enumerate(progress(sources, title=path.stem, total=len(sources))):
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
