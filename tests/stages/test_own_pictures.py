"""Training on pictures without identities, and what the workflow plans for them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from salcr import files
from salcr.config.loading import DEFAULT_CONFIG, merge
from salcr.config.plan import Plan
from salcr.errors import SalcrError
from salcr.reporting.inputs import figure_inputs
from tests.support import own_pictures, tiny
from tests.support.plans import jobs_in, snakemake


def train(data: Path, out: Path) -> None:
    """Run stage one and two rounds of stage two."""
    assert tiny.pretrain(data, out) == 0
    for round_ in (1, 2):
        assert tiny.associate(data, out, round_) == 0
        assert tiny.train(data, out, round_) == 0


def test_training_equals_that_with_identities_to_the_byte(stage_one: Path, tmp_path: Path) -> None:
    """The training images of a data set whose people are known, as two folders of pictures.

    Names, folders, test images and identities differ; labels, losses and networks do not, except
    for the hash of the data set, which they name.
    """
    own_pictures.from_regdb(stage_one / "raw", tmp_path / "own")
    assert own_pictures.preprocess(tmp_path / "own", tmp_path / "data") == 0
    runs = {"known": stage_one / "data", "unknown": tmp_path / "data"}
    for name, data in runs.items():
        train(data, tmp_path / name)
    identities = {name: pd.read_csv(data / "identities.csv") for name, data in runs.items()}
    assert (identities["known"]["identity"] >= 0).all()
    assert (identities["unknown"]["identity"] == -1).all()
    known, unknown = (
        {path.relative_to(tmp_path / name): path for path in (tmp_path / name).rglob("round*/*.*")}
        for name in runs
    )
    compared = {name.name for name in known}
    assert known.keys() == unknown.keys()
    assert {"labels.csv", "losses.csv", "checkpoint.pt", "optimizer.pt"} <= compared
    for name, path in known.items():
        if path.suffix == ".pt":
            assert stored(path) == stored(unknown[name]), name
        elif path.name == "labels.csv":
            tables = [pd.read_csv(one).drop(columns="checksum") for one in (path, unknown[name])]
            assert tables[0].equals(tables[1]) and len(tables[0]) == 60, name
        else:
            assert path.read_bytes() == unknown[name].read_bytes(), name


def stored(path: Path) -> dict[str, bytes]:
    """Return the bytes of each tensor of a file, and what else it holds, but for the data set."""
    leaves: dict[str, bytes] = {}

    def visit(value: object, name: str) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                visit(part, f"{name}/{key}")
        elif isinstance(value, torch.Tensor):
            leaves[name] = value.numpy().tobytes()
        elif "data_hash" not in name and "checksum" not in name:
            leaves[name] = repr(value).encode()

    visit(torch.load(path, weights_only=True), "")
    assert sum(len(value) for value in leaves.values()) > 10_000
    return leaves


def plan(*, has_test: bool, **overlay: object) -> Plan:
    """Return the plan of three rounds on pictures of one's own."""
    own = {"rounds": 3, "dataset": {"layout": "folders", "trials": [1]}}
    values = merge(merge(files.read_yaml(DEFAULT_CONFIG), own), overlay)
    made = Plan.from_values(values)
    return Plan(made.config, made.variants, made.runs, has_test=has_test)


def test_without_test_images_nothing_that_needs_scores_is_planned() -> None:
    """With them, three rounds are evaluated, and the figures of test images are there."""
    ours, without = plan(has_test=True), plan(has_test=False)
    assert len(ours.evaluated("metrics.json")) == 4 and without.evaluated("metrics.json") == []
    assert without.every_round("checkpoint.pt") == ours.every_round("checkpoint.pt")
    others = {"losses", "label_quality", "cluster_centers"}
    assert figure_inputs(without, {}, []).keys() == others
    assert figure_inputs(ours, {}, []).keys() > others
    ours.check_test("study")
    with pytest.raises(SalcrError, match=r"^study: data/RegDB has no test images.*add test\.csv"):
        without.check_test("study")


def test_pictures_are_given_and_of_one_trial() -> None:
    """`synthesize` does not write this layout, and there is one split."""
    with pytest.raises(SalcrError, match="layout folders is for given pictures"):
        plan(has_test=True, dataset={"synthetic": True})
    with pytest.raises(SalcrError, match="layout folders has one split"):
        plan(has_test=True, dataset={"trials": [2]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a working folder with a configuration and four pictures for training."""
    own_pictures.small(tmp_path / "data/own")
    dataset = "{name: own, layout: folders, root: data/own, trials: [1], synthetic: false}"
    (tmp_path / "own.yaml").write_text(f"dataset: {dataset}\n")
    return tmp_path


def dry(folder: Path, target: str, *words: object) -> str:
    """Return what a dry run says."""
    configs = ["--configfile", tiny.TINY_CONFIG, folder / "own.yaml"]
    return snakemake(folder, target, "--dry-run", *configs, *words).stdout


@pytest.mark.parametrize("rounds_per_job", [1, "all"])
def test_stages_that_are_planned(folder: Path, rounds_per_job: object) -> None:
    """Two variants of two rounds: training and label quality, no scores; with test images, both."""
    compute = f"compute={{rounds_per_job: {rounds_per_job}, threads: 1, device: cpu}}"
    words = ["--config", "rounds=2", compute]
    jobs = jobs_in(dry(folder, "report", *words))
    scored = {"evaluate", "evaluate_01_02", "analyze", "tables", "complexity"}
    assert jobs.keys().isdisjoint(scored)
    assert {"preprocess", "pretrain", "label_quality", "aggregate", "report", "plot"} <= jobs.keys()
    own_pictures.add_test(folder / "data/own")
    more = jobs_in(dry(folder, "report", *words))
    assert {"evaluate", "analyze", "tables"} <= more.keys() and more.keys() >= jobs.keys()


@pytest.mark.parametrize("target", ["tables", "study"])
def test_what_needs_scores_is_refused_before_anything_runs(folder: Path, target: str) -> None:
    """The paper's tables and a study, if there are no test images."""
    assert f"error: {target}: data/own has no test images" in dry(folder, target)


@pytest.mark.slow
def test_the_whole_workflow_without_test_images(folder: Path) -> None:
    """One command makes tables, figures and report; another picture runs preprocess again."""
    shutil.rmtree(folder / "data/own")
    assert tiny.run("synthesize", "--out", folder / "raw", "--seed", 3, *tiny.SYNTHESIZE) == 0
    own_pictures.from_regdb(folder / "raw", folder / "data/own")
    configs = ["--configfile", tiny.TINY_CONFIG, folder / "own.yaml"]
    done = snakemake(folder, "all", "report", *configs)
    assert done.returncode == 0, done.stdout
    assert "no test images: nothing was evaluated" in done.stdout
    page = (folder / "results/own/report.html").read_text()
    assert "There are no test images" in page and 'id="Tables"' not in page
    assert list(pd.read_csv(folder / "results/own/label_quality.csv")["known"].unique()) == [0]
    assert jobs_in(dry(folder, "all")) == {}
    own_pictures.copy(folder / "data/own", "visible/Türe 1/0000 a.bmp", "visible/another.bmp")
    assert "preprocess" in jobs_in(dry(folder, "all"))
