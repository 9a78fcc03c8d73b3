"""The hash of a stage's code: what changes it and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from salcr import codehash


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """Return a copy of the package that the hash reads instead of the real one."""
    copy = tmp_path / "salcr"
    shutil.copytree(Path(codehash.__file__).parent, copy)
    monkeypatch.setattr(codehash, "_PACKAGE", copy)
    return copy


def fresh_hash(stage: str) -> str:
    """Return the hash from the files as they are now."""
    codehash._module.cache_clear()
    return codehash.stage_hash(stage)


@pytest.fixture(autouse=True)
def forget() -> object:
    """Drop what was read of the copy, before and after."""
    codehash._module.cache_clear()
    yield
    codehash._module.cache_clear()


def edit(path: Path, old: str, new: str) -> None:
    """Replace text that must occur in a file."""
    text = path.read_text()
    assert old in text, f"{path.name} does not hold {old!r}"
    path.write_text(text.replace(old, new))


COSMETIC = {
    "a comment": ("beta = np.full", "# how it starts\n    beta = np.full"),
    "a function's docstring": ('"""Return the transport plan', '"""Give the plan'),
    "the module's docstring": ('"""Entropy-regularized', '"""Regularized'),
    "layout": ("_MAX_STEPS = 500", "\n\n_MAX_STEPS  =  ( 500 )"),
}


@pytest.mark.parametrize("change", COSMETIC)
def test_words_and_layout_do_not_count(package, change):
    """An edit of comments, docstrings or layout leaves the hash as it was."""
    before = fresh_hash("associate")
    edit(package / "pseudo_labels/sinkhorn.py", *COSMETIC[change])
    assert fresh_hash("associate") == before


def test_the_docstring_of_a_class_does_not_count(package):
    """Words on a class change nothing, its methods do."""
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
def test_code_counts(package, module, old, new):
    """A constant, an operator, a line inside a function, the stage itself and the entry count."""
    before = fresh_hash("associate")
    edit(package / module, old, new)
    assert fresh_hash("associate") != before


# stage -> modules whose code it runs, directly or through others, and some that it does not
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
            "stages/train",
        ],
    ),
}


@pytest.mark.parametrize("stage", READS)
def test_only_modules_that_a_stage_runs_count(package, stage):
    """Code added to a module changes the hash exactly if the stage imports it, however far off."""
    before = fresh_hash(stage)
    for names, counts in zip(READS[stage], (True, False), strict=True):
        for name in names:
            path = package / f"{name}.py"
            text = path.read_text()
            path.write_text(text + "\nADDED = 1\n")
            assert (fresh_hash(stage) != before) == counts, name
            path.write_text(text)
    assert fresh_hash(stage) == before


def test_readers_of_other_data_sets_do_not_count(package):
    """Preprocessing RegDB hangs on RegDB's reader, not on LLCM's."""
    before = fresh_hash("preprocess"), unused_hash("preprocess")
    for name, counts in (("llcm", False), ("regdb", True)):
        path = package / f"datasets/{name}.py"
        path.write_text(path.read_text() + "\nADDED = 1\n")
        assert fresh_hash("preprocess") != before[0]
        assert (unused_hash("preprocess") != before[1]) == counts


def unused_hash(stage: str) -> str:
    """Return the hash for RegDB, where the readers of the other data sets do not count."""
    codehash._module.cache_clear()
    return codehash.stage_hash(stage, unused={"datasets.llcm", "datasets.sysu"})


@pytest.mark.parametrize("name", ["config/schema", "config/loading"])
def test_settings_do_not_count(package, name):
    """What only carries settings to a stage does not rerun it; their values do so elsewhere."""
    before = fresh_hash("train")
    (package / f"{name}.py").write_text("NOTHING = 1\n")
    assert fresh_hash("train") == before


def test_an_import_inside_a_function_counts(package):
    """A module that is only imported when a function runs is read as well."""
    new = package / "late.py"
    new.write_text("X = 1\n")
    edit(
        package / "pseudo_labels/sinkhorn.py",
        "    kernel =",
        "    from salcr import late\n    kernel =",
    )
    before = fresh_hash("associate")
    new.write_text("X = 2\n")
    assert fresh_hash("associate") != before


def test_stages_have_hashes_of_their_own(package):
    """Different stages run different code; the same code gives the same hash."""
    hashes = [fresh_hash(stage) for stage in READS]
    assert len(set(hashes)) == len(READS)
    assert hashes == [fresh_hash(stage) for stage in READS]
