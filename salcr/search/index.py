"""A search index on disk: `embed` writes it and `search` reads it.

A folder holds `index.faiss` or, if it is approximate, an index of each modality (factory.py),
`features.npy` (float32 [N, C]), `digests.npy` (the SHA-256 of each row's file), `files.csv` (the
image of each row), `skipped.csv` (files that are not images, and why) and `embed.json` (the model,
sizes, folders, and checksums of files). `embed.json` is written last: without it the folder is not
complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from salcr import files
from salcr.config import table_kinds
from salcr.config.index_kinds import Index
from salcr.errors import SalcrError
from salcr.log import say
from salcr.search import factory
from salcr.search.headers import array_header, index_header
from salcr.types import MODALITIES, Floats, Integers

SUMMARY = "embed.json"
INDEX, FEATURES, IMAGES, SKIPPED = "index.faiss", "features.npy", "files.csv", "skipped.csv"
DIGESTS = "digests.npy"
PARTS = {modality: f"index.{modality}.faiss" for modality in MODALITIES}
"""Of an approximate index."""
IMAGE_COLUMNS = ["folder", "file", "modality"]
CALIBRATION = "calibration.json"
"""That `calibrate` writes."""
FILES = (INDEX, *PARTS.values(), FEATURES, DIGESTS, IMAGES, SKIPPED, SUMMARY, CALIBRATION)
SKIPPED_COLUMNS = ["folder", "file", "reason"]
_FORMAT = 2
_RERUN_HINT = "run embed again"


class Hits(NamedTuple):
    """The nearest images of each of Q queries, nearest first."""

    rows: Integers
    """[Q, k], rows of the index; -1 where an approximate search finds fewer."""
    scores: Floats
    """[Q, k], cosine similarities in [-1, 1], float32."""


class SearchIndex(NamedTuple):
    """Features of images that can be searched."""

    parts: dict[str, factory.Part]
    """Modality -> its images; of an exact index, "all" -> all images."""
    images: pd.DataFrame
    """A line for each row of the index: number of its folder, file in it, modality."""
    summary: dict[str, Any]
    """Content of embed.json."""
    folder: Path

    def path(self, row: int) -> Path:
        """Return the path of a row's image when it was embedded."""
        line = self.images.iloc[row]
        return Path(self.summary["folders"][line["folder"]], line["file"])

    def rows_of(self, modalities: Iterable[str]) -> Integers:
        """Return the rows with images of the given modalities, ascending."""
        return np.flatnonzero(self.images["modality"].isin(list(modalities)))

    def features_of(self, rows: Integers) -> Floats:
        """Return the features of some rows, [R, C], unit rows.

        Raises:
            SalcrError: the file of the features is damaged.
        """
        if "all" in self.parts:
            return np.asarray(self.parts["all"].index.reconstruct_batch(rows), dtype=np.float32)
        return read_features(self.folder, self.summary)[rows]

    def search(self, features: Floats, modalities: Sequence[str], k: int) -> Hits:
        """Return the nearest images of some modalities.

        Args:
            features: [Q, C], unit rows of the queries.
            modalities: to search.
            k: number of hits per query.

        Returns:
            [Q, min(k, R)] hits, R the number of images of these modalities.
        """
        rows = self.rows_of(modalities)
        k = min(k, len(rows))
        if k == 0:
            return Hits(np.empty((len(features), 0), int), np.empty((len(features), 0), np.float32))
        if "all" not in self.parts:
            found = [self.parts[m].search(features, k) for m in modalities if m in self.parts]
            candidates, scores = (np.concatenate(side, axis=1) for side in zip(*found, strict=True))
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            return Hits(*(np.take_along_axis(one, order, axis=1) for one in (candidates, scores)))
        import faiss  # here, because embed's and search's --help do not need it

        parameters = faiss.SearchParameters(  # type: ignore[call-arg]
            sel=faiss.IDSelectorBatch(rows)
        )
        scores, hits = self.parts["all"].index.search(features, k, params=parameters)
        return Hits(hits, scores)


def write_index(
    folder: Path,
    blocks: Callable[[], Iterable[Floats]],
    *,
    images: pd.DataFrame,
    skipped: pd.DataFrame,
    digests: NDArray[np.uint8],
    summary: dict[str, Any],
    kind: str = "flat",
) -> None:
    """Write an index.

    A flat one compares a query with every row, so its hits are exactly those of evaluation. A
    search in 100,000 rows takes a tenth of a second. Only one block of features is in memory at a
    time; an approximate index is in memory as a whole.

    Args:
        folder: folder to write.
        blocks: returns the features of the images, unit rows, block by block; called twice.
        images: a line for each row, with IMAGE_COLUMNS.
        skipped: a line for each file that is not an image, with SKIPPED_COLUMNS.
        digests: [N, 32], SHA-256 of the images' files.
        summary: other content of embed.json; its `num_channels` is C.
        kind: flat (exact), ivf, hnsw, or pq.
    """
    shape = (len(images), summary["num_channels"])
    (folder / SUMMARY).unlink(missing_ok=True)
    files.write_blocks(folder / FEATURES, array_header(shape), blocks())
    header = array_header(digests.shape, "|u1")
    files.write_blocks(folder / DIGESTS, header, [digests])
    if kind == "flat":
        files.write_blocks(folder / INDEX, index_header(shape), blocks())
        written, names = {}, [INDEX]
    else:
        written = _write_parts(folder, images["modality"], kind, gpu=summary["device"] == "cuda")
        names = [PARTS[m] for m in written]
    for name in {INDEX, *PARTS.values()} - {*names}:  # of the index before
        (folder / name).unlink(missing_ok=True)
    for name, table, columns in (
        (IMAGES, images, IMAGE_COLUMNS),
        (SKIPPED, skipped, SKIPPED_COLUMNS),
    ):
        files.write_table(folder / name, table.assign(file=table["file"].map(_as_cell))[columns])
    checksums = {name: files.crc32(folder / name) for name in (*names, IMAGES, FEATURES, DIGESTS)}
    content = {"kind": kind, "parts": written, **summary}
    files.write_json(folder / SUMMARY, {"format": _FORMAT, "crc32": checksums, **content})


