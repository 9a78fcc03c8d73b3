"""The provenance of results: what the workflow records for every trial."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch

from salcr import codehash, files, provenance
from salcr.config.loading import DEFAULT_CONFIG, merge, validate, variant
from salcr.files import read_yaml
from salcr.stages import info
from tests.support import tiny

COMMIT = ["-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "--allow-empty", "-m", "first"]


def read(finished_run: Path, name: str) -> dict[str, object]:
    """Return the provenance of a variant's first trial."""
    text = (finished_run / f"results/tiny/{name}/trial01/provenance.json").read_text()
    return json.loads(text)


@pytest.mark.parametrize("name", ["salcr", "dagl"])
def test_the_configuration_is_the_resolved_one(finished_run: Path, name: str) -> None:
    """Every section that a job read, with the variant's overlay, as resolved by the schema."""
    values = merge(read_yaml(DEFAULT_CONFIG), read_yaml(tiny.TINY_CONFIG))
    expected = variant(validate(values), name).model_dump()
    config = read(finished_run, name)["config"]
    assert config == {section: expected[section] for section in config}
    assert expected.keys() - config.keys() == {
        "seed", "rounds", "evaluate_every", "dataset", "synthesize", "transfer", "analyze", "plot",
        "study", "compute", "variants",
    }  # fmt: skip


def test_it_names_data_seed_code_and_every_job(finished_run: Path) -> None:
    """A variant's jobs, including those of the shared stage one, each with its code."""
    record = read(finished_run, "dagl")
    checkpoint = torch.load(
        finished_run / "results/tiny/dagl/trial01/round01/checkpoint.pt", weights_only=True
    )
    assert (record["seed"], record["trial"]) == (checkpoint["seed"], checkpoint["trial"])
    assert record["data_hash"] == checkpoint["data_hash"]
    jobs = [(job["round"], job["stage"]) for job in record["jobs"]]
    assert record["stage_one_of"] == "salcr" and jobs == [
        (None, "preprocess"), (0, "pretrain"), (0, "evaluate"), (1, "associate"),
        (1, "train"), (1, "evaluate"), (None, "label_quality"),
    ]  # fmt: skip
    for job in record["jobs"]:
        assert job["code"] == codehash.stage_hash(job["stage"])
        assert job["versions"]["torch"] == torch.__version__.split("+")[0]
        assert job["seconds"] >= 0 and job["machine"]
        assert (job.get("device") == "CPU") == (job["stage"] not in ("preprocess", "label_quality"))
    of_stages = {job["stage"]: 0.0 for job in record["jobs"]}
    for job in record["jobs"]:
        of_stages[job["stage"]] += job["seconds"]
    assert record["seconds"] == pytest.approx(of_stages)


def test_a_line_of_each_trial_is_in_the_table(finished_run: Path) -> None:
    """Two variants in two trials, none of them run in a clone: no commit is invented."""
    table = pd.read_csv(finished_run / "results/tiny/provenance.csv")
    assert list(table["variant"]) == ["salcr", "salcr", "dagl", "dagl"]
    assert list(table["trial"]) == [1, 2, 1, 2]
    assert (table["device"] == "CPU").all() and table["commit"].isna().all()
    assert table["clean"].isna().all()


def test_commit_and_whether_its_files_are_as_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a clone, git's own commit; edited code makes it unclean, new files and pages do not."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=b", "-C", str(tmp_path)]
    (tmp_path / "docs").mkdir()
    for name in ("code.py", "docs/study.csv"):
        (tmp_path / name).write_text("x = 1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(provenance, "CHECKOUT", tmp_path)
    head = (tmp_path / ".git/HEAD").read_text().split()[1]
    commit = (tmp_path / ".git" / head).read_text().strip()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "docs/study.csv").write_text("another start")
    assert provenance._commit() == {"commit": commit, "clean": True}
    (tmp_path / "code.py").write_text("x = 2\n")
    assert provenance._commit() == {"commit": commit, "clean": False}
    monkeypatch.setattr(provenance, "CHECKOUT", None)  # installed without the repository
    assert provenance._commit() == {"commit": None, "clean": None}


def test_a_clone_of_another_user_is_named_with_git_s_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Git does not say its commit: one warning in the log of a job, and a line of `info`."""
    clone, home = tmp_path / "clone", tmp_path / "home"
    for words in (["init", "-q", str(clone)], ["-C", str(clone), *COMMIT]):
        subprocess.run(["git", *words], check=True)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(provenance, "CHECKOUT", clone)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    job = provenance.describe_job("plot", {}, seconds=1.0)
    assert (job["commit"], job["clean"]) == (None, None)
    warning, remedy = (
        f"{clone}: belongs to another user",
        "git config --global --add safe.directory",
    )
    text = capsys.readouterr().err
    assert text.count(warning) == 1 and f"{remedy} {clone}" in text
    assert any(f"{remedy} {clone}" in line for line in info._tools())
    subprocess.run([*remedy.split(), str(clone)], check=True)
    head = provenance.describe_job("plot", {}, seconds=1.0)["commit"]
    assert head is not None and len(head) == 40 and not capsys.readouterr().err


def test_jobs_of_different_settings_are_refused(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A round with another learning rate than the previous one prevents the provenance."""
    words = ["--dataset", "tiny", "--trials", 1, "--data", finished_run / "results/tiny/preprocess"]
    source = finished_run / "results/tiny/salcr/trial01"
    for number, folder in enumerate(["round00", "round01", "round01"]):
        for path in (source / folder / "jobs").iterdir():
            job = files.read_json(path)
            if number == 2 and path.name == "train.json":
                job["config"]["train"]["learning_rate"] *= 2
            copy = tmp_path / f"salcr/trial01/round{number:02d}/jobs" / path.name
            files.write_json(copy, job)
    (tmp_path / "salcr/trial01/jobs").mkdir()
    of_trial = "jobs/label_quality.json"
    files.write_json(tmp_path / "salcr/trial01" / of_trial, files.read_json(source / of_trial))
    assert tiny.run("provenance", "--root", tmp_path, "--runs", "salcr:salcr:1", *words) == 0
    capsys.readouterr()
    assert tiny.run("provenance", "--root", tmp_path, "--runs", "salcr:salcr:2", *words) == 1
    assert "round 2: train ran with another `train`" in capsys.readouterr().err
