"""A searchable gallery on disk: what `embed` writes and `search` reads.

A folder holds `index.faiss`, `features.npy` (float32 [N, C], the same rows), `files.csv` (which
picture a row is), `skipped.csv` (files that are no picture, and why) and `embed.json` (the model,
sizes, folders, and the checksums of what `search` reads). `embed.json` is written last: without it
the folder is not whole.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from salcr import files
from salcr.errors import SalcrError
from salcr.types import Floats, Integers

SUMMARY = "embed.json"
INDEX, FEATURES, IMAGES, SKIPPED = "index.faiss", "features.npy", "files.csv", "skipped.csv"
IMAGE_COLUMNS = ["folder", "file", "modality"]
FILES = (INDEX, FEATURES, IMAGES, SKIPPED, SUMMARY)
SKIPPED_COLUMNS = ["folder", "file", "reason"]
_FORMAT = 2
_RERUN_HINT = "run embed again"


class Hits(NamedTuple):
    """The nearest pictures of each of Q queries, nearest first."""

    rows: Integers
    """[Q, k], rows of the gallery."""
    scores: Floats
    """[Q, k], cosine similarities, float32."""


class SearchIndex(NamedTuple):
    """Features of pictures that can be searched."""

    index: Any
    """faiss index of the unit features."""
    pictures: pd.DataFrame
    """A line for each row of the index: number of its folder, file in it, modality."""
    summary: dict[str, Any]
    """What embed.json holds."""

    def path(self, row: int) -> Path:
        """Return where the picture of a row is, or was."""
        line = self.pictures.iloc[row]
        return Path(self.summary["folders"][line["folder"]], line["file"])

    def rows_of(self, modalities: Iterable[str]) -> Integers:
        """Return the rows whose pictures are of one of the modalities."""
        return np.flatnonzero(self.pictures["modality"].isin(list(modalities)))

    def search(self, features: Floats, rows: Integers, k: int) -> Hits:
        """Return the nearest among some rows.

        Args:
            features: [Q, C], unit rows of the queries.
            rows: that may be found.
            k: how many are wanted; as many as there are, at most.
        """
        import faiss  # here, since embed's and search's --help do not need it

        among = faiss.SearchParameters(sel=faiss.IDSelectorBatch(rows))  # type: ignore[call-arg]
        scores, found = self.index.search(features, min(k, len(rows)), params=among)
        return Hits(found, scores)


def write_index(
    folder: Path,
    blocks: Callable[[], Iterable[Floats]],
    *,
    pictures: pd.DataFrame,
    skipped: pd.DataFrame,
    summary: dict[str, Any],
) -> None:
    """Write a gallery; only one block of features is in memory at a time.

    The index is flat: it compares a query with every row, so its hits are exactly those of
    evaluation. 100,000 rows take a tenth of a second; an approximate index would be worth its
    errors, and its training, from many millions on.

    Args:
        folder: to write to.
        blocks: gives the rows of the pictures, unit rows, block by block; called twice.
        pictures: a line for each row.
        skipped: a line for each file that is no picture.
        summary: what else is to be known, with the width C as `num_channels`.
    """
    shape = (len(pictures), summary["num_channels"])
    (folder / SUMMARY).unlink(missing_ok=True)
    files.write_blocks(folder / FEATURES, _array_header(shape), blocks())
    files.write_blocks(folder / INDEX, _index_header(shape), blocks())
    files.write_table(folder / IMAGES, pictures[IMAGE_COLUMNS])
    files.write_table(folder / SKIPPED, skipped[SKIPPED_COLUMNS])
    checksums = {name: files.crc32(folder / name) for name in (INDEX, IMAGES)}
    files.write_json(folder / SUMMARY, {"format": _FORMAT, "crc32": checksums, **summary})


def read_index(folder: Path) -> SearchIndex:
    """Return a gallery; its index stays on disk and is read as a search needs it.

    Raises:
        SalcrError: it is not whole, or what `embed` wrote has changed since.
    """
    import faiss

    summary = read_summary(folder)
    for name, checksum in summary["crc32"].items():
        if not (folder / name).exists():
            raise SalcrError(f"{folder / name}: no such file; {_RERUN_HINT}")
        if files.crc32(folder / name) != checksum:
            raise SalcrError(f"{folder / name}: is damaged or of another index; {_RERUN_HINT}")
    pictures = files.read_table(folder / IMAGES, IMAGE_COLUMNS)
    index = faiss.read_index(str(folder / INDEX), faiss.IO_FLAG_MMAP_IFC)
    return SearchIndex(index, pictures, summary)


def read_summary(folder: Path) -> dict[str, Any]:
    """Return what is to be known of a gallery.

    Raises:
        SalcrError: there is none, or it is not whole.
    """
    if not (folder / SUMMARY).exists():
        raise SalcrError(
            f"{folder}: holds no whole index; make one with `python -m salcr embed --out {folder}`,"
            " which goes on where it was stopped"
        )
    summary = files.read_json(folder / SUMMARY, hint=_RERUN_HINT)
    if summary.get("format") != _FORMAT:
        raise SalcrError(f"{folder / SUMMARY}: is not of this version; {_RERUN_HINT}")
    return summary


def _array_header(shape: tuple[int, int]) -> bytes:
    """Return the first bytes of a .npy file of float32 rows."""
    header = io.BytesIO()
    kind = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, kind)
    return header.getvalue()


def _index_header(shape: tuple[int, int]) -> bytes:
    """Return the first bytes of faiss's file of a flat index.

    faiss itself writes only what is in memory as a whole. Its header of an empty index holds the
    number of rows at byte 8, and ends with the number of floats.
    """
    import faiss

    header = bytearray(faiss.serialize_index(faiss.IndexFlatIP(shape[1])).tobytes())
    header[8:16] = shape[0].to_bytes(8, "little")
    header[-8:] = (shape[0] * shape[1]).to_bytes(8, "little")
    return bytes(header)
