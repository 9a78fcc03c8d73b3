"""Indexes of random clusters: seconds and memory to build, queries a second, and recall."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.row import measure_call, run_in_subprocess
from salcr.search import factory
from salcr.search.index import IMAGE_COLUMNS, SKIPPED_COLUMNS, read_index, write_index
from salcr.types import Floats

_WIDTH = 2048
_IMAGES_OF_A_PERSON = 20  # half of them in each modality
_NOISE = 0.5  # beside a person's center: cosines of 0.8, as those of the demo's first hits
_BLOCK = 8192
_QUERIES = 512
_HITS = 10


def measure_search(size: int, kinds: Iterable[str], threads: int) -> list[dict[str, Any]]:
    """Measure indexes of one size, each kind in a separate process, and print a line for each.

    Args:
        size: images, half of them of each modality.
        kinds: of indexes.
        threads: CPU threads.

    Returns:
        for each kind what `measure_kind` returns.

    Raises:
        RuntimeError: a process failed; the reason is on its standard error.
    """
    results = []
    columns = ("build", "CPU", "peak", "on disk", "open", "queries/s", "recall@1", "recall@10")
    print(f"{'kind':<6}" + "".join(f"{name:>12}" for name in columns))
    for kind in kinds:
        measured = run_in_subprocess(
            ["--search", str(size), "--kind", kind, "--threads", str(threads)], threads
        )
        if measured is None:
            raise RuntimeError(f"an index {kind} of {size} images failed")
        results.append(measured)
        print(
            f"{kind:<6}{measured['build_seconds']:>10.1f} s{measured['build_cpu_seconds']:>10.1f} s"
            f"{measured['peak_gb']:>9.2f} GB"
            f"{measured['disk_gb']:>9.2f} GB{measured['open_seconds']:>10.1f} s"
            f"{measured['queries_per_second']:>12.1f}{measured['recall_at_1']:>12.1%}"
            f"{measured['recall_at_10']:>12.1%}",
            flush=True,
        )
    return results


def measure_kind(kind: str, size: int, threads: int, *, width: int = _WIDTH) -> dict[str, Any]:
    """Build and search an index in this process.

    Features are made while they are written, which is measured for the flat index and subtracted
    from no other: `build_seconds` has both. Pages of mapped files count as memory.

    Args:
        kind: of the index.
        size: images.
        threads: CPU threads.
        width: of the features.

    Returns:
        `kind`, `images`, `factory`, `width`, `build_seconds`, `build_cpu_seconds` of all threads,
        `peak_gb` of building, `disk_gb` of the index without the features, `open_seconds` with the
        checksums, `queries_per_second` in a batch and `queries_per_cpu_second`, which other jobs
        change less, `search_gb`, and the recalls of the exact neighbors, from other queries than
        those with which the index measured its own.
    """
    import faiss  # here, because the check of a GPU imports all tests without it

    faiss.omp_set_num_threads(threads)
    modality = ["visible"] * (size // 2) + ["infrared"] * (size - size // 2)
    summary = {
        "checkpoint": {"sha256": "", "round": 0, "trial": 0}, "num_channels": width, "key": "",
        "device": "cpu", "folders": ["/"], "num_pictures": {},
    }  # fmt: skip
    lines = [(0, f"{number}.png", one) for number, one in enumerate(modality)]
    images = pd.DataFrame(lines, columns=IMAGE_COLUMNS)
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)

        def build() -> None:
            write_index(
                folder,
                lambda: make_blocks(size, width),
                images=images,
                skipped=pd.DataFrame([], columns=SKIPPED_COLUMNS),
                digests=np.zeros((size, 32), np.uint8),
                summary=summary,
                kind=kind,
            )

        cpu = [time.process_time()]
        _, build_seconds, peak_gb = measure_call(build)
        cpu.append(time.process_time())
        index, open_seconds, _ = measure_call(lambda: read_index(folder))
        features = np.load(folder / "features.npy", mmap_mode="r")
        own = index.rows_of(["infrared"])
        # Between those by which the index measures itself.
        chosen = np.linspace(0, size // 2 - 1, 2 * _QUERIES + 1).astype(int)[1::2]
        queries = np.ascontiguousarray(features[chosen])
        exact = factory.exact_nearest(features, own, queries, _HITS)
        cpu.append(time.process_time())
        hits, seconds, search_gb = measure_call(lambda: index.search(queries, ["infrared"], _HITS))
        cpu.append(time.process_time())
        part = index.summary["parts"].get("infrared", {"factory": "Flat", "width": 0})
        return {
            "kind": kind,
            "images": size,
            "factory": part["factory"],
            "width": part["width"],
            "build_seconds": build_seconds,
            "build_cpu_seconds": cpu[1] - cpu[0],
            "peak_gb": peak_gb,
            "disk_gb": sum(path.stat().st_size for path in folder.glob("*.faiss")) / 2**30,
            "open_seconds": open_seconds,
            "queries_per_second": _QUERIES / seconds,
            "queries_per_cpu_second": _QUERIES / (cpu[3] - cpu[2]),
            "search_gb": search_gb,
            "recall_at_1": float(np.mean(hits.scores[:, 0] >= exact[:, 0] - 1e-5)),
            "recall_at_10": float(np.mean(hits.scores >= exact[:, -1:] - 1e-5)),
        }


def make_blocks(size: int, width: int) -> Iterator[Floats]:
    """Yield unit rows of random clusters, the same in every call; visible images come first."""
    num_people = max(1, size // _IMAGES_OF_A_PERSON)
    centers = np.random.default_rng(0).standard_normal((num_people, width), dtype=np.float32)
    shift = np.random.default_rng(1).standard_normal((2, width), dtype=np.float32)
    for start in range(0, size, _BLOCK):
        number = np.arange(start, min(start + _BLOCK, size))
        rows = centers[number % num_people] + shift[(number >= size // 2).astype(int)]
        noise = np.random.default_rng([2, start]).standard_normal(rows.shape, dtype=np.float32)
        rows += _NOISE * noise
        yield rows / np.linalg.norm(rows, axis=1, keepdims=True)


def print_kind(kind: str, size: int, threads: int) -> None:
    """Print what `measure_kind` returns as JSON, for the process that asked for it."""
    print(json.dumps(measure_kind(kind, size, threads)))
