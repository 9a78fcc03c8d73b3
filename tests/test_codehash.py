"""The hash of a stage's code: which modules, and which edits of them, change it."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from salcr import codehash


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a copy of the package that a test may edit."""
    return shutil.copytree(codehash.PACKAGE, tmp_path / "salcr")


@pytest.fixture
def fresh_hash(package: Path) -> Callable[..., str]:
    """Return stage_hash for the current files of the copy."""

    def of_stage(stage: str, unused: Collection[str] = ()) -> str:
        codehash._module.cache_clear()
        return codehash.stage_hash(stage, unused, package)

    return of_stage


def edit(path: Path, old: str, new: str) -> None:
    """Replace text that must occur in a file."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path.name} does not hold {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def add_code(path: Path) -> None:
    """Append a statement that changes no behavior but is code."""
    path.write_text(path.read_text(encoding="utf-8") + "\nADDED = 1\n", encoding="utf-8")


COSMETIC = {
    "a comment": ("beta = np.full", "# how it starts\n    beta = np.full"),
    "a function's docstring": ('"""Return the transport plan', '"""Give the plan'),
    "the module's docstring": ('"""Entropy-regularized', '"""Regularized'),
    "layout": ("_MAX_STEPS = 500", "\n\n_MAX_STEPS  =  ( 500 )"),
}


@pytest.mark.parametrize("change", COSMETIC)
def test_comments_and_layout_do_not_count(package, fresh_hash, change):
    """Editing comments, docstrings or layout does not change the hash."""
    before = fresh_hash("associate")
    edit(package / "pseudo_labels/sinkhorn.py", *COSMETIC[change])
    assert fresh_hash("associate") == before


def test_the_docstring_of_a_class_does_not_count(package, fresh_hash):
    """The docstring of a class does not change the hash, but its methods do."""
    before = fresh_hash("train")
    edit(package / "models/network.py", '"""SALCR\'s two-stream network.', '"""The network.')
    assert fresh_hash("train") == before
    edit(
        package / "models/network.py",
        "return self.trunk.num_channels",
        "return -self.trunk.num_channels",
    )
    assert fresh_hash("train") != before


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("pseudo_labels/sinkhorn.py", "_TOLERANCE = 0.1", "_TOLERANCE = 0.2"),
        ("pseudo_labels/sinkhorn.py", "<= _TOLERANCE", "< _TOLERANCE"),
        ("pseudo_labels/clustering.py", "import kernels", "import kernels as kernels"),
        ("stages/associate.py", "from __future__ import annotations", "WORD = 1"),
    ],
)
def test_code_counts(package, fresh_hash, module, old, new):
    """A constant, an operator, a line inside a function, the stage itself and the entry count."""
    before = fresh_hash("associate")
    edit(package / module, old, new)
    assert fresh_hash("associate") != before


# stage -> modules whose code it runs, directly or indirectly, and some that it does not
READS = {
    "associate": (
        [
            "pseudo_labels/association",
            "pseudo_labels/matching",
            "pseudo_labels/sinkhorn",
            "pseudo_labels/clustering",
            "pseudo_labels/neighbors",
            "pseudo_labels/kernels",
            "pseudo_labels/propagation",
            "data/labels",
            "models/features",
            "data/store",
            "files",
        ],
        [
            "evaluation/metrics",
            "evaluation/label_quality",
            "data/samplers",
            "losses/refinement",
            "losses/objective",
            "losses/memory",
            "stages/train",
        ],
    ),
    "label_quality": (
        [
            "evaluation/label_quality",
            "data/labels",
            "data/store",
            "files",
        ],
        [
            "evaluation/metrics",
            "models/features",
            "models/network",
            "data/samplers",
        ],
    ),
    "train": (
        [
            "losses/objective",
            "losses/refinement",
            "losses/memory",
            "data/samplers",
            "models/network",
            "models/resnet",
            "data/labels",
            "data/transforms",
        ],
        [
            "evaluation/metrics",
            "codehash",
            "stages/associate",
            "stages/pretrain",
        ],
    ),
    "pretrain": (
        [
            "losses/memory",
            "pseudo_labels/clustering",
            "pseudo_labels/neighbors",
            "pseudo_labels/kernels",
            "models/network",
            "models/resnet",
            "data/transforms",
            "data/samplers",
        ],
        [
            "losses/refinement",
            "losses/objective",
            "evaluation/metrics",
            "pseudo_labels/association",
            "pseudo_labels/matching",
            "codehash",
            "stages/train",
        ],
    ),
    "evaluate": (
        [
            "evaluation/metrics",
            "models/network",
            "models/resnet",
            "data/transforms",
            "data/store",
            "models/features",
        ],
        [
            "data/samplers",
            "losses/refinement",
            "losses/objective",
            "losses/memory",
            "pseudo_labels/association",
            "pseudo_labels/clustering",
            "training/optimizer",
            "training/round",
            "stages/train",
        ],
    ),
}


