"""Fixtures that all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores already
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings

from tests.support import plans, tiny
from tests.support.helpers import GOLDEN, golden_arrays

settings.register_profile("salcr", deadline=None, max_examples=30, derandomize=True, database=None)
settings.load_profile("salcr")


@pytest.fixture(scope="session")
def golden() -> Any:
    """Return the loader of golden values: name of a file -> its arrays by name."""
    assert GOLDEN.is_dir()
    return golden_arrays


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a random generator that is the same in every run."""
    return np.random.default_rng(20250424)


def _cuda_is_available() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that ask for a `device` on the CPU and, where there is one, on the GPU."""
    if "device" in metafunc.fixturenames:
        devices: list[Any] = ["cpu"]
        if _cuda_is_available():
            devices.append(pytest.param("cuda", marks=pytest.mark.gpu))
        metafunc.parametrize("device", devices, indirect=True, scope="session")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a torch device; on the GPU without TF32, whose rounding would hide errors."""
    import torch

    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield torch.device(request.param)
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout's code in which the tiny workflow has run to its end.

    One for all processes that test side by side.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "finished"
    with FileLock(base / "finished.lock"):
        if not folder.exists():
            folder.mkdir()
            plans.copy_code(folder)
            words = ["--resources", "gpu=2", "--configfile", tiny.TINY_CONFIG]
            done = plans.snakemake(folder, *words)
            assert done.returncode == 0, done.stdout
            assert "mAP" in done.stdout and "figures: results/tiny/figures\n" in done.stdout
    return folder


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished folder, dates included, that a test may change."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"
