"""The state that the sections of the check share: device, sizes, time, and results."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from salcr.config.loading import DEFAULT_CONFIG, merge, validate
from salcr.config.schema import Config
from salcr.data.store import Images, Split
from salcr.files import read_yaml
from salcr.types import MODALITIES

EXPECTED = Path(__file__).with_name("expected.yaml")
IMAGES_OF_EACH = 10
_UNKNOWN = "not measured"

Expected = dict[str, dict[str, str]]
"""Section -> row -> what it should show, as text."""


class Check:
    """One run of the check.

    Args:
        device: "cuda" or, to rehearse, "cpu".
        small: whether networks, images and batches are small.
        out: folder for results and logs.
        budget: seconds after which no section and no row starts.
    """

    def __init__(self, device: str, *, small: bool, out: Path, budget: float) -> None:
        self.device, self.small, self.out = torch.device(device), small, out
        self.on_gpu = self.device.type == "cuda"
        self.results: dict[str, Any] = {}
        self.expected: Expected = {} if small else read_yaml(EXPECTED)
        self.cores = len(os.sched_getaffinity(0))
        self.threads = 1 if small else min(self.settings.compute.threads, self.cores)
        torch.set_num_threads(self.threads)
        self.num_images = 240 if small else 2060
        self._started, self._budget = time.monotonic(), budget
        out.mkdir(parents=True, exist_ok=True)
        self.log = (out / "check.log").open("w", encoding="utf-8")

    @cached_property
    def settings(self) -> Config:
        """The configuration: the paper's, or a small one."""
        changes: dict[str, Any] = {"model": {"weights": "random"}}
        if self.small:
            changes["model"] |= {"backbone": "resnet18", "width": 16}
            changes["preprocess"] = {"height": 96, "width": 48}
        return validate(merge(read_yaml(DEFAULT_CONFIG), changes))

    def split(self, num_images: int) -> Split:
        """Return random images of the configured size, as many of each modality."""
        rng, rows = np.random.default_rng(0), np.arange(num_images)
        shape = (num_images, self.settings.preprocess.height, self.settings.preprocess.width, 3)
        sides = {}
        for modality in MODALITIES:
            array = rng.integers(256, size=shape, dtype=np.uint8)
            sides[modality] = Images(array, rows, np.ones_like(rows))
        return Split(sides, data_hash="", layout="regdb")

    @property
    def time_is_up(self) -> bool:
        """Whether the budget is spent."""
        return time.monotonic() - self._started > self._budget

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"[{self.elapsed:4.0f} s] {text}", flush=True)

    def keep(self, section: str, row: str, value: Any) -> None:
        """Store and print a result, beside what is expected, and write all of them."""
        self.results.setdefault(section, {})[row] = value
        self.write()
        predicted = self.expected.get(section, {}).get(row)
        beside = f"   (predicted: {predicted})" if predicted else ""
        self.say(f"{section}, {row}: {as_text(value)}{beside}")

    def write(self) -> None:
        """Write the results as JSON, and beside the predictions as a table."""
        text = json.dumps({"results": self.results, "predicted": self.expected}, indent=1)
        (self.out / "check.json").write_text(text, encoding="utf-8")
        table = "\n".join(table_lines(self.expected, self.results))
        (self.out / "check.md").write_text(table + "\n", encoding="utf-8")

    def seconds(self, compute: Callable[[], object], repeat: int = 1) -> float:
        """Return the median seconds of a computation, the device's work included."""
        taken = []
        for _ in range(repeat):
            self.synchronize()
            started = time.perf_counter()
            compute()
            self.synchronize()
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    def synchronize(self) -> None:
        """Wait until the device has finished."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def run(self, *words: object, limit: float) -> subprocess.CompletedProcess[str]:
        """Run `python -m WORDS` from the checkout; its output is kept in the log, too.

        Raises:
            subprocess.TimeoutExpired: it took longer than `limit` seconds.
        """
        line = [sys.executable, "-m", *map(str, words)]
        done = subprocess.run(
            line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, check=False,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
        print(f"$ python -m {' '.join(line[2:])}\n{done.stdout}", file=self.log, flush=True)
        return done


def as_text(value: Any) -> str:
    """Return a result as it is shown: numbers with three digits."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {as_text(one)}" for name, one in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table_lines(expected: Expected, results: dict[str, Any]) -> list[str]:
    """Return the lines of a Markdown table of all rows, measured and predicted."""
    lines = ["| section | what | measured | predicted |", "|---|---|---|---|"]
    for section in dict.fromkeys([*expected, *results]):
        predicted, measured = expected.get(section, {}), results.get(section, {})
        for row in dict.fromkeys([*predicted, *measured]):
            shown = as_text(measured[row]) if row in measured else _UNKNOWN
            lines.append(f"| {section} | {row} | {shown} | {predicted.get(row, '')} |")
    return lines
