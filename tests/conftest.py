"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores already
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings

from tests.support import faults, plans, tiny
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


def pytest_configure(config: pytest.Config) -> None:
    """Leave GPUs to `-m gpu`: elsewhere a job's `auto` is the CPU, whose bytes repeat.

    A process that had claimed the only GPU would also let the jobs that it starts wait for ever.
    """
    if "gpu" not in config.option.markexpr:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _cuda_is_available() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that request a `device` on the CPU and on the GPU, which is pretended without one.

    On a pretended one they see what a GPU would refuse, and the forms of code for GPUs.
    """
    if "device" in metafunc.fixturenames:
        gpu = pytest.param("cuda", marks=pytest.mark.gpu) if _cuda_is_available() else "pretended"
        metafunc.parametrize("device", ["cpu", gpu], indirect=True)


@pytest.fixture
def device(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Return a torch device; on the GPU, TF32 is off because its rounding would hide errors."""
    import torch

    if request.param == "pretended":
        from tests.support.pretended_gpu import CARD, pretended_gpu

        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # each test claims a card of its own
        with pretended_gpu():
            yield CARD
        return
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield torch.device(request.param)
    torch.backends.cudnn.allow_tf32 = before


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that the first of several parallel test processes creates for all of them."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(base / f"{name}.lock"):
        if not (base / f"{name}.made").exists():
            (base / name).mkdir()
            make(base / name)
            (base / f"{name}.made").touch()
    return base / name


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout's code in which the tiny workflow has run to completion.

    Its jobs ran in forks; slow tests and `make demo` start each job in a separate process.
    """

    def make(folder: Path) -> None:
        plans.copy_code(folder)
        words = ["--resources", "gpu=2", "--configfile", tiny.TINY_CONFIG]
        done = plans.snakemake(folder, *words, fork=True)
        assert done.returncode == 0, done.stdout
        assert "mAP" in done.stdout and "figures: results/tiny/figures\n" in done.stdout

    return made_once(tmp_path_factory, "finished_run", make)


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished folder, modification times included, that a test may change."""
    shutil.copytree(finished_run, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="session")
def stage_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with tiny data, raw and preprocessed, and stage one of trial 1.

    It contains `raw`, `data` and `round00`. All tests share it, so none may change it.
    """

    def make(folder: Path) -> None:
        assert tiny.pretrain(tiny.make_data(folder), folder) == 0

    return made_once(tmp_path_factory, "stage_one", make)


@pytest.fixture(scope="session")
def complete_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which every stage ran undisturbed; tests copy it and never change it."""
    return made_once(tmp_path_factory, "complete_run", faults.run_every_stage)
