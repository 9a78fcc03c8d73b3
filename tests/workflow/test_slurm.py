"""The workflow on a real SLURM with two fake GPUs, whose own records show what happened."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pytest

from salcr.files import read_yaml
from tests.support import tiny
from tests.support.plans import REPOSITORY, command
from tests.support.slurm_cluster import Cluster, running_cluster, wait_for

pytestmark = pytest.mark.slurm

PROFILE = REPOSITORY / "profiles/slurm"
# How long to wait before first asking how a job ended; the default, 40, spares large clusters.
FIRST_QUESTION = ("--slurm-init-seconds-before-status-checks", "1")
GPU_RULES = {"pretrain", "associate", "train", "evaluate", "analyze", "cluster_centers"}


def rule_of(name: str) -> str:
    """Return the rule of a job named as the plugin does, rule_train_wildcards_salcr_01_01."""
    return name.removeprefix("rule_").partition("_wildcards_")[0]


@contextmanager
def started(cluster: Cluster, folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run snakemake with the profile, as in its own terminal; show its output on failure."""
    words = ("--configfile", str(tiny.TINY_CONFIG), *FIRST_QUESTION, *words)
    output = folder / "snakemake.out"
    with output.open("w") as file:
        snakemake = subprocess.Popen(
            # What a shell starts in the background ignores Ctrl-C, and so do its children.
            ["env", "--default-signal=INT", *command(), "--profile", PROFILE, *words],
            cwd=folder,
            env=cluster.environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield snakemake
    except BaseException:
        print(output.read_text())
        raise
    finally:
        snakemake.kill()


def jobs_of(cluster: Cluster, folder: Path) -> list[dict[str, str]]:
    """Return SLURM's records of the jobs that were submitted from a folder."""
    return [job for job in cluster.jobs() if job["WorkDir"] == str(folder)]


def running(cluster: Cluster, rule: str) -> list[list[str]]:
    """Return [id, name] of the running jobs of a rule, as listed by squeue."""
    lines = cluster.ask("squeue", "--noheader", "--states=running", "--format=%i %k").splitlines()
    return [[job, name] for job, name in map(str.split, lines) if rule_of(name) == rule]


def python_of(cluster: Cluster, job: str) -> int | None:
    """Return the process in which a SLURM job runs its stage, or None if it does not yet."""
    try:
        lines = cluster.ask("scontrol", "listpids", job).splitlines()[1:]
    except subprocess.CalledProcessError:  # SLURM does not know it yet
        return None
    for process in (Path("/proc", line.split()[0]) for line in lines):
        if process.exists() and b"\0-m\0salcr\0" in (process / "cmdline").read_bytes():
            return int(process.name)
    return None


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
    """Return the tiny workflow run through SLURM, with one job killed and one cancelled."""
    folder = tmp_path_factory.mktemp("slurm")
    with started(cluster, folder) as snakemake:
        job, killed = wait_for("associate", lambda: running(cluster, "associate"), 300)[0]
        os.kill(wait_for("its process", lambda: python_of(cluster, job)), signal.SIGKILL)
        job, cancelled = wait_for("train", lambda: running(cluster, "train"), 300)[0]
        cluster.ask("scancel", job)
        assert snakemake.wait(900) == 0
    return Run(folder, killed, cancelled)


def test_stopped_jobs_run_again_and_the_workflow_ends(cluster: Cluster, run: Run) -> None:
    """A job killed with -9 and one ended by scancel each run a second time; no other job does."""
    assert (run.folder / "results/tiny/summary.csv").exists()
    states = defaultdict(list)
    for job in jobs_of(cluster, run.folder):
        states[job["Comment"]].append(job["JobState"])
    assert states.pop(run.killed) == ["FAILED", "COMPLETED"]
    assert states.pop(run.cancelled) == ["CANCELLED", "COMPLETED"]
    assert len(states) == 35 and all(ends == ["COMPLETED"] for ends in states.values()), states


def test_gpu_jobs_run_two_at_a_time_on_different_devices(cluster: Cluster, run: Run) -> None:
    """Prolog and epilog saw both GPUs in use at once, each by one job: no more than two ran."""
    names = {job["JobId"]: job["Comment"] for job in jobs_of(cluster, run.folder)}
    gpus = {job.job: job.gpus for job in cluster.allocations()}
    for job, name in names.items():
        assert (gpus[job] in {"0", "1"}) == (rule_of(name) in GPU_RULES), name
    together = [
        (one.gpus, other.gpus)
        for one, other in combinations(cluster.allocations(), 2)
        if "none" not in (one.gpus, other.gpus)
        and max(one.start, other.start) < min(one.end, other.end)
    ]
    assert together and {*map(frozenset, together)} == {frozenset("01")}


def test_a_log_names_the_job_and_its_gpu(cluster: Cluster, run: Run) -> None:
    """The log of each stage on a GPU contains SLURM's job and the device seen by the prolog."""
    gpus = {job.job: job.gpus for job in cluster.allocations()}
    logs = run.folder / "results/tiny/logs"
    texts = [path.read_text() for rule in GPU_RULES for path in (logs / rule).glob("*.log")]
    assert len(texts) == 20
    for text in texts:
        line = re.search(r"SLURM: job (\d+) on \S+, CUDA_VISIBLE_DEVICES=(\d+)\n", text)
        assert line and gpus[line[1]] == line[2]


def test_jobs_ask_for_what_the_profile_says(cluster: Cluster, run: Run) -> None:
    """Partition, minutes and memory reach SLURM; the second attempt gets twice the memory."""
    profile = read_yaml(PROFILE / "config.yaml")
    tries: dict[str, int] = defaultdict(int)
    for job in jobs_of(cluster, run.folder):
        name, rule = job["Comment"], rule_of(job["Comment"])
        tries[name] += 1
        expected = profile["set-resources"].get(rule, profile["default-resources"])
        assert job["Partition"] == expected["slurm_partition"]
        if rule in GPU_RULES:
            memory, minutes = (
                int(expected[key].removesuffix(" * attempt")) * tries[name]
                for key in ("mem_mb", "runtime")
            )
            assert f"mem={memory}M," in job["TRES"]
            assert job["TimeLimit"] == f"{minutes // 60:02}:{minutes % 60:02}:00"
    assert sorted(tries.values())[-3:] == [1, 2, 2]


def test_ctrl_c_leaves_no_job(cluster: Cluster, run: Run, tmp_path: Path) -> None:
    """Of six evaluations two run and four wait; after Ctrl-C no job and no lock is left."""
    shutil.copytree(run.folder, tmp_path, dirs_exist_ok=True)
    with started(cluster, tmp_path, "--forcerun", "evaluate") as snakemake:
        wait_for("running jobs", lambda: len(running(cluster, "evaluate")) == 2)
        wait_for("six jobs", lambda: len(cluster.ask("squeue", "--noheader").splitlines()) == 6)
        os.killpg(snakemake.pid, signal.SIGINT)
        assert snakemake.wait(60) != 0
        wait_for("an empty queue", lambda: not cluster.ask("squeue", "--noheader"), 20)
    assert [job["JobState"] for job in jobs_of(cluster, tmp_path)] == ["CANCELLED"] * 6
    with started(cluster, tmp_path, "results/tiny/preprocess/preprocess.json") as snakemake:
        assert snakemake.wait(60) == 0
