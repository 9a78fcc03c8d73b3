"""CPU seconds of a plan by Snakemake: of the default configuration and of the paper's tables."""

from __future__ import annotations

import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from salcr.config.loading import DEFAULT_CONFIG
from salcr.config.schema import Config
from salcr.datasets import regdb
from salcr.files import read_yaml

_REPOSITORY = Path(__file__).parents[1]
_CONFIGURATIONS = _REPOSITORY / "config"

PLANS: dict[str, list[str]] = {
    "config/default.yaml": ["all"],
    "the paper's RegDB tables": [
        "tables",
        "--configfile",
        str(_CONFIGURATIONS / "ablation.yaml"),
        str(_CONFIGURATIONS / "tables.yaml"),
    ],
}
"""Name -> words of the command line of Snakemake."""
ROUNDS_PER_JOB = ("1", "all")

_WITHOUT_PAUSES = (
    "-c",
    "from snakemake import cli\n"
    "from snakemake.executors.touch import Executor\n"
    "Executor.SLEEPING_TIME = 0\n"
    "cli.main()",
)
"""Snakemake with a --touch that does not wait a tenth of a second before each job."""


def measure_plans(repeat: int = 3) -> list[dict[str, Any]]:
    """Plan with an empty and with a finished folder of results, and print a line for each plan.

    Args:
        repeat: runs of which the median counts.

    Returns:
        for each plan its name, `rounds_per_job`, the number of `jobs`, and the CPU seconds in an
        `empty` and a `finished` folder.
    """
    results = []
    print(f"{'plan':<28}{'rounds a job':>14}{'jobs':>8}{'empty':>10}{'finished':>11}   CPU seconds")
    for name, words in PLANS.items():
        for number in ROUNDS_PER_JOB:
            with tempfile.TemporaryDirectory() as folder:
                plan = [*words, "--config", f"compute={{rounds_per_job: {number}}}"]
                result = {
                    "plan": name,
                    "rounds_per_job": number,
                    **measure(Path(folder), plan, repeat),
                }
            results.append(result)
            print(
                f"{name:<28}{number:>14}{result['jobs']:>8}{result['empty']:>10.1f}"
                f"{result['finished']:>11.1f}",
                flush=True,
            )
    return results


def measure(folder: Path, words: list[str], repeat: int) -> dict[str, Any]:
    """Return the number of jobs and the CPU seconds of a plan, in an empty and a finished folder.

    Args:
        folder: an empty one.
        words: of the command line of Snakemake.
        repeat: runs of which the median counts.
    """
    add_split_files(folder)
    dry_run = [*words, "--dry-run", "--quiet", "rules"]
    seconds = {"empty": [seconds_of(folder, dry_run) for _ in range(repeat)]}
    jobs = int(re.findall(r"^total +(\d+)$", snakemake(folder, dry_run), re.M)[-1])
    finish(folder, words)
    seconds["finished"] = [seconds_of(folder, dry_run) for _ in range(repeat)]
    if "Nothing to be done" not in (output := snakemake(folder, dry_run)):
        raise AssertionError(f"the folder is not finished:\n{output}")
    return {"jobs": jobs, **{state: statistics.median(runs) for state, runs in seconds.items()}}


def add_split_files(folder: Path) -> None:
    """Write empty lists of images, all that a plan reads of RegDB."""
    dataset = Config.model_validate(read_yaml(DEFAULT_CONFIG)).dataset
    for trial in dataset.trials:
        path = folder / dataset.root / regdb.SPLIT_FILES.replace("*", f"train_visible_{trial}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def finish(folder: Path, words: list[str]) -> None:
    """Create what a plan would, as empty files, with Snakemake's records of the jobs."""
    names = [line.split("\t") for line in snakemake(folder, [*words, "--summary"]).splitlines()]
    outputs = {name for name, *others in names if others and name != "output_file"}
    # A target of several files also wants the measurements of its job.
    outputs |= {f"results/regdb/benchmarks/{words[0]}.tsv"}
    for path in (folder / name for name in outputs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    snakemake(folder, [*words, "--touch", "--forceall", "--quiet", "all"], _WITHOUT_PAUSES)


def snakemake(folder: Path, words: list[str], python: Sequence[str] = ("-m", "snakemake")) -> str:
    """Run Snakemake in a folder and return what it printed.

    Args:
        folder: where it runs.
        words: of its command line.
        python: words of Python's command line that start it.
    """
    process = subprocess.run(
        [sys.executable, *python, "--snakefile", _REPOSITORY / "Snakefile", "--cores", "1", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    if process.returncode:
        raise RuntimeError(process.stdout)
    return process.stdout


def seconds_of(folder: Path, words: list[str]) -> float:
    """Return the CPU seconds of Snakemake, which hardly depend on what else runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    snakemake(folder, words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
