"""Indexes of faiss by name: exact, or approximate with a measured recall.

An approximate index holds the images of one modality. With those of both in one, the nearest lists
and the nearest nodes would be of the query's own modality, which a search leaves out.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from salcr.atomic import atomic_path
from salcr.log import say, warn
from salcr.types import Floats, Integers, evenly_spaced

KINDS = ("flat", "ivf", "hnsw", "pq")
"""Of indexes, by name."""
_FEWEST = {"ivf": 1_000, "hnsw": 1_000, "pq": 10_000}
"""Images of a modality below which its index is exact: faiss trains 256 centers of codes by 39."""
_LEAST_PER_LIST = 39  # images of the whole index, as faiss advises
_TRAINED_PER_LIST = 50  # images that the centers of the lists are computed from
_CODE_BYTES = (64, 48, 32, 24, 16, 8, 4, 2, 1)  # that faiss has on a GPU, too
_CHANNELS_PER_BYTE = 4  # at least
# Training codes by faiss's own 25 steps on 256 images for each of 256 centers takes ten times as
# long; hits are ordered by their features anyway.
_CODE_STEPS, _TRAINED_PER_CENTER = 10, 64
_CANDIDATES = 10  # images by code for each hit wanted, ordered by their features
_SAMPLE = 256  # queries whose exact neighbors are computed
_WANTED_RECALL = 0.99
_LEAST_GAIN = 0.001  # of a search that is twice as wide, once it finds half of the neighbors
_MOST_NODES = 1024  # efSearch
_BLOCK = 1 << 15  # rows in memory at a time


class Part(NamedTuple):
    """The index of one modality's images."""

    index: Any
    """Of faiss."""
    rows: Integers
    """[R], its images among all."""
    width: int
    """Lists (nprobe) or nodes (efSearch) that a search visits; 0: the index is exact."""
    features: Floats | None
    """[N, C] of all images, by which the images that codes suggest are ordered; else None."""

    def search(self, queries: Floats, k: int) -> tuple[Integers, Floats]:
        """Return rows and cosines [Q, k], largest first; -1 and -inf where there are fewer."""
        import faiss

        wanted = k if self.features is None else _CANDIDATES * k
        parameters = None
        if self.width and isinstance(self.index, faiss.IndexHNSW):
            width = max(self.width, wanted)
            parameters = faiss.SearchParametersHNSW(efSearch=width)  # type: ignore[attr-defined]
        elif self.width:
            parameters = faiss.SearchParametersIVF(nprobe=self.width)  # type: ignore[call-arg]
        scores, hits = self.index.search(queries, wanted, params=parameters)
        rows = np.where(hits < 0, -1, self.rows[hits])
        scores = np.where(hits < 0, -np.inf, scores).astype(np.float32)
        if self.features is not None:
            for query, of_query, cosines in zip(queries, rows, scores, strict=True):
                known = of_query >= 0
                cosines[known] = self.features[of_query[known]] @ query
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            rows, scores = (np.take_along_axis(one, order, axis=1) for one in (rows, scores))
        return rows, scores


