"""Dry runs in forks, used by most tests of the workflow, are the same as on the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.plans import planned, snakemake

OF_A_PROCESS = re.compile(r"^(  (Date|Workflow ID|Command): .*|\[.*:.*\])\n", re.M)


@pytest.mark.parametrize(
    ("config", "status"),
    [("gpcr={k: 5}", 0), ("dataset={trials: [1, 2, 3]}", 0), ("clustering={epss: 0.3}", 1)],
)
def test_a_fork_prints_what_a_process_prints(run_copy: Path, config: str, status: int) -> None:
    """The same status and text, for plans and for an error; sets of files come in any order."""
    words = ["--dry-run", "--configfile", tiny.TINY_CONFIG, "--config", config]
    forked, own = (
        snakemake(run_copy, *words, repository=run_copy, fork=fork) for fork in (True, False)
    )
    assert forked.returncode == own.returncode == status
    actual, expected = (
        sorted(re.findall(r"[^\s,;]+", OF_A_PROCESS.sub("", done.stdout))) for done in (forked, own)
    )
    assert actual == expected and len(actual) > 10


def test_one_dry_run_leaves_nothing_to_the_next(run_copy: Path) -> None:
    """This applies to its configuration and to modules edited afterwards."""
    assert planned(run_copy, "--config", "gpcr={k: 5}", repository=run_copy) != {}
    path = run_copy / "salcr/config/loading.py"
    text = path.read_text()
    path.write_text(f"{text}\nraise ValueError('edited')\n")
    assert "edited" in snakemake(run_copy, "--dry-run", repository=run_copy).stdout
    path.write_text(text)
    assert planned(run_copy, repository=run_copy) == {}
