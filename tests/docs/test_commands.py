"""Every command shown in the documentation exists, with its flags and its keys."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
import yaml

from salcr.config.loading import merge, validate, variant
from salcr.config.stages import STAGES
from tests.support.markdown import PAGES, ROOT, commands

TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
WITH_VALUE = {
    "--cores",
    "--resources",
    "--profile",
    "--forcerun",
    "--until",
    "--sdm",
    "--snakefile",
}
"""Options of Snakemake that take one word."""


def shown(program: str) -> list[Any]:
    """Return every command of a program in the documentation as a test parameter."""
    lines = {line.strip(): page for page, text in TEXTS.items() for line in commands(text, program)}
    return [pytest.param(line, id=f"{page}: {line}"[:80]) for line, page in lines.items()]


@cache
def flags() -> dict[str, set[str]]:
    """Return command -> its flags, from the bash completion script; "" is for no command."""
    words = [sys.executable, "-m", "salcr", "--print-completion", "bash"]
    script = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lists = re.findall(r"^_shtab_salcr(\w*?)_option_strings=\((.*)\)$", script, re.MULTILINE)
    return {name.strip("_").replace("_", "-"): set(shlex.split(text)) for name, text in lists}


@pytest.mark.parametrize("line", shown("python -m salcr") + shown("salcr"))
def test_commands_of_salcr(line: str) -> None:
    """The command is in the registry, and each flag belongs to it."""
    command, *words = line.split() or [""]
    if command.startswith("--"):
        command, words = "", [command, *words]
    assert command in {"", *(stage.command for stage in STAGES.values())}
    known = flags()[command]
    assert [word for word in words if word.startswith("--") and word not in known] == []


def test_make_targets() -> None:
    """Each `make TARGET` is in the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    lines = [line.split() for text in TEXTS.values() for line in commands(text, "make")]
    named = {word for line in lines for word in line if re.fullmatch("[a-z-]+", word)}
    assert {"demo", "test", "docs"} <= named <= targets


def parsed(line: str) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return targets, configuration files and configured values of a Snakemake command."""
    targets, files, values = [], [], {}
    option = ""
    for word in shlex.split(line):
        if word.startswith("--"):
            option = word
        elif option == "--configfile":
            files.append(word.removeprefix("CLONE/"))
        elif option == "--config":
            key, _, value = word.partition("=")
            values[key] = yaml.safe_load(value)
        elif option in WITH_VALUE:
            option = ""
        else:
            targets.append(word)
    return targets, files, values


@pytest.mark.parametrize("line", shown("snakemake"))
def test_commands_of_snakemake(line: str) -> None:
    """Targets are rules or results, files exist, and values fit the schema, variants included."""
    targets, files, values = parsed(line)
    if "--snakefile workflow/embed.smk" in line:  # which has words of its own
        text = (ROOT / "workflow/embed.smk").read_text()
        assert targets + files == [] and all(f'    "{key}": ' in text for key in values)
        return
    rules = "".join(path.read_text() for path in ROOT.glob("workflow/rules/*.smk"))
    for target in targets:
        assert target.startswith("results/") or f"rule {target}:" in rules
    config = yaml.safe_load((ROOT / "config/default.yaml").read_text())
    for name in files:
        config = merge(config, yaml.safe_load((ROOT / name).read_text()))
    checked = validate(merge(config, values))
    for name in checked.variants:
        variant(checked, name)


def test_commands_are_recognized() -> None:
    """Continued lines are joined, comments are dropped, and both kinds of code are read."""
    text = "Run `make a`:\n\n    x && snakemake b \\\n      --c 1    # a comment\n"
    assert commands(text, "make") == [" a"]
    assert commands(text, "snakemake") == [" b --c 1"]
    assert len(shown("python -m salcr")) > 10
    assert len(shown("salcr")) > 3
    assert len(shown("snakemake")) > 20
