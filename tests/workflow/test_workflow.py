"""The Snakemake workflow: it plans, runs, reruns only what a change affects, and reports errors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from salcr.config.loading import DEFAULT_CONFIG, merge, validate
from salcr.datasets.readers import READERS
from salcr.files import read_yaml
from tests.support import tiny
from tests.support.plans import REPOSITORY, planned, snakemake

CONFIGS = sorted((REPOSITORY / "config").glob("*.yaml"))


def test_summary_has_a_row_per_variant_stage_and_direction(finished_run: Path) -> None:
    """The columns and rows of summary.csv are those described in the README."""
    summary = pd.read_csv(finished_run / "results/tiny/summary.csv")
    scores = [f"rank{r}" for r in (1, 5, 10, 20)] + ["map", "minp"]
    expected = ["dataset", "variant", "stage", "setting", "rerank", "num_trials"]
    expected += [f"{score}_{statistic}" for score in scores for statistic in ("mean", "std")]
    assert list(summary.columns) == expected
    keys = {tuple(row) for row in summary[["variant", "stage", "setting"]].to_numpy()}
    assert keys == {
        (variant, stage, setting)
        for variant in ("salcr", "dagl")
        for stage in ("pretrain", "salcr")
        for setting in ("visible-to-thermal", "thermal-to-visible")
    }
    assert (summary["num_trials"] == 2).all()
    assert (
        summary[[name for name in expected if name.endswith("_mean")]]
        .map(lambda share: 0 <= share <= 100)
        .to_numpy()
        .all()
    )


def test_every_figure_is_there_in_both_formats(finished_run: Path) -> None:
    """Nine figures, each as png and pdf, none of them empty."""
    figures = list((finished_run / "results/tiny/figures").iterdir())
    names = ("losses", "label_quality", "cmc", "map", "ranking")
    names += ("attention", "cluster_centers", "distances", "tsne")
    expected = {f"{name}.{form}" for name in names for form in ("png", "pdf")}
    assert {path.name for path in figures} == expected
    assert all(path.stat().st_size > 5000 for path in figures)


def test_variants_share_one_pretraining(finished_run: Path) -> None:
    """`dagl` continues the stage one of `salcr`; it has no round 0 itself."""
    rounds = {path.name for path in (finished_run / "results/tiny/dagl/trial01").glob("round*")}
    assert rounds == {"round01"}


def test_logs_say_device_sizes_clusters_losses_and_seconds(finished_run: Path) -> None:
    """The log of a job describes what it did, in plain lines."""
    logs = finished_run / "results/tiny/logs"
    for name, part in (
        ("pretrain/salcr-trial01", "clusters"),
        ("associate/salcr-trial01-round01", "labels.csv written"),
        ("train/salcr-trial01-round01", "refine"),
        ("evaluate/salcr-trial01-round01", "rank-1"),
    ):
        text = (logs / f"{name}.log").read_text()
        for expected in (
            "device: CPU, 1 thread",
            "30 visible, 30 infrared",
            part,
            "finished after",
        ):
            assert expected in text, name


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_dry_runs(tmp_path: Path, path: Path) -> None:
    """Each file in config/ plans two rounds of a trial; an empty split file replaces real data."""
    values = merge(read_yaml(DEFAULT_CONFIG), read_yaml(path))
    dataset = validate(values).dataset
    split_file = READERS[dataset.layout].split_files.replace("*", "train_visible_1")
    (tmp_path / dataset.root / split_file).parent.mkdir(parents=True)
    (tmp_path / dataset.root / split_file).touch()
    words = ["--configfile", path, "--config", "dataset={trials: [1]}", "rounds=2"]
    done = snakemake(tmp_path, "--dry-run", "--quiet", "rules", *words)
    assert done.returncode == 0, done.stdout
    assert "pretrain" in done.stdout


@pytest.mark.slow
def test_a_given_checkpoint_takes_the_place_of_stage_one(run_copy: Path) -> None:
    """Evaluated by configuration alone: the same metrics as at its origin, without training."""
    given = run_copy / "given-trial1.pt"
    shutil.copy(run_copy / "results/tiny/salcr/trial01/round01/checkpoint.pt", given)
    keys = ["rounds=0", "pretrain={checkpoint: 'given-trial{trial}.pt'}", "variants={dagl: {}}"]
    keys += ["dataset={trials: [1], name: given}"]
    rules = planned(run_copy, "--config", *keys).keys()
    assert {"pretrain", "evaluate"} < rules and rules.isdisjoint({"associate", "train"})
    words = ["--configfile", tiny.TINY_CONFIG, "--config", *keys]
    done = snakemake(run_copy, "results/given/salcr/trial01/round00/metrics.json", *words)
    assert done.returncode == 0, done.stdout
    actual, expected = (
        json.loads((run_copy / f"results/{folder}/metrics.json").read_text())["settings"]
        for folder in ("given/salcr/trial01/round00", "tiny/salcr/trial01/round01")
    )
    assert actual == expected
    assert (
        "replaces stage one"
        in (run_copy / "results/given/logs/pretrain/salcr-trial01.log").read_text()
    )


def test_missing_data_is_one_message(tmp_path: Path) -> None:
    """Without data: the path, the layout, where to request it and `make demo`; no traceback."""
    done = snakemake(tmp_path, "--dry-run")
    assert done.returncode == 1
    for part in ("data/RegDB", "Visible/<identity>", "dm.dongguk.edu", "make demo"):
        assert part in done.stdout
    assert "Traceback" not in done.stdout


def test_trials_without_split_files_are_one_message(tmp_path: Path) -> None:
    """Given data: trials 1 and 2 are there, 99 is not; synthetic data: two trials are made."""
    (tmp_path / "data/RegDB/idx").mkdir(parents=True)
    for trial in (2, 1):
        (tmp_path / f"data/RegDB/idx/train_visible_{trial}.txt").touch()
    words = ["--dry-run", "--quiet", "rules", "--config"]
    done = snakemake(tmp_path, *words, "dataset={trials: [1, 99]}")
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert "dataset.trials: data/RegDB has no split files of trial 99, but of 1, 2;" in done.stdout
    assert snakemake(tmp_path, *words, "dataset={trials: [2]}").returncode == 0
    done = snakemake(tmp_path, *words, "dataset={trials: [3], synthetic: true}")
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert "trial 3 is not one of the 2 of synthesize.num_trials" in done.stdout


def test_a_bad_key_is_one_message(tmp_path: Path) -> None:
    """A misspelled key stops before anything runs and is named; no traceback."""
    done = snakemake(tmp_path, "--dry-run", "--config", "clustering={epss: 0.3}")
    assert done.returncode == 1
    assert "unknown key `clustering.epss`; did you mean `eps`?" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("key", "named", "setting"),
    [
        ("transfer.checkpoint", "none.pt", "transfer={results: other, checkpoint: none.pt}"),
        ("pretrain.checkpoint", "none1.pt", "pretrain={checkpoint: 'none{trial}.pt'}"),
        ("model.weights", "none.pt", "model={weights: none.pt}"),
    ],
)
def test_a_missing_file_of_the_configuration_is_one_message(
    run_copy: Path, key: str, named: str, setting: str
) -> None:
    """Even if everything is finished: Snakemake alone would keep what the file did not make."""
    done = snakemake(run_copy, "--configfile", tiny.TINY_CONFIG, "--dry-run", "--config", setting)
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert f"error: {key}: {named}: no such file" in done.stdout


def test_shell_characters_in_a_path_reach_no_shell(tmp_path: Path) -> None:
    """A data folder whose name contains blanks, quotes and $(...) is used literally."""
    root = "data/a b; $(touch hacked) 'c'"
    words = ["--configfile", tiny.TINY_CONFIG, "--config", f'dataset={{root: "{root}"}}']
    done = snakemake(tmp_path, *words, "--until", "preprocess")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / root / "Visible/1").is_dir()
    assert not list(tmp_path.rglob("hacked"))


def test_the_slurm_profile_plans_the_same_jobs(tmp_path: Path) -> None:
    """The profile's options are ones that Snakemake and its SLURM plugin accept."""
    words = ["--profile", REPOSITORY / "profiles/slurm", "--configfile", tiny.TINY_CONFIG]
    done = snakemake(tmp_path, "--dry-run", "--quiet", "rules", *words)
    assert done.returncode == 0, done.stdout
    assert "pretrain" in done.stdout


