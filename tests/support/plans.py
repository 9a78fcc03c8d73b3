"""Runs Snakemake in a folder and reads its plans, for the tests of the whole workflow."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import tiny
from tests.support.fork_server import snakemake_in_fork

REPOSITORY = Path(__file__).parents[2]
_CODE = ("Snakefile", "environment.yml", "salcr", "workflow", "config", "profiles")


def command(repository: Path = REPOSITORY) -> list[str]:
    """Return the command that runs the Snakefile of a checkout."""
    return [sys.executable, "-m", "snakemake", "--snakefile", str(repository / "Snakefile")]


def copy_code(to: Path) -> None:
    """Copy the parts of the checkout that a run needs, so that a test may edit them.

    This includes the compiled kernels, which otherwise cost a run twenty seconds.
    """
    ignored = shutil.ignore_patterns("*.pyc*", "*.tmp*")  # from processes that are writing now
    for name in _CODE:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=ignored)
        else:
            shutil.copy2(source, to / name)


def snakemake(
    directory: Path, *words: object, repository: Path = REPOSITORY, fork: bool | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in a folder and return the finished process with its combined output.

    Args:
        directory: Where it runs.
        words: Its command-line arguments.
        repository: The checkout whose Snakefile it uses.
        fork: Whether it and its jobs run in forks of a process that has imported what they import;
                by default only a dry run does.
    """
    line = [*command(repository), "--directory", str(directory), "--cores", "2", *map(str, words)]
    # No variable of an enclosing Snakemake or test run may reach this one.
    environment = {**os.environ, "PYTEST_XDIST_WORKER": ""}
    dry = "--dry-run" in words
    if dry if fork is None else fork:
        status, output = snakemake_in_fork(line[3:], environment, jobs=not dry)
        return subprocess.CompletedProcess(line, status, output)
    return subprocess.run(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=environment,
    )


def planned(
    directory: Path, *words: object, repository: Path = REPOSITORY, target: str = "all"
) -> dict[str, int]:
    """Return rule -> number of jobs that a dry run plans; empty if nothing is to be done."""
    words = (target, "--dry-run", "--configfile", tiny.TINY_CONFIG, *words)
    done = snakemake(directory, *words, repository=repository)
    assert done.returncode == 0, done.stdout
    return jobs_in(done.stdout)


def jobs_in(output: str) -> dict[str, int]:
    """Return rule -> number of jobs in Snakemake's table; empty if nothing is to be done."""
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", output, re.S | re.M)
    if table is None:
        assert "Nothing to be done" in output, output
        return {}
    counts = dict(line.split() for line in table[1].splitlines())
    return {rule: int(count) for rule, count in counts.items() if rule != "all"}
