"""One row of the benchmark: a computation of this project and a plain formulation of the same."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Row:
    """A computation to measure; both sides get the result of `prepare` and may not change it."""

    name: str
    wanted: str
    """The target, as text."""
    prepare: Callable[[], Any]
    """Return the inputs; not measured."""
    ours: Callable[[Any], Any]
    plain: Callable[[Any], Any]
    agree: Callable[[Any, Any], None]
    """Raise AssertionError unless the results of ours and plain, in this order, agree."""
    repeat: int = 3
    """Runs of each side, taken in turns."""


@dataclass(frozen=True)
class Measurement:
    """Time and memory of a row."""

    name: str
    wanted: str
    ours_seconds: float
    """Median over the runs."""
    plain_seconds: float
    ratio: float
    """Plain over ours, from the medians."""
    ours_peak_gb: float
    """Peak memory above that of the inputs."""
    plain_peak_gb: float

    def as_dict(self) -> dict[str, object]:
        """Return the fields by name."""
        return asdict(self)


def measure(row: Row) -> Measurement:
    """Run both sides in turns and return medians and peaks.

    Raises:
        AssertionError: the two sides do not agree.
    """
    inputs = row.prepare()
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    peaks: dict[str, list[float]] = {"ours": [], "plain": []}
    results: dict[str, Any] = {}
    for _ in range(row.repeat):
        for side, compute in (("ours", row.ours), ("plain", row.plain)):
            results.pop(side, None)
            results[side], took, peak = measure_call(partial(compute, inputs))
            seconds[side].append(took)
            peaks[side].append(peak)
    row.agree(results["ours"], results["plain"])
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    return Measurement(
        name=row.name,
        wanted=row.wanted,
        ours_seconds=medians["ours"],
        plain_seconds=medians["plain"],
        ratio=medians["plain"] / medians["ours"],
        ours_peak_gb=max(peaks["ours"]),
        plain_peak_gb=max(peaks["plain"]),
    )


def measure_call(compute: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result of a computation, its seconds, and its additional peak memory in GB."""
    _CLEAR.write_text("5", encoding="utf-8")  # resets the peak to the current size
    before = _kilobytes("VmRSS")
    started = time.perf_counter()
    result = compute()
    seconds = time.perf_counter() - started
    return result, seconds, (_kilobytes("VmHWM") - before) / 2**20


def run_in_subprocess(words: list[str], threads: int) -> dict[str, float] | None:
    """Return the JSON in the last line of `python -m benchmarks WORDS`, or None if it failed.

    In a separate process, earlier computations do not affect the peak, and the threads are set from
    the start.
    """
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        stdout=subprocess.PIPE,
        env={**os.environ, **dict.fromkeys(variables, str(threads))},
        encoding="utf-8",
        check=False,
    )
    if process.returncode:
        return None
    result: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return result


def _kilobytes(field: str) -> int:
    (line,) = (
        line
        for line in _STATUS.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"{field}:")
    )
    return int(line.split()[1])
