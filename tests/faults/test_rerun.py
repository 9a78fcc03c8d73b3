"""A finished workflow with damaged files or changed dates: rejected or repaired, same numbers."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.test_kills import RESULTS, TARGETS, command, dry_run, results, started
from tests.support import faults

STAGE_ONE = RESULTS / "salcr/trial01/round00"
ROUND = RESULTS / "salcr/trial01/round01"


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the workflow ran to completion."""
    directory = tmp_path_factory.mktemp("finished_run")
    assert started(directory).wait() == 0, (directory / "output.txt").read_text()
    return directory


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished folder, modification times included, that a test may damage."""
    shutil.copytree(finished_run, tmp_path / "copy")
    return tmp_path / "copy"


def run_workflow(run_copy: Path, *words: object, targets: list[Path] = TARGETS) -> tuple[int, str]:
    """Run the workflow; return its status and its output."""
    done = subprocess.run(
        command(run_copy, *words, targets=targets),
        env=faults.ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_dates_alone_plan_nothing(run_copy: Path) -> None:
    """With all dates in the past, the future, or in random order: contents are compared instead."""
    paths = [path for name in ("data", "results") for path in (run_copy / name).rglob("*")]
    draw, now, year = random.Random(1), time.time(), 365 * 24 * 3600
    for first, last in ((-20, -20), (9, 9), (-9, 9), (-1, 0)):
        for path in paths:
            date = now + draw.uniform(first, last) * year
            os.utime(path, (date, date))
        assert "Nothing to be done" in dry_run(run_copy), (first, last)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["visible.npy", "infrared.npy", "manifest.csv", "preprocess.json"])
def test_damaged_images_are_refused_and_recreated(
    finished_run: Path, run_copy: Path, name: str
) -> None:
    """The command in the message repairs them: the same bytes, and nothing is trained again."""
    path = RESULTS / "preprocess" / name
    faults.flip(run_copy / path)
    (run_copy / ROUND / "checkpoint.pt").unlink()
    target = [ROUND / "checkpoint.pt"]
    # Train only, so that stage one, whose input may have changed as well, does not run.
    status, _ = run_workflow(run_copy, "--allowed-rules", "train", targets=target)
    log = (run_copy / RESULTS / "logs/train/salcr-trial01-round01.log").read_text()
    assert status == 1 and str(path) in faults.the_error(log)
    assert "--forcerun preprocess --until preprocess" in faults.the_error(log)
    status, output = run_workflow(run_copy, "--forcerun", "preprocess", "--until", "preprocess")
    assert status == 0 and "rule pretrain" not in output
    before = (run_copy / STAGE_ONE / "checkpoint.pt").stat().st_mtime_ns
    assert run_workflow(run_copy, targets=target)[0] == 0
    assert (run_copy / STAGE_ONE / "checkpoint.pt").stat().st_mtime_ns == before
    assert results(run_copy) == results(finished_run)


@pytest.mark.slow
@pytest.mark.parametrize("path", [STAGE_ONE / "checkpoint.pt", ROUND / "labels.csv"])
def test_refused_files_are_recreated_once_deleted(
    finished_run: Path, run_copy: Path, path: Path
) -> None:
    """A damaged file passed between jobs is named, and once deleted recreated with equal bytes."""
    faults.flip(run_copy / path)
    status, _ = run_workflow(run_copy)
    assert status == 1
    logs = (run_copy / RESULTS / "logs").rglob("*.log")
    messages = [faults.the_error(log.read_text()) for log in logs if "error: " in log.read_text()]
    assert messages and all(str(path) in line and "delete it" in line for line in messages)
    (run_copy / path).unlink()
    assert run_workflow(run_copy)[0] == 0
    final = ("summary.csv", "trials.csv", "cmc.csv", "label_quality.csv", "losses.csv")
    actual, expected = results(run_copy), results(finished_run)
    assert all(actual[Path(name)] == expected[Path(name)] for name in final)
    assert all(actual[name] == expected[name] for name in actual)  # what exists is right
    missing = [RESULTS / name for name in expected if name not in actual]
    assert missing and run_workflow(run_copy, targets=missing)[0] == 0
    assert results(run_copy) == expected
