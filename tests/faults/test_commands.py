"""Every command given wrong files, numbers and paths: one message, never a traceback."""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from salcr import files
from salcr.__main__ import main
from salcr.config.loading import flag_name
from salcr.config.schema import section_model
from salcr.config.stages import STAGES, Stage
from tests.support import commands
from tests.support.commands import COMMANDS, Read, Write, several, words_of

Output = pytest.CaptureFixture[str]
Replace = Callable[[Path], Path]
READS = [
    pytest.param(name, path, id=f"{name}, {path}", marks=[pytest.mark.slow] * (name == "verify"))
    for name, command in COMMANDS.items()
    for path in command.reads
]
NETWORK = commands.LAST / "checkpoint.pt"
NEW = ("--rows", "--page")  # are made where they are missing
WITH_NETWORK = [name for name, command in COMMANDS.items() if NETWORK in command.reads]


@pytest.fixture(scope="module")
def results(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what every command reads; a test restores what it replaces."""
    folder = tmp_path_factory.mktemp("results") / "copy"
    shutil.copytree(finished_run, folder)
    commands.complete(folder)
    return folder


@pytest.fixture(autouse=True)
def end_serving_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `serve` end where it would wait for requests."""
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)


@pytest.fixture
def replaceable(results: Path) -> Iterator[Replace]:
    """Return a function that says where a file of the results is, and restores it at the end."""
    before: dict[Path, bytes] = {}

    def place(path: Path) -> Path:
        before.setdefault(results / path, (results / path).read_bytes())
        return results / path

    yield place
    for path, content in before.items():
        path.write_bytes(content)


def run(words: list[str], capsys: Output) -> tuple[int, str]:
    """Return status and standard error of a command; an exception would be a traceback."""
    capsys.readouterr()
    try:
        status = main(words)
    except SystemExit as error:  # argparse's
        status = int(str(error.code))
    finally:
        plt.close("all")  # a figure that was refused half-way
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert sum("error: " in line for line in text.splitlines()) == (status != 0), text
    return status, text


def refused(words: list[str], capsys: Output) -> str:
    """Return standard error of a command that does not succeed."""
    status, text = run(words, capsys)
    assert status in (1, 2), words
    return text


def parser_of(stage: Stage) -> argparse.ArgumentParser:
    """Return a parser with the arguments of a stage alone."""
    parser = argparse.ArgumentParser()
    importlib.import_module(f"salcr.stages.{stage.name}").add_arguments(parser)
    return parser


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_every_path_of_every_command_is_tried(stage: Stage) -> None:
    """The table of commands has each command with each of its paths; `weights` would download."""
    used = [command.flags for name, command in COMMANDS.items() if name.split()[0] == stage.command]
    assert used or stage.name == "weights"
    for action in parser_of(stage)._actions if used else []:
        if action.type is Path:
            flag = action.option_strings[0] if action.option_strings else ""
            values = [value for flags in used for value in several(flags.get(flag))]
            assert any(isinstance(value, Read | Write) for value in values), flag


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_of_the_table_succeeds(
    results: Path, tmp_path: Path, capsys: Output, name: str
) -> None:
    """So what the others refuse is refused because of what they change."""
    assert run(words_of(name, results, tmp_path), capsys)[0] == 0


def other_contents(results: Path, path: Path) -> dict[str, bytes]:
    """Return files that are none of this name: of another format, or by another stage."""
    files.write_json(results / "signed.json", {})
    contents = {"text": b"hello\n", "empty": b"", "list": b"[]", "csv": b"a,b\n1,2\n", "{}": b"{}"}
    for name in (
        Path("signed.json"), commands.TRIAL / "label_quality.json", commands.LAST / "losses.csv",
        Path("study.csv"), commands.LAST / "optimizer.pt", commands.QUERY,
    ):  # fmt: skip
        if name.name != path.name:
            contents[name.name] = (results / name).read_bytes()
    if path.name == "study.csv":  # an empty one has no starts yet
        del contents["empty"]
    return contents


QUICK = ("list", "csv", "signed.json", "label_quality.json")


@pytest.mark.parametrize(("name", "path"), READS)
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_file_of_another_kind_is_refused_by_name(
    results: Path,
    tmp_path: Path,
    replaceable: Replace,
    capsys: Output,
    name: str,
    path: Path,
    every: bool,
) -> None:
    """A text, a table, a json or a checkpoint of another stage, in the place of each input."""
    contents = other_contents(results, path)
    for kind in contents if every else QUICK:
        if kind in contents:
            replaceable(path).write_bytes(contents[kind])
            assert path.name in refused(words_of(name, results, tmp_path), capsys), kind


