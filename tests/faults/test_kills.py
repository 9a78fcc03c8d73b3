"""A workflow killed with -9 in every stage, again and again, ends with the undisturbed bytes."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from salcr.files import read_yaml
from tests.support import faults, plans, tiny
from tests.support.processes import job_of, members

RESULTS = Path("results/tiny")
# Tables, and figures that depend on every stage.
SHOWN = ("losses", "distances", "cluster_centers")
TARGETS = [RESULTS / "summary.csv", *(RESULTS / f"figures/{name}.png" for name in SHOWN)]
SEED = 20250424  # for the moments of the kills


def command(directory: Path, *words: object, targets: list[Path] = TARGETS) -> list[str]:
    """Return the command of the workflow, with one trial of one variant, in a folder."""
    config = directory / "config.yaml"
    values = {**read_yaml(tiny.TINY_CONFIG), "variants": {"salcr": {}}}
    values["dataset"]["trials"] = [1]
    config.write_text(yaml.safe_dump(values))
    options = ["--configfile", config, "--directory", directory, "--cores", 2, "--quiet", "rules"]
    return [*plans.command(), *map(str, [*targets, *words, *options])]


def started(directory: Path, *words: object) -> subprocess.Popen[bytes]:
    """Start the workflow in a session of its own."""
    with (directory / "output.txt").open("ab") as out:
        return subprocess.Popen(
            command(directory, *words),
            env=faults.ENVIRONMENT,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def wait_for(stage: str, run: subprocess.Popen[bytes]) -> int:
    """Return the ID of the process of a stage as soon as it exists."""
    while (number := job_of(stage, run.pid)) is None:
        assert run.poll() is None, f"ended before {stage}"
        time.sleep(0.01)
    return number


def wait_in(stage: str, run: subprocess.Popen[bytes], number: int, moment: float) -> bool:
    """Wait for that time or until the process of the stage ends; return whether it still runs."""
    until = time.monotonic() + moment
    while (alive := job_of(stage, run.pid) == number) and time.monotonic() < until:
        time.sleep(0.01)
    return alive


def kill(numbers: list[int]) -> None:
    """Send SIGKILL to processes that may have ended already."""
    for number in numbers:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue


def results(directory: Path) -> dict[Path, bytes]:
    """Return all results by name, except what describes the jobs, such as logs and times."""
    root = directory / RESULTS
    paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {
        path: (root / path).read_bytes()
        for path in paths
        if not {"logs", "benchmarks", "curves", "jobs"} & set(path.parts)
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the workflow ran to completion undisturbed."""
    directory = tmp_path_factory.mktemp("undisturbed")
    assert started(directory).wait() == 0, (directory / "output.txt").read_text()
    return directory


def seconds(directory: Path, stage: str) -> float:
    """Return how long a job of a stage took, as measured by Snakemake."""
    times = [*(directory / RESULTS / "benchmarks").rglob("*.tsv")]
    of_stage = [path for path in times if stage in (path.stem, path.parent.name)]
    return max(float(path.read_text().splitlines()[1].split("\t")[0]) for path in of_stage)


@pytest.mark.slow
def test_kill_minus_nine_in_every_stage_changes_no_byte(undisturbed: Path, tmp_path: Path) -> None:
    """Kill Snakemake and all jobs at a random moment of each stage, then the stage's process alone.

    After the first kill, the remaining lock is reported together with `snakemake --unlock`.
    """
    draw = random.Random(SEED)
    for stage in faults.STAGES:
        for victim in ("everything", "the job"):
            moment, again = draw.random() * seconds(undisturbed, stage), []
            while True:
                run = started(tmp_path, "--until", stage, *again)
                number = wait_for(stage, run)
                if wait_in(stage, run, number, moment):
                    break
                # It was faster than in the undisturbed run: once more, and killed earlier.
                assert run.wait() == 0
                moment, again = moment / 2, ["--forcerun", stage]
            print(f"{stage}: {victim}, after {moment:.2f} s")
            if victim == "the job":
                kill([number])
                assert run.wait() == 1
                continue
            while left := list(members(run.pid)):
                kill(left)
                run.poll()
            assert run.wait() == -signal.SIGKILL
            unlock(tmp_path)
    last = started(tmp_path)
    assert last.wait() == 0, (tmp_path / "output.txt").read_text()
    actual, expected = results(tmp_path), results(undisturbed)
    assert actual.keys() == expected.keys()
    assert [path for path in expected if actual[path] != expected[path]] == []
    assert not faults.temporaries(tmp_path)
    assert re.search("Nothing to be done", dry_run(tmp_path))


def unlock(directory: Path) -> None:
    """Check that a locked folder is refused with a message how to unlock it, and unlock it."""
    if not list((directory / ".snakemake/locks").glob("*")):
        return
    done = subprocess.run(
        command(directory), env=faults.ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "--unlock" in done.stdout + done.stderr
    subprocess.run(command(directory, "--unlock"), env=faults.ENVIRONMENT, check=True)


def dry_run(directory: Path) -> str:
    """Return what Snakemake would do."""
    done = subprocess.run(
        command(directory, "--dry-run"), env=faults.ENVIRONMENT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_second_snakemake_in_the_folder_is_refused(undisturbed: Path, tmp_path: Path) -> None:
    """While one runs, another one reports that the folder is locked; the first is not disturbed."""
    first = started(tmp_path)
    wait_for("synthesize", first)
    second = subprocess.run(
        command(tmp_path), env=faults.ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert first.poll() is None
    assert second.returncode == 1
    output = second.stdout + second.stderr
    assert "Directory cannot be locked" in output and "Traceback" not in output
    assert first.wait() == 0
    assert results(tmp_path) == results(undisturbed)
