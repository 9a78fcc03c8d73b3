"""Who imports whom, as CONTRIBUTING.md has it; imports inside functions count."""

from __future__ import annotations

from pathlib import Path

import pytest

import salcr
from salcr.codehash import _module

PACKAGE = Path(salcr.__file__).parent
MATHS = (
    "association", "clustering", "colour", "kernels", "losses", "matching", "memory",
    "metrics", "neighbours", "pairs", "projection", "propagation", "quality", "rerank",
    "transforms", "transport",
)  # fmt: skip


def imported_by(name: str) -> set[str]:
    """Return the modules of salcr that one imports itself, such as "stages.train"."""
    _, paths = _module(PACKAGE.joinpath(*name.split(".")).with_suffix(".py"))
    parts = [path.relative_to(PACKAGE).with_suffix("").parts for path in paths]
    return {".".join(part) for part in parts if part[-1] != "__init__"} - {name}


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Taking away, again and again, what imports nothing that is left leaves nothing."""
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    left = {name: imported_by(name) for name in (".".join(path.parts) for path in paths)}
    while leaves := [name for name, others in left.items() if not others & left.keys()]:
        for name in leaves:
            del left[name]
    assert left == {}


@pytest.mark.parametrize("name", MATHS)
def test_maths_know_no_files(name: str) -> None:
    """What computes on arrays imports its like; of the configuration, its own section."""
    assert imported_by(name) <= {*MATHS, "arrays", "schema"}


def test_stages_do_not_import_each_other() -> None:
    """Whatever two stages share lies below them."""
    stages = [f"stages.{path.stem}" for path in PACKAGE.glob("stages/*.py")]
    found = {stage: imported_by(stage) & set(stages) for stage in stages if "__" not in stage}
    assert not any(found.values()), found