def factory_string(kind: str, num_rows: int, num_channels: int) -> str:
    """Return faiss's description of the index of one modality.

    Args:
        kind: one of KINDS.
        num_rows: images of the modality.
        num_channels: C, width of the features.
    """
    if kind == "flat" or num_rows < _FEWEST[kind]:
        return "Flat"
    if kind == "hnsw":
        return "HNSW32"
    lists = f"IVF{max(1, min(round(4 * math.sqrt(num_rows)), num_rows // _LEAST_PER_LIST))}"
    if kind == "ivf":
        return f"{lists},Flat"
    most = max(1, num_channels // _CHANNELS_PER_BYTE)
    return f"{lists},PQ{next(n for n in _CODE_BYTES if n <= most and num_channels % n == 0)}"


def has_codes(factory: str) -> bool:
    """Return whether an index holds codes, by which hits are only suggested, of features."""
    return ",PQ" in factory


def build(
    kind: str, path: Path, features: Floats, rows: Integers, queries: Floats, *, gpu: bool
) -> dict[str, Any]:
    """Write the approximate index of one modality, and return how it is and what it is worth.

    Args:
        kind: one of KINDS.
        path: file to write.
        features: [N, C] of all images, unit rows; may be memory-mapped.
        rows: [R], images of the modality.
        queries: [Q, C], unit rows, with which the recall is measured.
        gpu: whether to train on a GPU, if faiss sees one.

    Returns:
        plain values: `factory`, `width` as in `Part`, and the shares `recall_at_1` and
        `recall_at_10` of the exact neighbors that are among as many hits.
    """
    import faiss

    factory = factory_string(kind, len(rows), features.shape[1])
    index = faiss.index_factory(features.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    if kind != "flat" and factory == "Flat":
        say(f"{path.name}: exact, since {len(rows)} images are too few for {kind}")
    if not index.is_trained:
        _train(index, features, rows, gpu=gpu)
    for start in range(0, len(rows), _BLOCK):
        index.add(np.ascontiguousarray(features[rows[start : start + _BLOCK]]))
    with atomic_path(path) as temporary:
        try:
            faiss.write_index(index, str(temporary))
        except RuntimeError as error:  # the disk is full, for instance
            raise OSError(str(error)) from None
    part = Part(index, rows, 0, features if has_codes(factory) else None)
    return {"factory": factory, **_measure(part, queries, exact_nearest(features, rows, queries))}


def sample_queries(features: Floats, rows: Integers) -> Floats:
    """Return the features of up to 256 evenly spaced rows."""
    return np.ascontiguousarray(features[rows[evenly_spaced(len(rows), _SAMPLE)]])


def exact_nearest(features: Floats, rows: Integers, queries: Floats, k: int = 10) -> Floats:
    """Return the k largest cosines of each query with some rows, [Q, min(k, R)], largest first."""
    best = np.empty((len(queries), 0), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        cosines = queries @ features[rows[start : start + _BLOCK]].T
        best = np.concatenate([best, cosines], axis=1)
        if best.shape[1] > k:
            best = np.partition(best, best.shape[1] - k, axis=1)[:, -k:]
    return -np.sort(-best, axis=1)


def _train(index: Any, features: Floats, rows: Integers, *, gpu: bool) -> None:
    """Compute the centers of the lists, and of the codes, from evenly spaced images."""
    import faiss

    most = max(_TRAINED_PER_LIST * index.nlist, _TRAINED_PER_CENTER << 8)
    sample = np.ascontiguousarray(features[rows[evenly_spaced(len(rows), most)]])
    if isinstance(index, faiss.IndexIVFPQ):
        # Of codes that are compared bit by bit, which ours are not; it takes 15 s.
        index.do_polysemous_training = False  # type: ignore[attr-defined]
        index.pq.cp.niter = _CODE_STEPS
        index.pq.cp.max_points_per_centroid = _TRAINED_PER_CENTER
    centers = None
    if gpu and faiss.get_num_gpus():
        centers = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(index.d))
        index.clustering_index = centers
    elif gpu:
        say("faiss sees no GPU: lists are computed on the CPU")
    index.train(sample)
    index.clustering_index = None  # before `centers` is gone


def _measure(part: Part, queries: Floats, exact: Floats) -> dict[str, Any]:
    """Return the smallest width with enough recall, and the recall.

    Widths are doubled, from 1 list or 16 nodes, until the recall is enough or does not grow, since
    that of codes is limited.
    """
    import faiss

    if isinstance(part.index, faiss.IndexFlat):
        return {"width": 0, "recall_at_1": 1.0, "recall_at_10": 1.0}
    is_graph = isinstance(part.index, faiss.IndexHNSW)
    width, most = (16, _MOST_NODES) if is_graph else (1, part.index.nlist)
    before = -1.0
    while True:
        _, scores = part._replace(width=width).search(queries, exact.shape[1])
        # Equal cosines count, whatever their images; sums differ in their rounding.
        first = float(np.mean(scores[:, 0] >= exact[:, 0] - 1e-5))
        ten = float(np.mean(scores >= exact[:, -1:] - 1e-5))
        if min(first, ten) >= _WANTED_RECALL:
            break
        if width >= most or (before > 0.5 and ten - before < _LEAST_GAIN):
            warn(
                f"recall@1 is {first:.1%}, recall@10 {ten:.1%}; a wider search hardly finds more, "
                "or is too slow"
            )
            break
        before, width = ten, min(2 * width, most)
    if isinstance(part.index, faiss.IndexIVFFlat) and 2 * width > most:
        warn(
            f"searches visit {width} of {most} lists, and take as long as exact ones; hnsw or pq "
            "may be faster"
        )
    return {"width": width, "recall_at_1": first, "recall_at_10": ten}
