"""How quickly a job reaches its first batch, and what it must not import on the way."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import tiny

HEAVY = {
    "matplotlib", "numba", "onnx", "onnxruntime", "scipy.optimize", "sklearn", "snakemake", "sympy",
    "torch._dynamo", "torchvision",
}  # fmt: skip
"""Modules whose import takes from a third of a second to several."""


_COMPUTING = (
    "pretrain",
    "associate",
    "evaluate",
    "analyze",
    "cluster_centers",
    "embed",
    "search",
    "serve",
    "calibrate",
    "export",
)


class Start(NamedTuple):
    """What a job wrote to standard error."""

    seconds: float
    """From the start of the process to the line before the first batch."""
    imported: set[str]
    """All modules of the whole run."""


@pytest.fixture(scope="module")
def start(stage_one: Path, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Return how a training job in a separate process starts."""
    folder = tmp_path_factory.mktemp("start")
    data, out = stage_one / "data", folder / "out"
    out.mkdir()
    (out / "round00").symlink_to(stage_one / "round00")
    assert tiny.associate(data, out, 1) == 0
    words = [sys.executable, "-X", "importtime", "-m", "salcr", *tiny.train_words(data, out, 1)]
    words += ["--curves", folder / "curves"]
    began, seconds, imported = time.monotonic(), None, set()
    with subprocess.Popen(
        [str(word) for word in words],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as job:
        assert job.stderr is not None
        for line in job.stderr:
            if line.startswith("import time:"):
                imported.add(line.rpartition("|")[2].strip())
            elif "first of 3 batches" in line:
                seconds = time.monotonic() - began
    assert job.returncode == 0 and seconds is not None
    return Start(seconds, imported)


def test_training_imports_nothing_heavy(start: Start) -> None:
    """A training job does not import libraries that only other stages or tests need."""
    assert {"torch", "salcr.losses.objective"} <= start.imported
    assert start.imported.isdisjoint(HEAVY)


def test_no_stage_imports_anything_heavy_to_start() -> None:
    """Computing stages need none of them before they run; scores come after the labels."""
    stages = ", ".join(f"salcr.stages.{name}" for name in _COMPUTING)
    code = f"import sys, {stages}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())


def test_the_first_batch_comes_soon(start: Start) -> None:
    """Three seconds on two free cores (2.2 measured), three times that if tests share them."""
    assert start.seconds < 9
