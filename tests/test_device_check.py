"""The check of a GPU: its predictions, what it needs, and its sections without a GPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from benchmarks.device import equality, steps
from benchmarks.device.__main__ import SECTIONS
from benchmarks.device.check import EXPECTED, Check, table_lines
from salcr.files import read_yaml
from tests.support.plans import REPOSITORY
from tests.support.pretended_gpu import pretended_gpu

# A module that Python imports when it starts; it hides what a machine with a GPU need not have.
HIDING = """
import sys

class Hide:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("faiss", "snakemake", "dvc", "shtab", "fastapi", "uvicorn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide)
"""


def test_the_same_step_on_a_pretended_gpu_is_equal(tmp_path: Path) -> None:
    """The check's step differs from that of a CPU by the rounding of the forms of code for GPUs."""
    check = Check("cuda", small=True, out=tmp_path, budget=600)
    with pretended_gpu():
        equality.equality(check)
    measured = check.results["equality"]
    assert measured["float32"]["views"] < 1e-6 and measured["float32"]["features"] < 1e-3
    assert 1e-3 < measured["bfloat16"]["features"] < 0.2


def test_predictions_are_of_rows_that_exist_and_in_the_documentation() -> None:
    """Every section has some, those of steps carry the steps' names, and the page has all."""
    expected = read_yaml(EXPECTED)
    assert expected.keys() == SECTIONS.keys()
    ways = {f"{batch}, {way}" for batch in steps.BATCHES for way in steps.WAYS}
    assert expected["steps"].keys() <= ways
    assert expected["profile"].keys() == expected["compiled"].keys() <= steps.BATCHES.keys()
    assert expected["equality"].keys() == set(list(equality.WAYS)[1:])
    assert expected["cards"].keys() == {steps.name_of_card(*card) for card in steps.CARDS}
    page = (REPOSITORY / "docs/PERFORMANCE.md").read_text().splitlines()
    missing = [line for line in table_lines(expected, {}) if line not in page]
    assert missing == []


def test_wheels_for_a_bare_machine_are_all_that_pydantic_needs() -> None:
    """The names in the Makefile are pydantic, what it requires, and what that requires."""
    waiting, needed = ["pydantic"], set()
    while waiting:
        name = waiting.pop()
        needed.add(name)
        wanted = [Requirement(line) for line in requires(name) or []]
        waiting += [one.name for one in wanted if one.marker is None or one.marker.evaluate()]
    (names,) = re.findall(r"^GPU_WHEELS := (.*)$", (REPOSITORY / "Makefile").read_text(), re.M)
    assert set(names.split("|")) == needed
    lock = (REPOSITORY / "requirements.lock").read_text()
    assert len(re.findall(rf"^(?:{names})==\S+$", lock, re.M)) == len(needed)


@pytest.mark.slow
def test_the_check_of_a_gpu_can_be_rehearsed_without_the_workflow(tmp_path: Path) -> None:
    """Its sections run on a CPU by a Python without Snakemake, DVC, faiss: all but two of them."""
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    out, skipped = tmp_path / "out", {"cards", "compiled"}
    words = f"--device cpu --small --out '{out}' --budget 900 --skip {' '.join(skipped)}"
    done = subprocess.run(
        ["make", "gpu-check", f"PYTHON={sys.executable}", f"GPU_CHECK={words}"],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    results = json.loads((out / "check.json").read_text())["results"]
    assert results.keys() == SECTIONS.keys() - skipped
    assert " deselected" in results["tests"]["pytest -m gpu"]
    assert set(results["equality"]["float32"].values()) == {0.0}
    assert results["steps"].keys() == {f"{batch}, float32" for batch in steps.SMALL_BATCHES}
    assert results["demo"]["rank-1 by round"].keys() == {"0", "1"}
