"""Paths of a configuration: one spelling for one place, and what no path may hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from salcr.config.loading import stage_flags, validate
from salcr.config.paths import one_spelling
from salcr.config.plan import Plan
from salcr.errors import SalcrError
from tests.config.test_config import values

# every key that holds a path, with the keys that it needs
KEYS: list[tuple[str, str, dict[str, Any]]] = [
    ("dataset", "root", {}),
    ("model", "weights", {}),
    ("pretrain", "checkpoint", {}),
    ("transfer", "checkpoint", {"results": "other"}),
    ("study", "rows", {}),
    ("study", "page", {}),
]
named = pytest.mark.parametrize(("section", "key", "others"), KEYS, ids=lambda value: str(value))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with folders a/b and X, and a link to a folder elsewhere."""
    folder = tmp_path / "here"
    (folder / "a/b").mkdir(parents=True)
    (folder / "X").mkdir()
    (tmp_path / "elsewhere/inside").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "elsewhere/inside")
    (folder / "linked_data").symlink_to(folder / "X")
    monkeypatch.chdir(folder)
    return folder


SPELLINGS = ["X", "X/", "X//", "./X", "././X/.", "a/../X", "a/b/../../X", "a/./b/.././../X/"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_equal_places_have_one_spelling(here: Path, spelling: str) -> None:
    """A slash at the end, a dot, a step into a folder and back: all are the same, and are X."""
    assert Path(spelling).samefile("X")
    assert one_spelling(spelling) == "X"
    assert one_spelling(f"{here}/{spelling}") == "X"


@pytest.mark.parametrize(
    "spelling", ["link/../X", "missing/../X", "../X", "../../a/../X", "/other/X", "/", "a\\..\\X"]
)
def test_other_places_keep_their_spelling(here: Path, spelling: str) -> None:
    """The folder above a link's target is another one; of a missing one only the system knows."""
    assert one_spelling(spelling) == spelling
    assert one_spelling("link/../X") != one_spelling("X")


def test_a_link_is_the_place_of_its_name(here: Path) -> None:
    """Data that move to another disk, with a link in their place, are not new data."""
    assert one_spelling("./linked_data/") == "linked_data"


@pytest.mark.parametrize("spelling", [*SPELLINGS, "link/../X", "../X", "/a//b", "//a", ".", "a/.."])
def test_the_spelling_of_a_spelling_is_itself(here: Path, spelling: str) -> None:
    """Jobs read the checked settings again; the place must not change, either."""
    once = one_spelling(spelling)
    assert one_spelling(once) == once
    assert os.path.realpath(once) == os.path.realpath(spelling)


@named
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_key_that_holds_a_path_is_spelled_in_one_way(
    here: Path, section: str, key: str, others: dict[str, Any], spelling: str
) -> None:
    """Whatever spelling is configured, the plan and the flags of all stages are the same."""

    def planned(path: str) -> Plan:
        return Plan.from_values(values(**{section: {key: path, **others}}))

    assert planned(spelling) == planned("X")
    for stage in ("pretrain", "preprocess", "train"):
        assert stage_flags(planned(spelling).config, stage) == stage_flags(
            planned("X").config, stage
        )


@named
@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("data/{x}", "braces for wildcards"),
        ("-x", "begins with -"),
        ("./-x", "begins with -"),
        ("a/../-x", "begins with -"),
        ("a\nb", "a line break or a control character"),
        ("a\0b", "a line break or a control character"),
        ("x" * 300, "has 300 bytes; 255 are possible"),
        ("data/" + "é" * 128, "has 256 bytes; 255 are possible"),
        ("", "at least 1 character"),
    ],
)
def test_what_no_path_may_hold_is_refused_with_its_key(
    here: Path, section: str, key: str, others: dict[str, Any], path: str, complaint: str
) -> None:
    """Braces, options, control characters and names that no file system takes."""
    with pytest.raises(SalcrError) as caught:
        validate(values(**{section: {key: path, **others}}))
    assert f"{section}.{key}" in str(caught.value) and complaint in str(caught.value)


def test_only_a_given_checkpoint_may_name_the_trial(here: Path) -> None:
    """{trial} is the only text in braces, and only where each trial has its own file."""
    assert validate(values(pretrain={"checkpoint": "./{trial}.pt"})).pretrain.checkpoint == (
        "{trial}.pt"
    )
    for overlay in ({"model": {"weights": "{trial}.pt"}}, {"pretrain": {"checkpoint": "{round}"}}):
        with pytest.raises(SalcrError, match="braces for wildcards"):
            validate(values(**overlay))


@pytest.mark.parametrize("word", ["imagenet", "random"])
def test_a_file_named_like_a_word_is_still_a_file(here: Path, word: str) -> None:
    """`./random` is a state dict, `random` is not, however often the value is checked."""
    checked = validate(values(model={"weights": f"./{word}"}))
    assert checked.model.weights == f"./{word}"
    assert validate(checked.model_dump()).model.weights == f"./{word}"
    assert validate(values(model={"weights": word})).model.weights == word


def test_a_named_file_that_may_not_be_looked_at_is_a_message(here: Path) -> None:
    """A file in place of a folder above it, and a path that is too long as a whole."""
    Path("file").touch()
    for path in ("file/net.pth", "/".join(["x" * 200] * 30)):
        with pytest.raises(SalcrError, match=r"^model\.weights: "):
            Plan.from_values(values(model={"weights": path})).check_named_files()


@pytest.mark.parametrize("name", ["x" * 101, "x" * 300])
def test_names_are_short_enough_for_file_names(name: str) -> None:
    """The name of a variant is a part of the name of a log, beside trial and round."""
    for overlay in ({"dataset": {"name": name}}, {"variants": {name: {}}}):
        with pytest.raises(SalcrError):
            validate(values(**overlay))
    validate(values(dataset={"name": "x" * 100}, variants={"y" * 100: {}}))
