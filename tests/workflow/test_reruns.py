"""What a change makes run again, and what not: one row per change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.plans import planned

# Of the tiny workflow: two trials, two variants that share stage one, one round.
# Nine figures: four from tables, one from rankings, three that `analyze` and one that
# `cluster_centers` feeds, the last four of the first trial alone.
REPORT = {"aggregate": 1, "plot": 4, "provenance": 1}
RANKING = {**REPORT, "plot": 5}
TRAIN = {"train": 4, "evaluate": 4, "analyze": 2, **REPORT, "plot": 8}
ASSOCIATE = {"associate": 4, "label_quality": 4, "cluster_centers": 1, **TRAIN, "plot": 9}
PRETRAIN = {"pretrain": 2, **ASSOCIATE, "evaluate": 6, "analyze": 3}

KEYS = {
    "pretrain={learning_rate: 2.0e-3}": PRETRAIN,
    "train={learning_rate: 2.0e-3}": TRAIN,
    "gpcr={k: 5}": TRAIN,
    "clustering={eps: 0.65}": PRETRAIN,
    "associate={sinkhorn_strength: 4.0}": ASSOCIATE,
    "evaluate={rerank: [cmfp], cmfp_k: [4, 8]}": {"evaluate": 6, **RANKING},
    "evaluate={rankings: 3}": {"evaluate": 6, **RANKING},
    "analyze={tsne_identities: 5}": {"analyze": 3, "plot": 3},
    "plot={dpi: 90}": {"plot": 9},
    "plot={variants: [dagl]}": {"plot": 9},
    "rounds=2": ASSOCIATE,
    "compute={threads: 2}": {},
    "preprocess={width: 40}": {"preprocess": 1, **PRETRAIN},
}
CODE = {
    "losses/refinement.py": TRAIN,
    "losses/memory.py": PRETRAIN,
    "pseudo_labels/matching.py": ASSOCIATE,
    "evaluation/metrics.py": {"evaluate": 6, **RANKING},
    "evaluation/label_quality.py": {"label_quality": 4, **REPORT},
    "stages/tables.py": {},  # a target of its own, see test_tables.py
    "models/saliency.py": {"analyze": 3, "plot": 3},
    "evaluation/analysis.py": {"analyze": 3, "plot": 3},
    "evaluation/cluster_centers.py": {"cluster_centers": 1, "plot": 1},
    "reporting/figures/style.py": {"plot": 9},
    "reporting/figures/curves.py": {"plot": 9},
    "training/tensorboard.py": {},  # TensorBoard's
    "reporting/captions.py": {},  # the report's, see test_report.py
    "stages/plot.py": {"plot": 9},
    "datasets/regdb.py": {"preprocess": 1, **PRETRAIN},
    "datasets/llcm.py": {},
    "__main__.py": {},
}
RESULTS = {
    "preprocess/manifest.csv": "preprocess",
    "salcr/trial01/round00/checkpoint.pt": "pretrain",
    "salcr/trial01/round01/labels.csv": "associate",
    "salcr/trial01/round01/checkpoint.pt": "train",
    "salcr/trial01/round01/label_quality.json": "label_quality",
    "dagl/trial02/round01/metrics.json": "evaluate",
    "dagl/trial01/round01/distances.json": "analyze",
    "salcr/trial01/round01/cluster_centers.csv": "cluster_centers",
}


def test_nothing(place: Path) -> None:
    """What is finished, and copied elsewhere with its dates, is not planned again."""
    assert planned(place, repository=place) == {}


@pytest.mark.parametrize("key", KEYS)
def test_a_changed_key(place: Path, key: str) -> None:
    """The jobs of the stages that use the key, and those that follow from them, no others."""
    assert planned(place, "--config", key, repository=place) == KEYS[key]


@pytest.mark.parametrize("name", CODE)
def test_edited_code(place: Path, name: str) -> None:
    """The jobs of the stages that run the module, and those that follow from them, no others."""
    path = place / "salcr" / name
    path.write_text(path.read_text() + "\nADDED = 1\n")
    assert planned(place, repository=place) == CODE[name]


def test_reworded_messages(place: Path) -> None:
    """Other words of an error that every stage may raise, and of a message, plan nothing."""
    for name, start in (("files.py", "raise SalcrError("), ("stages/train.py", "say(")):
        path = place / "salcr" / name
        text = path.read_text()
        assert start in text
        path.write_text(text.replace(start, f'{start}"In other words: " + '))
    assert planned(place, repository=place) == {}


def test_an_edited_comment(place: Path) -> None:
    """Words in a file that every stage uses, and one that only training does, plan nothing."""
    for name in ("files.py", "losses/refinement.py"):
        path = place / "salcr" / name
        path.write_text(f"# A new comment.\n{path.read_text()}")
    assert planned(place, repository=place) == {}


@pytest.mark.parametrize("name", RESULTS)
def test_a_deleted_result(place: Path, name: str) -> None:
    """Its own job makes it again where it is asked for, and no other job runs."""
    path = f"results/tiny/{name}"
    (place / path).unlink()
    assert planned(place, repository=place, target=path) == {RESULTS[name]: 1}


def test_deleted_results_that_are_not_asked_for(place: Path) -> None:
    """Where everything that was made from them is there, nothing is made again."""
    for name in RESULTS:
        (place / "results/tiny" / name).unlink()
    assert planned(place, repository=place) == {}


def test_a_deleted_table_or_figure(place: Path) -> None:
    """What the workflow is asked for is made again, without the training behind it."""
    for name in ("summary.csv", "provenance.csv", "figures/cmc.png"):
        (place / "results/tiny" / name).unlink()
    assert planned(place, repository=place) == REPORT


def test_one_more_trial(place: Path) -> None:
    """Only its own jobs, and the tables; what shows one trial stays."""
    others = {*REPORT, "analyze", "cluster_centers"}
    of_a_trial = {rule: count // 2 for rule, count in PRETRAIN.items() if rule not in others}
    words = ["--config", "dataset={trials: [1, 2, 3]}"]
    assert planned(place, *words, repository=place) == {**of_a_trial, **REPORT}


def test_new_raw_data(place: Path) -> None:
    """Other content of what says which data there is plans everything; a new date, nothing."""
    path = place / "data/tiny/synthesize.json"
    path.touch()
    assert planned(place, repository=place) == {}
    path.write_text(path.read_text() + "\n")
    assert planned(place, repository=place) == {"preprocess": 1, **PRETRAIN}
