"""The machine's encoding changes nothing: every text is read and written as UTF-8."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from salcr import codehash
from tests.support import faults, plans, tiny
from tests.support.locales import other_locales

EVERY_STAGE = """
import sys
from pathlib import Path
from tests.support import faults, tiny

folder = Path(sys.argv[1])
faults.run_every_stage(folder)
assert tiny.run("info", "--directory", folder) == 0
"""
WARNS = {"PYTHONWARNDEFAULTENCODING": "1", "PYTHONWARNINGS": "always::EncodingWarning"}


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Return encoding -> variables; ASCII, in which no other character can be read, is among them.

    Python itself warns of files that are opened without an encoding.
    """
    made = other_locales(tmp_path_factory.mktemp("locales"))
    assert "ASCII" in made
    return {name: {**faults.ENVIRONMENT, **WARNS, **chosen} for name, chosen in made.items()}


def ours_opened_without_encoding(output: str) -> list[str]:
    """Return the warnings whose place is in our own modules, not in a library."""
    places = re.findall(r"^(\S+):\d+: EncodingWarning", output, re.M)
    root, libraries = plans.REPOSITORY, Path(sys.prefix)  # which may be in a folder of ours
    paths = [root / place for place in places]
    return [str(p) for p in paths if p.is_relative_to(root) and not p.is_relative_to(libraries)]


def test_every_stage_writes_the_same_bytes_in_an_ascii_locale(
    complete_run: Path, tmp_path: Path, locales: dict[str, dict[str, str]]
) -> None:
    """No stage opens a text without an encoding, and none writes in that of the locale."""
    done = subprocess.run(
        [sys.executable, "-c", EVERY_STAGE, tmp_path], env=locales["ASCII"], cwd=plans.REPOSITORY,
        capture_output=True, check=False,
    )  # fmt: skip
    output = done.stderr.decode()
    assert done.returncode == 0, output
    assert ours_opened_without_encoding(output) == []
    for stage in faults.STAGES:
        assert faults.contents(tmp_path, stage) == faults.contents(complete_run, stage), stage


def test_code_has_the_same_hashes_in_every_locale(locales: dict[str, dict[str, str]]) -> None:
    """Or else two users of one folder would run each other's jobs again."""
    here = [f"{stage} {codehash.stage_hash(stage)}" for stage in codehash.stage_names()]
    for name, environment in locales.items():
        command = [sys.executable, "-m", "salcr.codehash"]
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        assert done.stdout.decode("ascii").splitlines() == here, name
        assert ours_opened_without_encoding(done.stderr.decode()) == [], name


def test_a_path_that_the_locale_cannot_spell_is_a_message(
    locales: dict[str, dict[str, str]],
) -> None:
    """Python could not ask the system for a file of that name; the message says what to set."""
    code = "from salcr.config.paths import checked_path; checked_path('data/gr\\xf6\\xdfe')"
    done = subprocess.run([sys.executable, "-c", code], env=locales["ASCII"], capture_output=True,
                          check=False)  # fmt: skip
    assert rb"'data/gr\xf6\xdfe' cannot be a file name in this locale" in done.stderr
    assert b"LC_ALL=C.UTF-8" in done.stderr
    utf_8 = {**faults.ENVIRONMENT, "LC_ALL": "C.UTF-8"}
    done = subprocess.run([sys.executable, "-c", code], env=utf_8, check=False)
    assert done.returncode == 0


def test_the_workflow_plans_and_runs_the_same_in_every_locale(
    run_copy: Path, locales: dict[str, dict[str, str]]
) -> None:
    """A finished run has nothing to do; another job runs, and the table of results is printed."""
    overlay = run_copy / "overlay.yaml"
    overlay.write_text("evaluate_every: 1  # größe\n", encoding="utf-8")
    words = ["--cores", "1", "--configfile", str(tiny.TINY_CONFIG), str(overlay)]
    command = [*plans.command(run_copy), *words]
    for name, environment in locales.items():
        done = subprocess.run([*command, "--dry-run"], cwd=run_copy, env=environment,
                              capture_output=True, check=False)  # fmt: skip
        assert done.returncode == 0 and b"Nothing to be done" in done.stdout + done.stderr, name
        assert ours_opened_without_encoding(done.stderr.decode(errors="replace")) == [], name
    command.insert(len(plans.command()), "results/tiny/complexity.json")
    done = subprocess.run(command, cwd=run_copy, env=locales["ASCII"], capture_output=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert rb"mean \xb1 standard deviation" in done.stdout and b"mAP" in done.stdout
