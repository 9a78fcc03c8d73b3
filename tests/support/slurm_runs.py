"""Runs of the tiny workflow through SLURM, and what its records say about their jobs."""

from __future__ import annotations

import subprocess
from collections.abc import Container, Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

from tests.support import tiny
from tests.support.plans import command
from tests.support.slurm_cluster import Cluster
from tests.support.slurm_profile import PROFILE

# How long to wait before first asking how a job ended; the default, 40, spares large clusters.
FIRST_QUESTION = ("--slurm-init-seconds-before-status-checks", "1")


def rule_of(name: str) -> str:
    """Return the rule of a job named as the plugin does, rule_train_wildcards_salcr_01_01."""
    return name.removeprefix("rule_").partition("_wildcards_")[0]


@contextmanager
def started(
    cluster: Cluster, folder: Path, *words: str, profile: Path = PROFILE
) -> Iterator[subprocess.Popen[bytes]]:
    """Run snakemake with a profile, as in its own terminal; show its output on failure."""
    words = ("--configfile", str(tiny.TINY_CONFIG), *FIRST_QUESTION, *words)
    output = folder / "snakemake.out"
    with output.open("w") as file:
        snakemake = subprocess.Popen(
            # What a shell starts in the background ignores Ctrl-C, and so do its children.
            ["env", "--default-signal=INT", *command(), "--profile", profile, *words],
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


def entries(cluster: Cluster, folder: Path, rule: str) -> list[dict[str, str]]:
    """Return SLURM's records of the jobs of a rule that were submitted from a folder."""
    return [job for job in jobs_of(cluster, folder) if rule_of(job["Comment"]) == rule]


def used_together(cluster: Cluster, jobs: Container[str] | None = None) -> list[tuple[str, str]]:
    """Return the GPUs of each two allocations that overlapped, of all jobs or of some."""
    taken = [
        each
        for each in cluster.allocations()
        if each.gpus != "none" and (jobs is None or each.job in jobs)
    ]
    return [
        (one.gpus, other.gpus)
        for one, other in combinations(taken, 2)
        if max(one.start, other.start) < min(one.end, other.end)
    ]