@pytest.mark.parametrize("stage", READS)
def test_only_modules_that_a_stage_runs_count(package, fresh_hash, stage):
    """Code added to a module changes the hash exactly if the stage imports it, even indirectly."""
    before = fresh_hash(stage)
    for names, counts in zip(READS[stage], (True, False), strict=True):
        for name in names:
            path = package / f"{name}.py"
            content = path.read_bytes()
            add_code(path)
            assert (fresh_hash(stage) != before) == counts, name
            path.write_bytes(content)
    assert fresh_hash(stage) == before


def test_readers_of_other_data_sets_do_not_count(package, fresh_hash):
    """Preprocessing RegDB depends on RegDB's reader, not on LLCM's."""
    others = {"datasets.llcm", "datasets.sysu"}
    before = fresh_hash("preprocess"), fresh_hash("preprocess", others)
    for name, counts in (("llcm", False), ("regdb", True)):
        add_code(package / f"datasets/{name}.py")
        assert fresh_hash("preprocess") != before[0]
        assert (fresh_hash("preprocess", others) != before[1]) == counts


@pytest.mark.parametrize("name", ["config/schema", "config/loading"])
def test_settings_do_not_count(package, fresh_hash, name):
    """Code that only passes settings to a stage does not rerun it; their values do so elsewhere."""
    before = fresh_hash("train")
    (package / f"{name}.py").write_text("NOTHING = 1\n")
    assert fresh_hash("train") == before


@pytest.mark.parametrize(
    "statement", ["from salcr import late", "import salcr.late", "from ..late import X"]
)
def test_an_import_inside_a_function_counts(package, fresh_hash, statement):
    """A module imported only when a function runs is included, whatever the form of the import."""
    new = package / "late.py"
    new.write_text("X = 1\n")
    edit(package / "pseudo_labels/sinkhorn.py", "    kernel =", f"    {statement}\n    kernel =")
    before = fresh_hash("associate")
    new.write_text("X = 2\n")
    assert fresh_hash("associate") != before


BLOCKS = """
if x: import salcr.a
else: from salcr import b
for x in y:
    while z:
        with w: from salcr.c import anything
try: import salcr.d as e
except E:
    async def f(): from salcr.e import g
else:
    class C: import salcr.f.g
finally:
    match x:
        case 1: import os, salcr.h
"""


def test_an_import_in_any_block_is_seen(tmp_path):
    """Branches, loops, handlers, cases, functions and classes are searched; packages, too."""
    names = ["a", "b", "c", "d", "e", "f/__init__", "f/g", "h", "unused", "blocks"]
    (tmp_path / "f").mkdir()
    for name in names:
        (tmp_path / f"{name}.py").write_text(BLOCKS if name == "blocks" else "")
    imported = codehash.imported_modules(tmp_path / "blocks.py", tmp_path)
    assert set(imported) == {tmp_path / f"{name}.py" for name in names[:-2]}


def test_stages_have_different_hashes(package, fresh_hash):
    """Different stages run different code; the same code gives the same hash."""
    hashes = [fresh_hash(stage) for stage in READS]
    assert len(set(hashes)) == len(READS)
    assert hashes == [fresh_hash(stage) for stage in READS]


def test_a_module_is_parsed_once_for_all_stages(package, monkeypatch):
    """Snakemake requests every stage's hash at each start: no module is parsed twice."""
    parsed = []
    parse = ast.parse
    monkeypatch.setattr(ast, "parse", lambda text: parsed.append(text) or parse(text))
    codehash._module.cache_clear()
    for stage in codehash.stage_names(package):
        codehash.stage_hash(stage, package=package)
    assert len(parsed) > len(codehash.stage_names(package))
    assert len(parsed) == len(set(parsed))