def mutations(value: Any, most: int = 99) -> Iterator[Any]:
    """Yield a value of dictionaries and lists with a part missing or of another type.

    Args:
        value: the value.
        most: how many keys of a dictionary are tried; of those inside of it three.
    """
    for key in list(value)[:most] if isinstance(value, dict) else range(len(value))[:1]:
        copy = value.copy()
        copy.pop(key)
        yield copy
        parts = mutations(value[key], 3) if isinstance(value[key], dict | list) else ()
        for other in (None, "x", [], -1.5, *parts):
            copy = value.copy()
            copy[key] = other
            yield copy


def changed_tables(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield a table without its lines, or with a column that is missing or holds something else."""
    yield table[:0]
    for column in table:
        yield table.drop(columns=column)
        yield table.assign(**{str(column): -1})
        for other in ("x", None):
            yield table.astype({column: object}).assign(
                **{str(column): [other, *table[column][1:]]}
            )


def some(values: Iterator[Any]) -> list[Any]:
    """Return up to eight of the values, evenly spaced: one is often a whole run."""
    every = list(values)
    return every[:: -(-len(every) // 8)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "path"), READS)
def test_a_missing_or_wrong_part_is_no_traceback(
    results: Path, tmp_path: Path, replaceable: Replace, capsys: Output, name: str, path: Path
) -> None:
    """With the checksum of the changed content: only what the file holds can be noticed."""
    place = replaceable(path)
    if path.suffix == ".json":
        value = json.loads(place.read_text())
        signed = value.pop("checksum", None) is not None
        for changed in some(mutations(value)):
            (files.write_json if signed else files.write_plain_json)(place, changed)
            run(words_of(name, results, tmp_path), capsys)
    elif path.suffix in (".csv", ".tsv") and "checksum" not in place.read_text():
        separator = {".csv": ",", ".tsv": "\t"}[path.suffix]
        for table in some(changed_tables(pd.read_csv(place, sep=separator))):
            table.to_csv(place, index=False, sep=separator)
            run(words_of(name, results, tmp_path), capsys)


def misfitting(checkpoint: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield checkpoints whose network cannot be built, or whose tensors are not those of it."""
    for key in ("model", "state", "round", "trial", "data_hash", "config"):
        yield {name: value for name, value in checkpoint.items() if name != key}
        yield {**checkpoint, key: 1.5}
    shape, state = checkpoint["model"], checkpoint["state"]
    for key, value in (
        ("width", 16), ("width", -1), ("width", 10**12), ("width", "8"), ("num_parts", 7),
        ("num_parts", 0), ("backbone", "resnet50"), ("backbone", "resnext50_32x4d"),
        ("backbone", "vgg"), ("backbone", None),
    ):  # fmt: skip
        yield {**checkpoint, "model": {**shape, key: value}}
    first, *others = state
    yield {**checkpoint, "state": {name: state[name] for name in others}}
    yield {**checkpoint, "state": {**state, "another.weight": torch.zeros(3)}}
    for value in (torch.zeros(3), state[first].half(), 7, "x"):
        yield {**checkpoint, "state": {**state, first: value}}


@pytest.mark.parametrize("name", WITH_NETWORK)
def test_a_network_that_does_not_fit_is_refused_by_every_reader(
    results: Path, tmp_path: Path, replaceable: Replace, capsys: Output, name: str
) -> None:
    """Missing and unknown parameters, other shapes and types, a network that cannot exist."""
    place = replaceable(NETWORK)
    checkpoints = list(misfitting(torch.load(place, weights_only=True)))
    for number, checkpoint in enumerate(checkpoints):
        if name == "associate" or number % 7 == WITH_NETWORK.index(name) % 7:  # each in turn
            torch.save(checkpoint, place)
            message = refused(words_of(name, results, tmp_path), capsys)
            assert str(place) in message or "other model" in message, checkpoint.keys()


def test_moments_that_do_not_fit_are_refused(
    results: Path, tmp_path: Path, replaceable: Replace, capsys: Output
) -> None:
    """An optimizer state with a moment that is missing, of another shape, or no tensor."""
    place = replaceable(commands.LAST / "optimizer.pt")
    saved = torch.load(place, weights_only=True)
    moments = saved["adam"]["state"]
    entries = moments[0]
    for state in (
        [], {0: {}}, {0: 7}, {-1: entries}, {10**6: entries}, {"0": entries},
        {0: {**entries, "exp_avg_sq": torch.zeros(3)}}, {0: {**entries, "exp_avg": None}},
        {0: {**entries, "step": torch.zeros(2)}},
    ):  # fmt: skip
        torch.save({**saved, "adam": {"state": state}}, place)
        assert str(place) in refused(words_of("train", results, tmp_path), capsys)
    torch.save({**saved, "adam": None}, place)
    assert str(place) in refused(words_of("train", results, tmp_path), capsys)


def test_weights_that_do_not_fit_are_refused(
    results: Path, tmp_path: Path, replaceable: Replace, capsys: Output
) -> None:
    """A state dict of another program that lacks a parameter, has another shape, or no tensors."""
    for command, path in (
        ("pretrain weights", "weights.pth"),
        ("import-checkpoint", "released.pth"),
    ):
        place = replaceable(Path(path))
        state = torch.load(place, weights_only=True)
        first, *others = state
        for other in (
            {name: state[name] for name in others}, {**state, first: torch.zeros(3)},
            {**state, first: 7}, {}, [], {"state_dict": {}}, {"state_dict": 7},
        ):  # fmt: skip
            torch.save(other, place)
            assert path in refused(words_of(command, results, tmp_path), capsys)


def numeric_flags(stage: Stage) -> Iterator[str]:
    """Yield the flags of a stage that hold numbers."""
    if stage.seeded:
        yield "--seed"
    for action in parser_of(stage)._actions:
        if action.type is int:
            yield action.option_strings[0]
    for section in stage.sections:
        for key, field in section_model(section).model_fields.items():
            if field.annotation in (int, float):
                yield flag_name(section, key)


@pytest.mark.parametrize("name", {name.split()[0]: name for name in COMMANDS}.values())
def test_numbers_out_of_range_are_refused_by_name(
    results: Path, tmp_path: Path, capsys: Output, name: str
) -> None:
    """Negative, endless, not a number, not one at all: in each flag that holds a number."""
    stage = next(one for one in STAGES.values() if one.command == name.split()[0])
    words = words_of(name, results, tmp_path)
    for flag in numeric_flags(stage):
        count = len(several(COMMANDS[name].flags.get(flag, 0)))
        for value in ("-1", "-.inf", ".nan", "x"):
            message = refused([*words, flag, *[value] * count], capsys)
            assert flag in message or flag[2:].replace("-", ".", 1).replace("-", "_") in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "flag", "value"),
    [
        ("study", "--origins", "[]"), ("study", "--origins", '{"a": ["x"]}'),
        ("study", "--compare", '{"salcr": ["other"]}'), ("study", "--compare", '{"salcr": "dagl"}'),
        ("tables", "--matches", "[]"), ("tables", "--matches", '{"3": {"SALCR": ["salcr"]}}'),
        ("study-row", "--variant", ""), ("study-row", "--variant", "../x"),
        ("aggregate", "--runs", "salcr"), ("aggregate", "--runs", "salcr:salcr:-1"),
        ("provenance", "--runs", "a:../b:1"), ("plot refinement_k", "--names", "salcr"),
        ("plot refinement_k", "--names", "salcr=x"), ("plot refinement_k", "--names", "none=1"),
        ("plot ranking", "--names", "one two"), ("plot ranking", "--png", "a.txt"),
        ("plot losses", "--plot-variants", "[another]"),
        ("plot cmc", "--plot-variants", "[another]"), ("study", "--figures", "a.txt"),
        ("associate", "--threads", "100000"), ("associate", "--trial", "0"),
        ("train", "--round", "1000"), ("import-checkpoint", "--image-size", "1025 32"),
        ("synthesize", "--seed", str(2**31)), ("train", "--train-instances", str(10**30)),
        ("pretrain weights", "--pretrain-instances", "5000"),
    ],
)  # fmt: skip
def test_words_that_mean_nothing_are_refused_by_name(
    results: Path, tmp_path: Path, capsys: Output, command: str, flag: str, value: str
) -> None:
    """Names, lists and numbers that fit neither the command nor the files are one message."""
    values = value.split() if " " in value and "{" not in value else [value]
    message = refused([*words_of(command, results, tmp_path), flag, *values], capsys)
    assert flag[2:] in message.replace(".", "-") or values[0] in message


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_paths_that_are_something_else_are_no_traceback(
    results: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The working folder, a folder for a file and the reverse, nothing, a name that is too long."""
    here, folder, file = tmp_path / "here", tmp_path / "folder", tmp_path / "file"
    here.mkdir(), folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    file.write_text("mine")
    monkeypatch.chdir(here)
    flags = COMMANDS[name].flags
    places = [
        (flag, number, one)
        for flag, value in flags.items()
        for number, one in enumerate(several(value))
        if isinstance(one, Read | Write)
    ]
    read = ("", str(folder), "missing/x")
    written = (".", "", str(folder), f"{file}/x", "x" * 300)
    for flag, number, one in places:
        for bad in read if isinstance(one, Read) else written:
            changed = several(flags[flag])
            changed[number] = bad
            words = words_of(name, results, tmp_path / "out", flags | {flag: changed})
            status, _ = run(words, capsys)
            is_nothing = bad in ("missing/x", "x" * 300)
            assert status or isinstance(one, Write) or not is_nothing or flag in NEW, words
            assert (folder / "mine.txt").read_text() == "mine"
            file.write_text("mine")  # which a command may have replaced, as told
