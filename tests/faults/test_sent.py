"""Untrusted input is safe: text reaches no shell, paths stay inside, files execute no code."""

from __future__ import annotations

import re
import subprocess
import types
import typing
from pathlib import Path

import pytest
import torch
import yaml

from salcr.config import schema
from salcr.config.loading import DEFAULT_CONFIG, merge, validate
from salcr.datasets.readers import READERS
from salcr.datasets.synthetic.generate import synthesize
from salcr.errors import SalcrError
from salcr.files import read_yaml
from tests.support import faults, plans, tiny

ODD = """a b; $(touch hacked) `touch hacked` 'c' "d" & | > hacked"""
FREE = {"dataset.root", "model.weights", "pretrain.checkpoint", "transfer.checkpoint"}


def holds_any_text(annotation: object) -> bool:
    """Return whether a type admits arbitrary strings, also inside lists, unions and annotations."""
    inside = typing.get_args(annotation) if typing.get_origin(annotation) in (
        list, typing.Annotated, typing.Union, types.UnionType,
    ) else (annotation,)  # fmt: skip
    return any(one is str or (one is not annotation and holds_any_text(one)) for one in inside)


def test_only_six_keys_hold_free_text() -> None:
    """All other keys are numbers, choices, or names without special characters, by their types."""
    keys = set()
    for section, field in schema.Config.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, schema.Section):
            for key, inner in model.model_fields.items():
                if holds_any_text(inner.annotation):
                    keys.add(f"{section}.{key}")
    # Checked below.
    names = {"dataset.name", "transfer.results", "plot.variants", "study.page_table"}
    in_a_study = {"study.rows", "study.page"}  # checked in tests/workflow/test_study.py
    assert keys == FREE | names | in_a_study


@pytest.mark.parametrize("name", [ODD, "a b", "a;b", "$(b)", "../b", "a/b", "-b", ".b", "a\nb", ""])
def test_names_have_no_odd_letters(name: str) -> None:
    """Names of data sets and variants become folders: letters, digits, - and _ only."""
    default = read_yaml(DEFAULT_CONFIG)
    for overlay in (
        {"dataset": {"name": name}},
        {"variants": {name: {}}},
        {"study": {"page_table": name}},
    ):
        if "variants" in overlay:
            default["variants"] = {}
        with pytest.raises(SalcrError):
            validate(merge(default, overlay))


@pytest.mark.slow
@pytest.mark.parametrize("key", sorted(FREE))
def test_free_text_reaches_no_shell(tmp_path: Path, key: str) -> None:
    """A path with blanks, quotes and commands is used literally by Snakemake and its shell."""
    section, name = key.split(".")
    overlay = tmp_path / "overlay.yaml"
    values = {name: ODD, "results": "other"} if section == "transfer" else {name: ODD}
    overlay.write_text(yaml.safe_dump({section: values}))
    other = tmp_path / "results/other/preprocess/preprocess.json"
    other.parent.mkdir(parents=True)
    other.touch()
    if key != "dataset.root":  # a network or a state dict that exists under this name
        torch.save({"x": torch.zeros(1)}, tmp_path / ODD)
    until = {"dataset": "preprocess", "transfer": "transfer"}.get(section, "pretrain")
    words = [
        "tables" if section == "transfer" else "all",
        "--configfile",
        tiny.TINY_CONFIG,
        overlay,
        "--directory",
        tmp_path,
    ]
    words += ["--cores", "1", "--until", until]
    done = subprocess.run(
        [*plans.command(), *map(str, words)], env=faults.ENVIRONMENT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert not list(tmp_path.rglob("hacked"))
    if key == "dataset.root":
        assert done.returncode == 0, done.stderr
        assert (tmp_path / ODD / "Visible/1").is_dir()
    elif key == "transfer.checkpoint":  # its data set is checked first
        faults.the_error((tmp_path / "results/tiny/logs/transfer.log").read_text())
    else:  # opened under its name, but not such a network
        logs = list((tmp_path / "results/tiny/logs/pretrain").iterdir())
        assert logs and all(ODD in faults.the_error(log.read_text()) for log in logs)


SPLITS = {
    "regdb": "idx/train_visible_1.txt",
    "llcm": "idx/train_vis.txt",
    "sysu": "exp/train_id.txt",
}
LEAVING = ["../secret.bmp 0", "/etc/passwd 0", "Visible/../../secret.bmp 0", "..,1", "../1"]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a synthetic data set of each layout."""
    folder = tmp_path_factory.mktemp("datasets")
    for layout in SPLITS:
        sizes = {"num_identities": 5, "images_per_identity": 2, "num_trials": 1, "seed": 1}
        synthesize(folder / layout, layout=layout, **sizes, height=32, width=16)
    return folder


@pytest.mark.parametrize("layout", SPLITS)
@pytest.mark.parametrize("line", [*LEAVING, "a\0b.bmp 0"])
def test_split_files_name_nothing_outside(datasets: Path, layout: str, line: str) -> None:
    """Absolute, with .. or with a null byte: rejected, and the split file is named."""
    path = datasets / layout / SPLITS[layout]
    before = path.read_text()
    path.write_text(f"{before}{line}\n")
    try:
        with pytest.raises(SalcrError, match=re.escape(path.name)):
            READERS[layout].read_records(datasets / layout)
    finally:
        path.write_text(before)


def test_links_in_the_data_folder_are_followed(datasets: Path, tmp_path: Path) -> None:
    """Data sets often reside on another disk; whoever can add a link can also add an image."""
    for folder in (datasets / "regdb").iterdir():
        (tmp_path / folder.name).symlink_to(folder)
    records = READERS["regdb"].read_records(tmp_path)
    assert records == READERS["regdb"].read_records(datasets / "regdb")


class Evil:
    """Creates a file when unpickled by a loader that executes arbitrary code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


def test_no_file_that_is_loaded_executes_code(
    complete_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Network, optimizer state, weights, a given checkpoint, a released one, resume.pt."""
    run_copy, hacked = faults.copy_run(complete_run, tmp_path / "copy"), tmp_path / "hacked"
    evil, out = tmp_path / "evil.pt", run_copy / faults.OUT
    torch.save({"format": 1, "key": Evil(hacked), "state_dict": {"x": Evil(hacked)}}, evil)
    data = run_copy / "data"
    released = ["import-checkpoint", evil, tmp_path / "ours.pt"]
    commands: list[list[object]] = [
        [*faults.words("associate", run_copy), "--checkpoint", evil],
        [*faults.words("train", run_copy), "--checkpoint", evil],
        [*faults.words("evaluate", run_copy), "--checkpoint", evil],
        [*tiny.train_words(data, out, 2), "--labels", out / "round01/labels.csv",
         "--optimizer-state", evil],
        [*faults.words("pretrain", run_copy), "--model-weights", evil, "--weights-file", evil],
        [*faults.words("pretrain", run_copy), "--pretrain-checkpoint", evil,
         "--from-checkpoint", evil],
        released,
    ]  # fmt: skip
    for words in commands:
        capsys.readouterr()
        assert tiny.run(*words) == 1
        assert str(evil) in faults.the_error(capsys.readouterr().err)
    # A state between two epochs is optional input: it is reported, and not used.
    evil.rename(out / "round00/resume.pt")
    assert tiny.run(*faults.words("pretrain", run_copy)) == 0
    assert "resume.pt: is damaged or not a checkpoint" in capsys.readouterr().err
    assert faults.contents(run_copy, "pretrain") == faults.contents(complete_run, "pretrain")
    assert not hacked.exists()
