"""Several rounds in one job (`compute.rounds_per_job`): plans, and results equal to single jobs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import plans, tiny
from tests.support.faults import ENVIRONMENT
from tests.support.processes import job_of

TRIAL = Path("results/tiny/salcr/trial01")
FILES = ["labels.csv", "checkpoint.pt", "losses.csv", "optimizer.pt", "metrics.json"]
# One variant and trial, four rounds.
ROUNDS = ["rounds=4", "dataset={trials: [1]}", "plot={variants: [salcr]}"]


def options(per_job: object, *others: str) -> list[object]:
    """Return the command-line options of a run."""
    compute = f"compute={{rounds_per_job: {per_job}, threads: 1, device: cpu}}"
    return ["--configfile", tiny.TINY_CONFIG, "--config", *ROUNDS, compute, *others]


def targets(*rounds: int) -> list[str]:
    """Return the metrics of some rounds."""
    return [str(TRIAL / f"round{round_:02d}/metrics.json") for round_ in rounds]


def planned(directory: Path, per_job: object, *others: str) -> dict[str, int]:
    """Return rule -> number of jobs that are planned for the metrics of all rounds."""
    words = [*targets(1, 2, 3, 4), "--dry-run", *options(per_job, *others)]
    done = plans.snakemake(directory, *words, repository=directory)
    assert done.returncode == 0, done.stdout
    return plans.jobs_in(done.stdout)


def run(directory: Path, per_job: object, *rounds: int) -> None:
    """Compute the metrics of some rounds."""
    words = [*targets(*rounds), *options(per_job)]
    done = plans.snakemake(directory, *words, repository=directory, fork=True)
    assert done.returncode == 0, done.stdout


def contents(directory: Path) -> dict[str, bytes]:
    """Return the files of all rounds of stage two."""
    paths = [directory / TRIAL / f"round{r:02d}" / name for r in (1, 2, 3, 4) for name in FILES]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of code and results, four rounds by jobs of their own."""
    folder = tmp_path_factory.mktemp("single")
    plans.copy_code(folder)
    run(folder, 1, 1, 2, 3, 4)
    return folder


@pytest.fixture(scope="module")
def pairs(single: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return such a folder, two rounds a job; data and stage one are those of the other."""
    folder = tmp_path_factory.mktemp("pairs") / "copy"
    shutil.copytree(single, folder)
    for round_ in (1, 2, 3, 4):
        shutil.rmtree(folder / TRIAL / f"round{round_:02d}")
    run(folder, 2, 1, 2, 3, 4)
    return folder


def test_results_are_equal(single: Path, pairs: Path) -> None:
    """Labels, networks, states, losses and metrics of all rounds are equal, byte for byte."""
    assert contents(pairs) == contents(single)
    assert not list(pairs.rglob("kept"))


@pytest.mark.parametrize("per_job", [1, 2, 3, 100, "all"])
@pytest.mark.parametrize("folder", ["single", "pairs"])
def test_another_number_reruns_nothing(
    folder: str, per_job: object, request: pytest.FixtureRequest
) -> None:
    """Results of one or two rounds a job are kept, whatever the number is now."""
    assert planned(request.getfixturevalue(folder), per_job) == {}


def test_more_rounds(pairs: Path) -> None:
    """Rounds that are added are divided by the present number, the others remain."""
    words = [str(TRIAL / "round09/metrics.json"), "--dry-run", *options(3, "rounds=9")]
    words = [word for word in words if word != "rounds=4"]
    done = plans.snakemake(pairs, *words, repository=pairs)
    expected = {"rounds_05_06": 1, "rounds_07_09": 1, "evaluate_07_09": 1}
    assert plans.jobs_in(done.stdout) == expected


def test_a_changed_key(pairs: Path) -> None:
    """What is trained again is divided by the present number; an evaluation trains nothing."""
    training = planned(pairs, "all", "train={learning_rate: 2.0e-3}")
    assert training == {"rounds_01_04": 1, "evaluate_01_04": 1}
    evaluation = planned(pairs, "all", "evaluate={rankings: 3}")
    assert evaluation == {"evaluate_01_02": 1, "evaluate_03_04": 1}
    words = [*targets(2, 4), "--dry-run", *options("all", "evaluate_every=2")]
    assert plans.jobs_in(plans.snakemake(pairs, *words, repository=pairs).stdout) == {}


def test_a_deleted_round(pairs: Path, single: Path, tmp_path: Path) -> None:
    """Its job and what follows run again, divided as they were, with equal bytes."""
    folder = tmp_path / "copy"
    shutil.copytree(pairs, folder)
    shutil.rmtree(folder / TRIAL / "round01")
    names = [f"{stage}_{span}" for stage in ("rounds", "evaluate") for span in ("01_02", "03_04")]
    assert planned(folder, 1) == dict.fromkeys(names, 1)
    run(folder, 1, 1, 2, 3, 4)
    assert contents(folder) == contents(single)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_job_resumes(single: Path, tmp_path: Path, sent: signal.Signals) -> None:
    """A job of four rounds that is killed after its second continues there, with equal bytes.

    Snakemake deletes the outputs of the job that failed. The number may be another one by then.
    """
    folder = tmp_path / "copy"
    shutil.copytree(single, folder)
    for round_ in (1, 2, 3, 4):
        shutil.rmtree(folder / TRIAL / f"round{round_:02d}")
    words = [*plans.command(folder), "--cores", "1", "--directory", folder, *targets(4)]
    process = subprocess.Popen(
        list(map(str, [*words, *options("all")])), env=ENVIRONMENT, start_new_session=True
    )
    index = folder / TRIAL / "kept/kept.json"
    while not (index.exists() and "round02" in index.read_text()):
        assert process.poll() is None
        time.sleep(0.002)
    job = job_of("rounds", process.pid)
    assert job is not None
    os.kill(job, sent)
    assert process.wait() == 1
    assert not (folder / TRIAL / "round01/checkpoint.pt").exists()
    run(folder, 2, 1, 2, 3, 4)
    log = next((folder / "results/tiny/logs/rounds").glob("*.log")).read_text()
    assert re.search("rounds 1 to [23] are kept", log)
    assert contents(folder) == contents(single)
