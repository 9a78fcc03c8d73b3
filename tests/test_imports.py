"""Which module imports which, as stated in CONTRIBUTING; imports in functions count."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import salcr
from salcr.codehash import imported_modules

PACKAGE = Path(salcr.__file__).parent
GROUND = "ground"  # the files next to the rooms

# room -> rooms that it may import, in addition to itself and the ground
ROOMS: dict[str, set[str]] = {
    GROUND: set(),
    "config": set(),
    "data": {"config"},
    "datasets": {"data"},
    "models": {"data", "config"},
    "pseudo_labels": {"config"},
    "reporting": {"data", "config"},
    "losses": {"models", "config"},
    "evaluation": {"pseudo_labels", "models", "datasets", "data"},
    "search": {"models", "reporting", "data", "config"},
    "training": {"losses", "pseudo_labels", "models", "data", "config"},
    "verification": {"evaluation", "losses", "models", "pseudo_labels", "data", "config"},
}
ROOMS["stages"] = ROOMS.keys() - {"stages"}
WITHOUT_TORCH = ("config", "datasets", "reporting")
ENTRIES = {"__main__", "api"}  # no module imports them, so they may import every room


def module_names() -> list[str]:
    """Return the names of all modules, such as "models.network"."""
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    return [".".join(path.parts) for path in paths if path.name != "__init__"]


def imported_by(name: str) -> set[str]:
    """Return the modules of salcr that a module imports directly, such as "stages.train"."""
    paths = imported_modules(PACKAGE.joinpath(*name.split(".")).with_suffix(".py"))
    parts = [path.relative_to(PACKAGE).with_suffix("").parts for path in paths]
    return {".".join(part) for part in parts if part[-1] != "__init__"} - {name}


def room_of(name: str) -> str:
    """Return the top-level folder of a module, or the ground."""
    return name.partition(".")[0] if "." in name else GROUND


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Repeatedly removing modules that import none of the remaining ones leaves nothing."""
    left = {name: imported_by(name) for name in module_names()}
    while leaves := [name for name, others in left.items() if not others & left.keys()]:
        for name in leaves:
            del left[name]
    assert left == {}


@pytest.mark.parametrize("name", module_names())
def test_a_room_imports_only_the_rooms_below(name: str) -> None:
    """Each module follows the table of rooms; no module imports the entries."""
    imported = imported_by(name)
    assert not imported & ENTRIES
    if name not in ENTRIES:
        room = room_of(name)
        assert {room_of(other) for other in imported} <= {room, GROUND, *ROOMS[room]}


def test_the_table_of_rooms_is_complete_and_acyclic() -> None:
    """Every top-level folder is in the table, below the rooms that import it."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders | {GROUND} == ROOMS.keys()
    below: set[str] = set()
    for room, allowed in ROOMS.items():
        assert allowed <= below, room
        below.add(room)


def test_the_first_level_is_small() -> None:
    """At most 12 files and 12 folders: who opens salcr/ sees it at a glance."""
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert sum(path.is_file() for path in entries) <= 12
    assert sum(path.is_dir() for path in entries) <= 12


def test_contributing_has_the_table_of_rooms() -> None:
    """The map of CONTRIBUTING.md has at most 12 lines and names the same rooms as the test."""
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    lines = re.findall(r"^    (\w+)  +(.+)$", text.partition("## Rooms")[2], re.M)[: len(ROOMS) - 1]
    assert len(lines) <= 12
    table = {room: set(re.findall(r"\w+", words.partition("(")[0])) for room, words in lines}
    others = {room: allowed for room, allowed in ROOMS.items() if room not in (GROUND, "stages")}
    assert table.pop("stages") >= {"every", "room", "below"}
    assert {room: words - {"the", "ground"} for room, words in table.items()} == others


@pytest.mark.parametrize("room", [GROUND, *WITHOUT_TORCH])
def test_rooms_without_torch(room: str) -> None:
    """Importing every module of such a room in a separate process does not import torch."""
    names = [f"salcr.{name}" for name in module_names() if room_of(name) == room]
    assert names
    code = f"import sys, {', '.join(names)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_only_kernels_import_numba() -> None:
    """The import takes half a second, so it is in modules that others import inside functions."""
    importing = {
        name
        for name in module_names()
        if re.search(
            r"^\s*(import|from) numba",
            PACKAGE.joinpath(*name.split(".")).with_suffix(".py").read_text(),
            re.M,
        )
    }
    assert importing == {"pseudo_labels.kernels", "data.kernels"}


def test_stages_do_not_import_each_other() -> None:
    """Code that two stages share is below them; `rounds` alone imports the two that it runs."""
    stages = {name for name in module_names() if room_of(name) == "stages"}
    shared = {stage: others for stage in stages if (others := imported_by(stage) & stages)}
    assert shared == {"stages.rounds": {"stages.associate", "stages.train"}}
