"""Several rounds in one SLURM job, which SLURM stops in the middle."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import tiny
from tests.support.plans import jobs_in, snakemake
from tests.support.slurm_cluster import Cluster, running_cluster, wait_for
from tests.support.slurm_profile import profile_for_an_hour
from tests.support.slurm_runs import entries, jobs_of, python_of, running, started, used_together

pytestmark = pytest.mark.slurm

SALCR = "results/tiny/salcr"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Yield a cluster that ends with the tests of this module."""
    with running_cluster() as cluster:
        yield cluster


def four_rounds(per_job: object) -> tuple[str, ...]:
    """Return the options of a run of four rounds, some of them in a job."""
    compute = f"compute={{rounds_per_job: {per_job}, threads: 1, device: cpu}}"
    return ("--config", "rounds=4", compute)


def state_of(cluster: Cluster, job: str) -> str:
    """Return the state of a job, such as PENDING."""
    return next(each["JobState"] for each in cluster.jobs() if each["JobId"] == job)


class Spans(NamedTuple):
    """Two runs whose jobs of several rounds were stopped, one by requeue and one by its time."""

    requeued: Path
    """Trial 1, all four rounds in a job."""
    timed_out: Path
    """Trial 2, two rounds in a job."""
    single: Path
    """Both trials, undisturbed, each round by jobs of its own and without SLURM."""
    counts: dict[str, int]
    """Rule -> number of jobs of `single`."""


def pause_after(cluster: Cluster, trial: Path, rule: str, round_: int) -> str:
    """Stop the process of a job of several rounds once it has computed one; return the job."""
    ((job, _),) = wait_for(rule, lambda: running(cluster, rule), 300)
    process = wait_for("its process", lambda: python_of(cluster, job))
    index = trial / "kept/kept.json"
    while not (index.exists() and f"round{round_:02}" in index.read_text()):
        os.kill(process, 0)  # it still runs
        time.sleep(0.005)
    os.kill(process, signal.SIGSTOP)
    return job


@pytest.fixture(scope="module")
def spans(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Spans:
    """Return two runs with jobs of several rounds that ran at once and were stopped together.

    On a partition that allows an hour.
    """
    single = tmp_path_factory.mktemp("single")
    requeued, timed_out = (single.with_name(f"{single.name}-{name}") for name in ("all", "two"))
    metrics = {
        trial: [f"{SALCR}/trial{trial:02}/round{round_:02}/metrics.json" for round_ in range(5)]
        for trial in (1, 2)
    }
    undisturbed = ["--configfile", tiny.TINY_CONFIG, *four_rounds(1)]
    done = snakemake(single, "results/tiny/preprocess/preprocess.json", *undisturbed, fork=True)
    assert done.returncode == 0, done.stdout
    for folder in (requeued, timed_out):
        shutil.copytree(single, folder)
    profile = profile_for_an_hour(requeued / "profile")
    first = started(cluster, requeued, *metrics[1], *four_rounds("all"), profile=profile)
    second = started(cluster, timed_out, *metrics[2], *four_rounds(2), profile=profile)
    with first as one, second as other:
        with ThreadPoolExecutor() as pool:
            paused = (
                pool.submit(pause_after, cluster, requeued / SALCR / "trial01", "rounds_01_04", 2),
                pool.submit(pause_after, cluster, timed_out / SALCR / "trial02", "rounds_03_04", 3),
            )
        to_requeue, to_end = (each.result() for each in paused)
        cluster.ask("scontrol", "requeue", to_requeue)
        cluster.ask("scontrol", "update", f"JobId={to_end}", "EndTime=now")
        wait_for("a requeued job", lambda: state_of(cluster, to_requeue) == "PENDING")
        cluster.ask("scontrol", "update", f"JobId={to_requeue}", "StartTime=now")  # not in minutes
        done = snakemake(single, *metrics[1], *metrics[2], *undisturbed, fork=True)
        assert done.returncode == 0, done.stdout
        assert (one.wait(300), other.wait(300)) == (0, 0)
    return Spans(requeued, timed_out, single, jobs_in(done.stdout))


def test_a_trial_is_few_entries_in_the_queue(cluster: Cluster, spans: Spans) -> None:
    """Stage one, the rounds and their evaluation: 4 or 6 jobs instead of 14, named by rounds."""
    assert sum(spans.counts.values()) == 2 * 14
    names = {
        folder: Counter(job["Comment"] for job in jobs_of(cluster, folder))
        for folder in (spans.requeued, spans.timed_out)
    }
    assert names[spans.requeued] == {
        "rule_pretrain_wildcards_salcr_01": 1,
        "rule_rounds_01_04_wildcards_salcr_01": 1,
        "rule_evaluate_wildcards_salcr_01_00": 1,
        "rule_evaluate_01_04_wildcards_salcr_01": 1,
    }
    assert names[spans.timed_out] == {
        "rule_pretrain_wildcards_salcr_02": 1,
        "rule_rounds_01_02_wildcards_salcr_02": 1,
        "rule_rounds_03_04_wildcards_salcr_02": 2,  # it was stopped once
        "rule_evaluate_wildcards_salcr_02_00": 1,
        "rule_evaluate_01_02_wildcards_salcr_02": 1,
        "rule_evaluate_03_04_wildcards_salcr_02": 1,
    }


def test_a_stopped_job_continues_after_its_last_round(cluster: Cluster, spans: Spans) -> None:
    """Requeued, it is the same entry; out of time, it is another one, within the limit."""
    (requeued,) = entries(cluster, spans.requeued, "rounds_01_04")
    assert (requeued["JobState"], requeued["Restarts"]) == ("COMPLETED", "1")
    first, second = entries(cluster, spans.timed_out, "rounds_03_04")
    assert (first["JobState"], second["JobState"]) == ("TIMEOUT", "COMPLETED")
    assert (second["Partition"], second["TimeLimit"]) == ("gpu-hour", "01:00:00")
    with pytest.raises(subprocess.CalledProcessError):  # which is all that SLURM accepts there
        cluster.ask("sbatch", "--partition=gpu-hour", "--time=61", "--mem=100", "--wrap=true")
    for folder, words in (
        (spans.requeued, r"rounds 1 to [23] are kept"),
        (spans.timed_out, "rounds 3 to 3 are kept"),
    ):
        logs = (folder / "results/tiny/logs/rounds").glob("*04.log")
        assert re.search(words, next(logs).read_text())


def test_a_stopped_job_computes_the_same(spans: Spans) -> None:
    """Files of all rounds equal those of undisturbed jobs of single rounds, byte for byte."""
    for trial, folder in ((1, spans.requeued), (2, spans.timed_out)):
        for round_ in (1, 2, 3, 4):
            for name in (
                "labels.csv",
                "checkpoint.pt",
                "losses.csv",
                "optimizer.pt",
                "metrics.json",
            ):
                path = f"{SALCR}/trial{trial:02}/round{round_:02}/{name}"
                assert (folder / path).read_bytes() == (spans.single / path).read_bytes(), path


def test_jobs_of_several_rounds_use_different_gpus(cluster: Cluster, spans: Spans) -> None:
    """Those of two runs were in progress at once, each on a card of its own."""
    jobs = [
        job["JobId"]
        for folder, rule in ((spans.requeued, "rounds_01_04"), (spans.timed_out, "rounds_03_04"))
        for job in entries(cluster, folder, rule)
    ]
    together = used_together(cluster, jobs)
    assert together and {*map(frozenset, together)} == {frozenset("01")}
    assert {*map(frozenset, used_together(cluster))} == {frozenset("01")}