def test_states_of_the_optimizer_can_be_temporary(run_copy: Path) -> None:
    """With keep_optimizer_states: false, finished results remain finished without the states."""
    for path in run_copy.rglob("optimizer.pt"):
        path.unlink()
    assert planned(run_copy, "--config", "compute={keep_optimizer_states: false}") == {}


def test_dvc_accepts_its_stage() -> None:
    """dvc.yaml is valid and its only stage calls the workflow."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "workflow" in done.stdout and "results/regdb" in done.stdout


def test_the_study_is_overlaid_on_the_demo(tmp_path: Path) -> None:
    """One trial of another seed: each variant once, and the last evaluation alone.

    Of the variants, salcr and nine others have twelve rounds and share a stage one.
    """
    words = ["--configfile", REPOSITORY / "config/demo.yaml", REPOSITORY / "config/study.yaml"]
    words += ["--config", "seed=1", "dataset={name: study1, root: data/study1, trials: [1]}"]
    done = snakemake(tmp_path, "study", "--dry-run", "--quiet", "rules", *words)
    assert done.returncode == 0, done.stdout
    counts = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", done.stdout, re.M)}
    num_variants = len(read_yaml(REPOSITORY / "config/study.yaml")["variants"])
    assert counts["train"] == 12 * 10 and counts["pretrain"] == num_variants - 10
    assert counts["evaluate"] == counts["study_row"] == num_variants
    assert "label_quality" not in counts and "plot" not in counts
