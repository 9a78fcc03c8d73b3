"""Make targets in a clone whose path contains a blank and a quote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from salcr.config.loading import merge
from salcr.files import read_yaml
from tests.support import tiny
from tests.support.plans import REPOSITORY, copy_code


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return such a clone with a complete environment whose parts are links to this one's."""
    folder = tmp_path / "a b's" / "clone"
    folder.mkdir(parents=True)
    copy_code(folder)
    for name in ("Makefile", "requirements.lock"):
        shutil.copy2(REPOSITORY / name, folder)
    (folder / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != "requirements.lock":
            (folder / ".venv" / part.name).symlink_to(part)
    shutil.copy2(REPOSITORY / "requirements.lock", folder / ".venv")
    return folder


def make(folder: Path, *words: str, succeeds: bool = True) -> str:
    """Run make in a folder and return its output; it must succeed, or fail."""
    # without the variables of an enclosing make, whose VENV would take precedence
    hidden = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VENV", "PYTEST_XDIST_WORKER"}
    done = subprocess.run(
        ["make", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in hidden},
    )
    assert (done.returncode == 0) == succeeds, done.stdout
    return done.stdout


@pytest.mark.slow
def test_the_demo_runs_where_the_path_holds_a_blank_and_a_quote(clone: Path) -> None:
    """All of `make demo` runs on a tiny configuration with such a name; then nothing is left."""
    values = merge(read_yaml(tiny.TINY_CONFIG), {"dataset": {"trials": [1]}})
    values["variants"] = {"salcr": {}}
    (clone / "it's tiny.yaml").write_text(yaml.safe_dump(values))
    words = ["demo", "CONFIG=it's tiny.yaml", "CORES=1"]
    assert "mAP" in make(clone, *words)
    assert (clone / "results/tiny/figures/cmc.pdf").stat().st_size > 5000
    assert "Nothing to be done" in make(clone, *words)


@pytest.mark.parametrize(("name", "words"), [("a:b", []), ("clone", ["VENV=/a:b"])])
def test_a_colon_in_a_path_is_refused(clone: Path, name: str, words: list[str]) -> None:
    """PATH cannot hold such a folder, so another Python would be used without a word."""
    folder = clone.rename(clone.with_name(name))
    assert "error: PATH takes a colon" in make(folder, "venv", *words, succeeds=False)


def test_an_environment_elsewhere_is_used(clone: Path, tmp_path: Path) -> None:
    """VENV=/somewhere, itself with a blank and a quote, is complete and first in PATH."""
    elsewhere = tmp_path / "it's elsewhere"
    (clone / ".venv").rename(elsewhere)
    assert "installing" not in make(clone, "venv", f"VENV={elsewhere}")
    (clone / "which.mk").write_text("include Makefile\nwhich:\n\t@command -v python\n")
    assert (
        make(clone, "-f", "which.mk", "which", f"VENV={elsewhere}") == f"{elsewhere}/bin/python\n"
    )
