"""The workflow on a real SLURM with two fake GPUs, whose own records show what happened."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.plans import planned
from tests.support.slurm_cluster import Cluster, running_cluster, wait_for
from tests.support.slurm_profile import read_profile, request
from tests.support.slurm_runs import jobs_of, python_of, rule_of, running, started, used_together

pytestmark = pytest.mark.slurm

ONE_TRIAL = ("--config", "dataset={trials: [1]}")
GPU_RULES = {"pretrain", "associate", "train", "evaluate", "analyze", "cluster_centers"}


class Run(NamedTuple):
    """A finished run: its folder, and the names of the jobs that were stopped in the meantime."""

    folder: Path
    killed: str
    cancelled: str


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Yield a cluster that ends with the tests of this module."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def run(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return one trial of the tiny workflow, with one job killed and one cancelled."""
    folder = tmp_path_factory.mktemp("slurm")
    with started(cluster, folder, *ONE_TRIAL) as snakemake:
        job, killed = wait_for("associate", lambda: running(cluster, "associate"), 300)[0]
        os.kill(wait_for("its process", lambda: python_of(cluster, job)), signal.SIGKILL)
        job, cancelled = wait_for("train", lambda: running(cluster, "train"), 300)[0]
        cluster.ask("scancel", job)
        assert snakemake.wait(900) == 0
    return Run(folder, killed, cancelled)


def test_stopped_jobs_run_again_and_the_workflow_ends(
    cluster: Cluster, run: Run, tmp_path: Path
) -> None:
    """A job killed with -9 and one ended by scancel run twice, all others of the plan once."""
    assert (run.folder / "results/tiny/summary.csv").exists()
    states = defaultdict(list)
    for job in jobs_of(cluster, run.folder):
        states[job["Comment"]].append(job["JobState"])
    assert states.pop(run.killed) == ["FAILED", "COMPLETED"]
    assert states.pop(run.cancelled) == ["CANCELLED", "COMPLETED"]
    assert all(ends == ["COMPLETED"] for ends in states.values()), states
    assert len(states) + 2 == sum(planned(tmp_path, *ONE_TRIAL).values())


def test_gpu_jobs_run_two_at_a_time_on_different_devices(cluster: Cluster, run: Run) -> None:
    """Prolog and epilog saw both GPUs in use at once, each by one job: no more than two ran."""
    names = {job["JobId"]: job["Comment"] for job in jobs_of(cluster, run.folder)}
    gpus = {job.job: job.gpus for job in cluster.allocations()}
    for job, name in names.items():
        assert (gpus[job] in {"0", "1"}) == (rule_of(name) in GPU_RULES), name
    together = used_together(cluster)
    assert together and {*map(frozenset, together)} == {frozenset("01")}


def test_a_log_names_the_job_and_its_gpu(cluster: Cluster, run: Run) -> None:
    """The log of each stage on a GPU contains SLURM's job and the device seen by the prolog."""
    gpus = {job.job: job.gpus for job in cluster.allocations()}
    logs = run.folder / "results/tiny/logs"
    texts = [path.read_text() for rule in GPU_RULES for path in (logs / rule).glob("*.log")]
    names = {job["Comment"] for job in jobs_of(cluster, run.folder)}
    assert len(texts) == len([name for name in names if rule_of(name) in GPU_RULES])
    for text in texts:
        line = re.search(r"SLURM: job (\d+) on \S+, CUDA_VISIBLE_DEVICES=(\d+)\n", text)
        assert line and gpus[line[1]] == line[2]


def test_jobs_ask_for_what_the_profile_says(cluster: Cluster, run: Run) -> None:
    """Partition, minutes and memory reach SLURM; the second attempt gets twice the memory."""
    profile = read_profile()
    tries: dict[str, int] = defaultdict(int)
    for job in jobs_of(cluster, run.folder):
        name, rule = job["Comment"], rule_of(job["Comment"])
        tries[name] += 1
        if rule in GPU_RULES:
            partition, minutes, memory = request(profile, rule, tries[name])
            assert job["Partition"] == partition
            assert f"mem={memory}M," in job["TRES"]
            assert job["TimeLimit"] == f"{minutes // 60:02}:{minutes % 60:02}:00"
        else:
            assert job["Partition"] == "cpu"
    assert sorted(tries.values())[-3:] == [1, 2, 2]


def test_ctrl_c_leaves_no_job(cluster: Cluster, run: Run, tmp_path: Path) -> None:
    """Of three evaluations two run and one waits; after Ctrl-C no job and no lock is left."""
    shutil.copytree(run.folder, tmp_path, dirs_exist_ok=True)
    with started(cluster, tmp_path, *ONE_TRIAL, "--forcerun", "evaluate") as snakemake:
        wait_for("running jobs", lambda: len(running(cluster, "evaluate")) == 2)
        wait_for("three jobs", lambda: len(cluster.ask("squeue", "--noheader").splitlines()) == 3)
        os.killpg(snakemake.pid, signal.SIGINT)
        assert snakemake.wait(60) != 0
        wait_for("an empty queue", lambda: not cluster.ask("squeue", "--noheader"), 20)
    assert [job["JobState"] for job in jobs_of(cluster, tmp_path)] == ["CANCELLED"] * 3
    target = "results/tiny/preprocess/preprocess.json"
    with started(cluster, tmp_path, target, *ONE_TRIAL) as snakemake:
        assert snakemake.wait(60) == 0
