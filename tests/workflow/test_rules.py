"""The form of the workflow's files, and what depends on it when they are copied elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from salcr.config.schema import Config
from salcr.files import read_yaml
from tests.support.plans import REPOSITORY

SNAKEFILES = [REPOSITORY / "Snakefile", *sorted((REPOSITORY / "workflow/rules").glob("*.smk"))]


def shell_lines(path: Path) -> list[str]:
    """Return the quoted lines of all shell blocks of a Snakefile."""
    blocks = re.findall(r'^( +)shell:\n((?:\1    ".*"\n)+)', path.read_text(encoding="utf-8"), re.M)
    return [line.strip().strip('"') for _, block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("path", SNAKEFILES, ids=lambda path: path.name)
def test_shell_blocks_have_a_flag_a_line_and_no_function_is_unnamed(path: Path) -> None:
    """Changes of a command are readable line by line; functions have a name and a docstring."""
    assert not re.search(r"\blambda\b", path.read_text(encoding="utf-8"))
    for line in shell_lines(path):
        assert line.count("--") <= 1, line


def test_every_job_logs_to_a_quoted_file() -> None:
    """Each shell block ends with its redirection; paths in it are quoted for the shell."""
    paths = re.compile(r"\{(?:input|output|log)(?:\.\w+)?(:q)?\}")
    lines = [line for path in SNAKEFILES for line in shell_lines(path)]
    commands = [line for line in lines if line.startswith("python -m salcr")]
    num_blocks = sum(path.read_text().count("shell:") for path in SNAKEFILES)
    assert len(commands) == num_blocks
    assert lines.count(" > {log:q} 2>&1") == len(commands)
    assert all(match[1] for line in lines for match in paths.finditer(line))


def test_environment_holds_the_locked_packages(tmp_path: Path) -> None:
    """`make lock` wrote it: the pip section equals requirements.lock, markers included."""
    written = read_yaml(REPOSITORY / "environment.yml")
    lock = (REPOSITORY / "requirements.lock").read_text().splitlines()
    *_, pip = written["dependencies"]
    assert pip == {"pip": lock}
    script = REPOSITORY / "workflow/scripts/write_environment.py"
    again = tmp_path / "environment.yml"
    words = [sys.executable, script, REPOSITORY / "requirements.lock", again]
    subprocess.run(list(map(str, words)), check=True)
    assert again.read_bytes() == (REPOSITORY / "environment.yml").read_bytes()


def test_the_guide_names_every_configuration_and_section() -> None:
    """config/README.md omits no shipped file and no section of keys."""
    guide = (REPOSITORY / "config/README.md").read_text()
    names = {
        path.name for path in (REPOSITORY / "config").glob("*.yaml")
    } | Config.model_fields.keys()
    assert {name for name in names if f"`{name}`" not in guide} == set()


def test_continuous_integration_runs_the_checks_on_each_python() -> None:
    """The GitHub workflow calls .ci/run on all versions that pyproject.toml admits."""
    ci = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text())
    (job,) = ci["jobs"].values()
    assert job["strategy"]["matrix"]["python-version"] == ["3.11", "3.12", "3.13"]
    assert [step["run"] for step in job["steps"] if "run" in step][-1] == ".ci/run"
