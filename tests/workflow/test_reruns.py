"""What a change causes to rerun and what not: one row per change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.plans import planned

# For the tiny workflow: two trials, two variants that share stage one, one round.
# Nine figures: four from tables, one from rankings, three from `analyze` and one from
# `cluster_centers`, the last four for the first trial only.
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
    "evaluate={open_set: true}": {"evaluate": 6, **RANKING},
    "evaluate={open_set: false}": {},
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
    "datasets/folders.py": {},
    "__main__.py": {},
}
RESULTS = {
    "preprocess/manifest.csv": "preprocess",
    "salcr/trial01/round00/checkpoint.pt": "pretrain",
    "salcr/trial01/round01/labels.csv": "associate",
    "salcr/trial01/round01/checkpoint.pt": "train",
    "salcr/trial01/label_quality.json": "label_quality",
    "dagl/trial02/round01/metrics.json": "evaluate",
    "dagl/trial01/round01/distances.json": "analyze",
    "salcr/trial01/round01/cluster_centers.csv": "cluster_centers",
}


def test_nothing(run_copy: Path) -> None:
    """A finished workflow copied elsewhere, modification times included, plans nothing."""
    assert planned(run_copy, repository=run_copy) == {}


@pytest.mark.parametrize("key", KEYS)
def test_a_changed_key(run_copy: Path, key: str) -> None:
    """The jobs of the stages that use the key, and those that depend on them, but no others."""
    assert planned(run_copy, "--config", key, repository=run_copy) == KEYS[key]


@pytest.mark.parametrize("name", CODE)
def test_edited_code(run_copy: Path, name: str) -> None:
    """The jobs of the stages that run the module, and those that depend on them, but no others."""
    path = run_copy / "salcr" / name
    path.write_text(path.read_text() + "\nADDED = 1\n")
    assert planned(run_copy, repository=run_copy) == CODE[name]


def test_reworded_messages(run_copy: Path) -> None:
    """Rewording an error that every stage may raise, or a message, plans nothing."""
    for name, start in (("files.py", "raise SalcrError("), ("stages/train.py", "say(")):
        path = run_copy / "salcr" / name
        text = path.read_text()
        assert start in text
        path.write_text(text.replace(start, f'{start}"In other words: " + '))
    assert planned(run_copy, repository=run_copy) == {}


def test_an_edited_comment(run_copy: Path) -> None:
    """Comments in a file that every stage uses, and in one used by training only, plan nothing."""
    for name in ("files.py", "losses/refinement.py"):
        path = run_copy / "salcr" / name
        path.write_text(f"# A new comment.\n{path.read_text()}")
    assert planned(run_copy, repository=run_copy) == {}


@pytest.mark.parametrize("name", RESULTS)
def test_a_deleted_result(run_copy: Path, name: str) -> None:
    """If it is requested, its own job recreates it, and no other job runs."""
    path = f"results/tiny/{name}"
    (run_copy / path).unlink()
    assert planned(run_copy, repository=run_copy, target=path) == {RESULTS[name]: 1}


def test_deleted_results_that_are_not_asked_for(run_copy: Path) -> None:
    """If everything derived from them exists, nothing is recreated."""
    for name in RESULTS:
        (run_copy / "results/tiny" / name).unlink()
    assert planned(run_copy, repository=run_copy) == {}


def test_a_deleted_table_or_figure(run_copy: Path) -> None:
    """Requested outputs are recreated, without the training behind them."""
    for name in ("summary.csv", "provenance.csv", "figures/cmc.png"):
        (run_copy / "results/tiny" / name).unlink()
    assert planned(run_copy, repository=run_copy) == REPORT


def test_one_more_trial(run_copy: Path) -> None:
    """Only its own jobs and the tables run; figures of a single trial are kept."""
    others = {*REPORT, "analyze", "cluster_centers"}
    of_a_trial = {rule: count // 2 for rule, count in PRETRAIN.items() if rule not in others}
    words = ["--config", "dataset={trials: [1, 2, 3]}"]
    assert planned(run_copy, *words, repository=run_copy) == {**of_a_trial, **REPORT}


def test_new_raw_data(run_copy: Path) -> None:
    """Changed content of files that define the data plans everything; a new date plans nothing."""
    path = run_copy / "data/tiny/synthesize.json"
    path.touch()
    assert planned(run_copy, repository=run_copy) == {}
    path.write_text(path.read_text() + "\n")
    assert planned(run_copy, repository=run_copy) == {"preprocess": 1, **PRETRAIN}