def _write_parts(
    folder: Path, modality: pd.Series[str], kind: str, *, gpu: bool
) -> dict[str, dict[str, Any]]:
    """Write an approximate index of each modality that there is; return what each is worth."""
    features = files.map_array(folder / FEATURES)
    rows = {m: np.flatnonzero(modality == m) for m in MODALITIES}
    written = {}
    for m, other in (MODALITIES, MODALITIES[::-1]):
        if len(rows[m]):
            asking = rows[other] if len(rows[other]) else rows[m]
            queries = factory.sample_queries(features, asking)
            path = folder / PARTS[m]
            part = factory.build(kind, path, features, rows[m], queries, gpu=gpu)
            say(
                f"{path}: {part['factory']}, width {part['width']}, recall@1 "
                f"{part['recall_at_1']:.1%}, recall@10 {part['recall_at_10']:.1%}"
            )
            written[m] = part
    return written


def read_features(folder: Path, summary: dict[str, Any]) -> Floats:
    """Return the features of an index, [N, C], memory-mapped.

    Raises:
        SalcrError: the file is missing or damaged.
    """
    return _map_array(folder, summary, FEATURES)


def read_images(folder: Path, summary: dict[str, Any]) -> pd.DataFrame:
    """Return a line for each row of an index, with IMAGE_COLUMNS.

    Raises:
        SalcrError: the file is missing or damaged, or names folders that the index does not have.
    """
    _verify(folder, summary, IMAGES)
    images = files.read_table(folder / IMAGES, table_kinds.INDEXED, hint=_RERUN_HINT)
    if images["folder"].max() >= len(summary["folders"]):
        raise SalcrError(f"{folder}: its files are not of one index; {_RERUN_HINT}")
    return images


def read_digests(folder: Path, summary: dict[str, Any]) -> NDArray[np.uint8]:
    """Return the SHA-256 of the images' files, [N, 32].

    Raises:
        SalcrError: the file is missing or damaged.
    """
    return _map_array(folder, summary, DIGESTS)


def _map_array(folder: Path, summary: dict[str, Any], name: str) -> NDArray[Any]:
    _verify(folder, summary, name)
    return files.map_array(folder / name)


def _verify(folder: Path, summary: dict[str, Any], name: str) -> None:
    """Compare a file with its checksum.

    Raises:
        SalcrError: it is missing or has another one.
    """
    if not (folder / name).exists():
        raise SalcrError(f"{folder / name}: no such file; {_RERUN_HINT}")
    if files.crc32(folder / name) != summary["crc32"].get(name):
        raise SalcrError(f"{folder / name}: is damaged or of another index; {_RERUN_HINT}")


def read_index(folder: Path) -> SearchIndex:
    """Return an index; its features are memory-mapped and read during a search.

    Raises:
        SalcrError: the index is not complete, or its files were changed.
    """
    import faiss

    summary = read_summary(folder)
    images = read_images(folder, summary)
    modality = images["modality"].to_numpy()
    exact: dict[str, dict[str, Any]] = {"all": {"factory": "Flat", "width": 0}}
    parts, features = {}, None
    for key, made in (summary.get("parts") or exact).items():
        path = folder / PARTS.get(key, INDEX)
        _verify(folder, summary, path.name)
        has_lists = made["factory"].startswith("IVF")
        flag = faiss.IO_FLAG_MMAP if has_lists else faiss.IO_FLAG_MMAP_IFC
        index = files.read(
            path,
            partial(faiss.read_index, str(path), flag),
            f"is not an index of faiss; {_RERUN_HINT}",
        )
        rows = np.flatnonzero((modality == key) | (key == "all"))
        if (has_codes := factory.has_codes(made["factory"])) and features is None:
            features = read_features(folder, summary)
        parts[key] = factory.Part(index, rows, made["width"], features if has_codes else None)
    num_channels = summary["num_channels"]
    fits = all((p.index.ntotal, p.index.d) == (len(p.rows), num_channels) for p in parts.values())
    if not fits or sum(len(part.rows) for part in parts.values()) != len(images):
        raise SalcrError(f"{folder}: its files are not of one index; {_RERUN_HINT}")
    return SearchIndex(parts, images, summary, folder)


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
