"""How much Snakemake does to plan: jobs, candidates of jobs, and records that it reads."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from benchmarks import planning
from tests.support.plans import command

TABLES = planning.PLANS["the paper's RegDB tables"]
# Counts the records of Snakemake that are read; Python imports it at its start.
COUNTER = """
import atexit, pathlib, sys
paths = []
def note(event, arguments):
    if event == "open" and "/.snakemake/metadata/" in str(arguments[0]):
        paths.append(str(arguments[0]))
sys.addaudithook(note)
count = pathlib.Path(__file__).with_name("count")
atexit.register(lambda: count.write_text(f"{len(paths)} {len(set(paths))}"))
"""


def dry_run(folder: Path, *words: str) -> str:
    """Plan in a folder with the split files of RegDB; return what Snakemake printed."""
    planning.add_split_files(folder)
    return planning.snakemake(folder, [*words, "--dry-run"])


def test_a_trial_of_the_paper_has_tens_of_jobs(tmp_path: Path) -> None:
    """With all rounds in one job: trained, evaluated at the start and the end, and compared."""
    words = ["--config", "compute={rounds_per_job: all}", "dataset={trials: [1]}"]
    output = dry_run(tmp_path, "all", *words, "--debug-dag")
    assert int(re.findall(r"^total +(\d+)$", output, re.M)[-1]) < 30
    counts = dict(re.findall(r"^(label_quality|rounds_01_40|evaluate\w*) +(\d+)$", output, re.M))
    assert counts == dict.fromkeys(
        ["label_quality", "rounds_01_40", "evaluate", "evaluate_01_40"], "1"
    )
    # Snakemake builds every candidate, with all of its files, before it selects one.
    assert set(re.findall(r"candidate job (associate|train)\b", output)) == set()
    assert "candidate job rounds_01_40" in output


def test_the_papers_tables_have_a_few_jobs_for_each_trial(tmp_path: Path) -> None:
    """Of 24 variants, 23 have rounds: trained, evaluated and compared by a job each."""
    words = ["--config", "compute={rounds_per_job: all}", "dataset={trials: [1]}"]
    output = dry_run(tmp_path, *TABLES, *words, "--quiet", "rules")
    # Stage one and its evaluation; weights, preprocess, complexity, aggregate and tables.
    assert re.findall(r"^total +(\d+)$", output, re.M)[-1] == str(3 * 23 + 2 + 5)


def test_records_of_a_long_span_are_read_once(tmp_path: Path) -> None:
    """Those of 150 outputs of one job, of which Snakemake by itself remembers 128."""
    planning.add_split_files(tmp_path)
    words = ["aggregate", "--config", "rounds=25", "dataset={trials: [1]}"]
    words += ["compute={rounds_per_job: all}"]
    planning.finish(tmp_path, words)
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(COUNTER)
    done = subprocess.run(
        [*command(), "--cores", "1", *words, "--dry-run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(hook)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Nothing to be done" in done.stdout + done.stderr
    reads, records = map(int, (hook / "count").read_text().split())
    assert reads == records > 6 * 25
