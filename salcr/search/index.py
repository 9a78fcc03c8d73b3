"""A search index on disk: `embed` writes it and `search` reads it.

A folder holds `index.faiss`, `features.npy` (float32 [N, C], the same rows), `files.csv` (the image
of each row), `skipped.csv` (files that are not images, and why) and `embed.json` (the model, sizes,
folders, and the checksums of the files that `search` reads). `embed.json` is written last: without
it the folder is not complete.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from salcr import files
from salcr.config import table_kinds
from salcr.config.index_kinds import Index
from salcr.errors import SalcrError
from salcr.types import Floats, Integers

SUMMARY = "embed.json"
INDEX, FEATURES, IMAGES, SKIPPED = "index.faiss", "features.npy", "files.csv", "skipped.csv"
IMAGE_COLUMNS = ["folder", "file", "modality"]
CALIBRATION = "calibration.json"
"""That `calibrate` writes."""
FILES = (INDEX, FEATURES, IMAGES, SKIPPED, SUMMARY, CALIBRATION)
SKIPPED_COLUMNS = ["folder", "file", "reason"]
_FORMAT = 2
_RERUN_HINT = "run embed again"


class Hits(NamedTuple):
    """The nearest images of each of Q queries, nearest first."""

    rows: Integers
    """[Q, k], rows of the index."""
    scores: Floats
    """[Q, k], cosine similarities in [-1, 1], float32."""


class SearchIndex(NamedTuple):
    """Features of images that can be searched."""

    index: Any
    """faiss index of the unit features."""
    images: pd.DataFrame
    """A line for each row of the index: number of its folder, file in it, modality."""
    summary: dict[str, Any]
    """Content of embed.json."""

    def path(self, row: int) -> Path:
        """Return the path of a row's image when it was embedded."""
        line = self.images.iloc[row]
        return Path(self.summary["folders"][line["folder"]], line["file"])

    def rows_of(self, modalities: Iterable[str]) -> Integers:
        """Return the rows with images of the given modalities, ascending."""
        return np.flatnonzero(self.images["modality"].isin(list(modalities)))

    def features_of(self, rows: Integers) -> Floats:
        """Return the features of some rows, [R, C], unit rows."""
        return np.asarray(self.index.reconstruct_batch(rows), dtype=np.float32)

    def search(self, features: Floats, rows: Integers, k: int) -> Hits:
        """Return the nearest images among some rows.

        Args:
            features: [Q, C], unit rows of the queries.
            rows: [R], candidates.
            k: number of hits per query.

        Returns:
            [Q, min(k, R)] hits.
        """
        import faiss  # here, because embed's and search's --help do not need it

        candidates = faiss.IDSelectorBatch(rows)
        parameters = faiss.SearchParameters(sel=candidates)  # type: ignore[call-arg]
        scores, hits = self.index.search(features, min(k, len(rows)), params=parameters)
        return Hits(hits, scores)


def write_index(
    folder: Path,
    blocks: Callable[[], Iterable[Floats]],
    *,
    images: pd.DataFrame,
    skipped: pd.DataFrame,
    summary: dict[str, Any],
) -> None:
    """Write an index; only one block of features is in memory at a time.

    The index is flat: it compares a query with every row, so its hits are exactly those of
    evaluation. A search in 100,000 rows takes a tenth of a second; an approximate index, which
    makes errors and needs training, would be useful for many millions of rows only.

    Args:
        folder: folder to write.
        blocks: returns the features of the images, unit rows, block by block; called twice.
        images: a line for each row, with IMAGE_COLUMNS.
        skipped: a line for each file that is not an image, with SKIPPED_COLUMNS.
        summary: other content of embed.json; its `num_channels` is C.
    """
    shape = (len(images), summary["num_channels"])
    (folder / SUMMARY).unlink(missing_ok=True)
    files.write_blocks(folder / FEATURES, _array_header(shape), blocks())
    files.write_blocks(folder / INDEX, _index_header(shape), blocks())
    for name, table, columns in (
        (IMAGES, images, IMAGE_COLUMNS),
        (SKIPPED, skipped, SKIPPED_COLUMNS),
    ):
        files.write_table(folder / name, table.assign(file=table["file"].map(_as_cell))[columns])
    checksums = {name: files.crc32(folder / name) for name in (INDEX, IMAGES)}
    files.write_json(folder / SUMMARY, {"format": _FORMAT, "crc32": checksums, **summary})


def read_index(folder: Path) -> SearchIndex:
    """Return an index; its features are memory-mapped and read during a search.

    Raises:
        SalcrError: the index is not complete, or its files were changed.
    """
    import faiss

    summary = read_summary(folder)
    for name, checksum in summary["crc32"].items():
        if not (folder / name).exists():
            raise SalcrError(f"{folder / name}: no such file; {_RERUN_HINT}")
        if files.crc32(folder / name) != checksum:
            raise SalcrError(f"{folder / name}: is damaged or of another index; {_RERUN_HINT}")
    images = files.read_table(folder / IMAGES, table_kinds.INDEXED, hint=_RERUN_HINT)
    index = files.read(
        folder / INDEX,
        lambda: faiss.read_index(str(folder / INDEX), faiss.IO_FLAG_MMAP_IFC),
        f"is not an index of faiss; {_RERUN_HINT}",
    )
    sizes = (len(images), summary["num_channels"])
    if (index.ntotal, index.d) != sizes or images["folder"].max() >= len(summary["folders"]):
        raise SalcrError(f"{folder}: its files are not of one index; {_RERUN_HINT}")
    return SearchIndex(index, images, summary)


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the content of an index's embed.json.

    Raises:
        SalcrError: the folder does not hold a complete index, or one of another version.
    """
    if not (folder / SUMMARY).exists():
        raise SalcrError(
            f"{folder}: does not hold a complete index; run `python -m salcr embed --out {folder}`,"
            " which resumes where it was stopped"
        )
    summary = files.read_json(folder / SUMMARY, Index, hint=_RERUN_HINT)
    if summary.get("format") != _FORMAT:
        raise SalcrError(f"{folder / SUMMARY}: is not of this version; {_RERUN_HINT}")
    return summary


def _as_cell(name: str) -> str:
    """Return a path that means the same and that a spreadsheet does not take for a formula."""
    return f"./{name}" if name.startswith(("=", "+", "-", "@")) else name


def _array_header(shape: tuple[int, int]) -> bytes:
    """Return the header of a .npy file with a float32 array."""
    header = io.BytesIO()
    kind = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, kind)
    return header.getvalue()


def _index_header(shape: tuple[int, int]) -> bytes:
    """Return the header of faiss's file format of a flat index.

    faiss can only write an index that is in memory as a whole. The header of an empty index holds
    the number of rows at byte 8, and ends with the number of floats.
    """
    import faiss

    header = bytearray(faiss.serialize_index(faiss.IndexFlatIP(shape[1])).tobytes())
    header[8:16] = shape[0].to_bytes(8, "little")
    header[-8:] = (shape[0] * shape[1]).to_bytes(8, "little")
    return bytes(header)
