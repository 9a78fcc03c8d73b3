"""Search an index for the people of pictures: what `search` and `serve` have in common."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from salcr import files
from salcr.config.schema import Numerics
from salcr.errors import SalcrError
from salcr.log import escape_name
from salcr.search.embedder import Embedder, read_embedder
from salcr.search.images import guess_modality
from salcr.search.index import Hits, SearchIndex, read_features, read_index
from salcr.types import MODALITIES, Floats


class Query(NamedTuple):
    """A query image and its hits."""

    path: Path
    modality: str
    guessed: bool
    hits: list[dict[str, Any]]
    """Nearest first: rank, score, row, modality and path of each."""


def read_index_of(folder: Path, checkpoint: Path) -> SearchIndex:
    """Return an index of the features of a network.

    Raises:
        SalcrError: the index is damaged, or of another network, whose features cannot be compared.
    """
    index = read_index(folder)
    digest = index.summary["checkpoint"]["sha256"]
    if not checkpoint.is_file():
        raise SalcrError(f"{checkpoint}: no such file")
    if (other := files.sha256(checkpoint)) != digest:
        raise SalcrError(
            f"{folder}: was made with another model (sha256 {digest[:12]}..., not "
            f"{other[:12]}... of {checkpoint}); use that model, or run embed again"
        )
    return index


def searched(modality: str, among: str) -> list[str]:
    """Return the modalities that are searched for a query of one, among "other" or "all"."""
    return [m for m in MODALITIES if among == "all" or m != modality]


class Searcher:
    """An index and its network, in memory."""

    def __init__(self, index: SearchIndex, embedder: Embedder, *, threads: int) -> None:
        """Store them.

        Args:
            index: of `read_index_of`.
            embedder: the network of the index.
            threads: of the search.

        Raises:
            SalcrError: their features differ in their width.
        """
        if index.summary["num_channels"] != embedder.network.num_channels:
            raise SalcrError(f"{index.folder}: was made with another model; run embed again")
        self.index, self.embedder, self.threads = index, embedder, threads

    @classmethod
    def read(
        cls,
        index: SearchIndex,
        checkpoint: Path,
        device: torch.device,
        numerics: Numerics,
        *,
        threads: int,
    ) -> Searcher:
        """Return the searcher of an index and the checkpoint of its network."""
        return cls(index, read_embedder(checkpoint, device, numerics), threads=threads)

    def search(
        self,
        paths: Sequence[Path],
        images: Sequence[NDArray[np.uint8]],
        modality: str,
        *,
        among: str,
        top: int,
    ) -> list[Query]:
        """Return the nearest images of queries.

        Args:
            paths: of the queries, by which they are named.
            images: [H, W, 3] of the network's size, one for each.
            modality: of all queries, or "auto" (guessed one by one).
            among: search images of the "other" modality, or "all".
            top: number of hits of each query, or fewer if there are fewer images.

        Raises:
            SalcrError: the index has no images of the modality to search.
        """
        guessed = modality == "auto"
        modalities = [guess_modality(image) if guessed else modality for image in images]
        features = self.embedder.features(np.stack(images), modalities)
        queries: dict[int, Query] = {}
        for one in sorted(set(modalities)):
            positions = np.flatnonzero(np.array(modalities) == one)
            name = str(paths[positions[0]])
            listed = self._nearest(features[positions], one, name, among=among, top=top)
            for position, hits in zip(positions.tolist(), listed, strict=True):
                queries[position] = Query(paths[position], one, guessed, hits)
        return [queries[position] for position in range(len(paths))]

    def search_row(self, row: int, *, among: str, top: int) -> Query:
        """Return an indexed image with its nearest images, by its stored feature.

        Its file need not be there any more. Arguments and errors are those of `search`.
        """
        path, modality = self.index.path(row), str(self.index.images["modality"].iloc[row])
        feature = self._features_of(np.array([row]))
        (hits,) = self._nearest(feature, modality, str(path), among=among, top=top)
        return Query(path, modality, False, hits)

    def _nearest(
        self, features: Floats, modality: str, name: str, *, among: str, top: int
    ) -> list[list[dict[str, Any]]]:
        """Return the hits of queries of one modality, the first of which is named."""
        import faiss  # here, as in salcr/search/index.py

        wanted = searched(modality, among)
        if len(self.index.rows_of(wanted)) == 0:
            raise SalcrError(
                f"{self.index.folder}: has no {' or '.join(wanted)} images for the {modality} "
                f"query {escape_name(name)}; use --among all, or --modality if the query is not "
                f"{modality}"
            )
        faiss.omp_set_num_threads(self.threads)  # of this thread; the default is all cores
        hits = self.index.search(features, wanted, top)
        return [_list_hits(self.index, hits, number) for number in range(len(features))]

    def _features_of(self, rows: NDArray[np.int64]) -> Floats:
        return self.index.features_of(rows) if "all" in self.index.parts else self._stored[rows]

    @cached_property
    def _stored(self) -> Floats:
        """Features of an approximate index, whose file is verified once."""
        return read_features(self.index.folder, self.index.summary)


def record(
    searcher: Searcher, queries: Sequence[Query], scores: dict[str, float]
) -> dict[str, Any]:
    """Return queries and hits as plain values, with the index and network that they are of.

    Args:
        searcher: that returned them.
        queries: with the hits to list.
        scores: the limits of the hits, see `calibration.Limits`; empty if there are none.
    """
    content: dict[str, Any] = {
        "index": str(searcher.index.folder),
        "checkpoint": searcher.embedder.origin,
    }
    if scores:
        content["min_score"] = scores
    return content | {"queries": [{**one._asdict(), "path": str(one.path)} for one in queries]}


def _list_hits(index: SearchIndex, hits: Hits, number: int) -> list[dict[str, Any]]:
    """Return the hits of one query as plain values, nearest first."""
    return [
        {
            "rank": rank,
            "score": float(score),
            "row": int(row),
            "modality": index.images["modality"].iloc[row],
            "path": str(index.path(row)),
        }
        for rank, (row, score) in enumerate(
            zip(hits.rows[number], hits.scores[number], strict=True), start=1
        )
        if row >= 0
    ]
