"""Collect the provenance of every trial: its configuration and the jobs of its results."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from salcr import files
from salcr.config import cli
from salcr.config.json_kinds import Job
from salcr.config.runs import JOBS, Run, trial_name
from salcr.config.schema import Config
from salcr.data.store import read_summary
from salcr.errors import SalcrError
from salcr.log import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    cli.add_runs(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder that preprocess wrote")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write provenance.json for every variant and trial, and a line of each to provenance.csv."""
    data_hash = read_summary(arguments.data)["data_hash"]
    lines = []
    for run in arguments.runs:
        for trial in arguments.trials:
            jobs = [
                {"round": round_, **_read_job(path)}
                for round_, path in _paths(arguments, run, trial)
            ]
            provenance = {
                "dataset": arguments.dataset,
                "variant": run.variant,
                "stage_one_of": run.owner,
                "trial": trial,
                "rounds": run.rounds,
                "data_hash": data_hash,
                "seed": next(job["seed"] for job in jobs if job["seed"] is not None),
                "config": _config(jobs),
                "seconds": _seconds(jobs),
                "jobs": [{key: job[key] for key in job if key != "config"} for job in jobs],
            }
            path = arguments.root / run.variant / trial_name(trial) / "provenance.json"
            files.write_plain_json(path, provenance)
            lines.append(_line(provenance))
    files.write_table(arguments.root / "provenance.csv", pd.DataFrame(lines))
    say(f"{arguments.root}: provenance of {len(lines)} trials written")


def _paths(
    arguments: argparse.Namespace, run: Run, trial: int
) -> Iterator[tuple[int | None, Path]]:
    """Yield round and file of every job that a trial depends on; None: of no single round."""
    yield None, arguments.data / JOBS / "preprocess.json"
    evaluated = set(run.evaluated(arguments.every))
    for round_ in range(run.rounds + 1):
        stages = ["associate", "train"] if round_ else ["pretrain"]
        for stage in stages + ["evaluate"] * (round_ in evaluated):
            yield round_, run.folder(arguments.root, trial, round_) / JOBS / f"{stage}.json"
    if run.rounds:
        folder = arguments.root / run.variant / trial_name(trial)
        yield None, folder / JOBS / "label_quality.json"


def _read_job(path: Path) -> dict[str, Any]:
    """Return the record of a job, whose file has the name of its stage."""
    job = files.read_json(path, Job)
    if job["stage"] != path.stem:
        raise SalcrError(f"{path}: is a record of {job['stage']}; {files.RERUN_HINT}")
    return job


def _config(jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the configuration of a trial's jobs, by section.

    Raises:
        SalcrError: two jobs ran with different values of one section.
    """
    config: dict[str, Any] = {}
    for job in jobs:
        for section, values in job["config"].items():
            if config.setdefault(section, values) != values:
                raise SalcrError(
                    f"round {job['round']}: {job['stage']} ran with another `{section}` than "
                    "earlier stages; run snakemake again"
                )
    return config


def _seconds(jobs: list[dict[str, Any]]) -> dict[str, float]:
    """Return the seconds of each stage, summed over rounds."""
    seconds: dict[str, float] = {}
    for job in jobs:
        seconds[job["stage"]] = round(seconds.get(job["stage"], 0) + job["seconds"], 1)
    return seconds


def _line(provenance: dict[str, Any]) -> dict[str, Any]:
    """Return a trial's provenance as one line, for reports; different values are joined."""
    jobs = provenance["jobs"]
    clean = [job["clean"] for job in jobs]

    def values(*keys: str) -> str:
        distinct = dict.fromkeys(
            " ".join(str(job[key]) for key in keys if key in job) for job in jobs
        )
        return "; ".join(filter(None, distinct))

    return {
        "variant": provenance["variant"],
        "trial": provenance["trial"],
        "seed": provenance["seed"],
        "commit": values("commit"),
        "clean": None if None in clean else all(clean),
        "data_hash": provenance["data_hash"][:12],
        "device": values("device"),
        "machine": values("machine"),
        "torch": "; ".join(dict.fromkeys(job["versions"]["torch"] for job in jobs)),
        "seconds": round(sum(provenance["seconds"].values()), 1),
        "finished": max(job["finished"] for job in jobs),
    }
