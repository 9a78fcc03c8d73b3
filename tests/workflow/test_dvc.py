"""The workflow under DVC: a recorded run is cloned, pulled, changed, damaged and compared.

Dry runs show what Snakemake would do; its table of jobs shows what it did.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.dvc_repository import (
    CONFIG,
    RESULTS,
    ask,
    clone_of,
    commit,
    do,
    environment,
    new_repository,
    planned,
    write_settings,
)
from tests.support.plans import REPOSITORY, jobs_in

pytestmark = pytest.mark.dvc

FIRST = RESULTS / "salcr/trial01/round01/checkpoint.pt"
# A changed rate of stage two, in two trials of two rounds: the second round's association
# depends on the first round's training, stage one and the first association do not.
# Nine figures: `cluster_centers` feeds one, `analyze` three.
REPORT = {"aggregate": 1, "analyze": 1, "cluster_centers": 1, "plot": 9, "provenance": 1}
TRAINED = {"train": 4, "associate": 2, "label_quality": 2, "evaluate": 2, **REPORT}
FROM_STAGE_ONE = {
    "pretrain": 2,
    **TRAINED,
    "analyze": 2,
    "associate": 4,
    "evaluate": 4,
}
ALL = {"preprocess": 1, **FROM_STAGE_ONE}


def checkpoints(folder: Path) -> list[Path]:
    """Return every checkpoint in the results of a folder."""
    return sorted((folder / RESULTS).rglob("checkpoint.pt"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with synthetic raw data and a recorded run, pushed: commit OLD."""
    folder = tmp_path_factory.mktemp("dvc") / "repository"
    new_repository(folder)
    write_settings(folder, learning_rate=1e-3)
    do(folder, "dvc", "add", "--no-relink", "data/RegDB")
    do(folder, "dvc", "remote", "add", "--default", "storage", folder.parent / "storage")
    commit(folder, "DATA")
    assert jobs_in(do(folder, "dvc", "repro")) == ALL
    commit(folder, "OLD")
    do(folder, "dvc", "push")
    return folder


@pytest.fixture(scope="module")
def pulled(repository: Path) -> Path:
    """Return a clone with everything pulled."""
    folder = clone_of(repository, repository.parent / "pulled")
    do(folder, "dvc", "pull")
    return folder


@pytest.fixture
def pulled_copy(pulled: Path, tmp_path: Path) -> Path:
    """Return a copy of the pulled clone, modification times included, that a test may change."""
    shutil.copytree(pulled, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def retrained(repository: Path) -> Path:
    """Return the repository with a second recorded run, with another learning rate: commit NEW."""
    write_settings(repository, learning_rate=2e-3)
    assert jobs_in(do(repository, "dvc", "repro")) == TRAINED
    commit(repository, "NEW")
    do(repository, "dvc", "push")
    return repository


def test_a_colleague_has_nothing_to_do(pulled: Path) -> None:
    """After git clone and dvc pull nothing is planned, and neither DVC nor Git sees a change."""
    assert planned(pulled) == {}
    assert "up to date" in do(pulled, "dvc", "status")
    assert do(pulled, "git", "status", "--short") == ""


def test_a_changed_key_after_the_pull_reruns_what_uses_it(pulled_copy: Path) -> None:
    """The learning rate of stage two plans its training and what follows, as without DVC."""
    assert planned(pulled_copy, "--config", "train={learning_rate: 2.0e-3}") == TRAINED


def test_going_back_and_forth_plans_nothing(retrained: Path, tmp_path: Path) -> None:
    """Each commit is finished with its own results; those of the first have unchanged bytes."""
    folder = clone_of(retrained, tmp_path / "clone")
    do(folder, "dvc", "pull", "--all-commits")
    weights = {}
    for name in ("NEW", "OLD", "NEW"):
        do(folder, "git", "checkout", "--quiet", name)
        do(folder, "dvc", "checkout")
        assert planned(folder) == {}
        weights.setdefault(name, (folder / FIRST).read_bytes())
    assert weights["NEW"] != weights["OLD"]
    assert weights["NEW"] == (retrained / FIRST).read_bytes()


def test_a_damaged_checkpoint_is_named_and_restored(pulled_copy: Path) -> None:
    """A flipped byte plans its own trial only; the stage rejects it, DVC restores it."""
    content = bytearray((pulled_copy / FIRST).read_bytes())
    content[len(content) // 2] ^= 255
    (pulled_copy / FIRST).write_bytes(content)
    followers = {"associate": 1, "label_quality": 1, "train": 1, "evaluate": 1, **REPORT}
    assert planned(pulled_copy) == followers
    assert "trial=02" not in do(pulled_copy, "snakemake", "--cores", "1", "--dry-run")
    done = ask(pulled_copy, "snakemake", "--cores", "1")
    assert done.returncode != 0 and f"error: {FIRST}: is damaged" in done.stdout, done.stdout
    do(pulled_copy, "dvc", "checkout", "--force")
    assert planned(pulled_copy) == {}


@pytest.mark.parametrize("target", ["all", RESULTS / "salcr/trial01/round01/metrics.json"])
def test_nothing_pulled_is_refused(pulled: Path, tmp_path: Path, target: object) -> None:
    """Without results, with or without raw data, the message says to pull; nothing is created."""
    folder = clone_of(pulled, tmp_path / "clone")
    for message in ("data/RegDB is tracked by DVC but not here", "has no record of it"):
        done = ask(folder, "snakemake", "--cores", "1", target)
        assert done.returncode != 0 and "Traceback" not in done.stdout
        assert message in done.stdout and "dvc pull" in done.stdout
        shutil.copytree(pulled / "data/RegDB", folder / "data/RegDB", dirs_exist_ok=True)
    assert not (folder / RESULTS).exists()


def test_partly_pulled_is_refused(pulled: Path, tmp_path: Path) -> None:
    """With one trial of two, neither Snakemake nor `dvc repro` trains the other; it is named."""
    folder = clone_of(pulled, tmp_path / "clone")
    trial = RESULTS / "salcr/trial01"
    do(folder, "dvc", "pull", ".snakemake/metadata", trial, "data/RegDB")
    before = checkpoints(folder)
    assert len(before) == 3
    for words in (["snakemake", "--cores", "1"], ["dvc", "repro"], ["snakemake", "-c1", FIRST]):
        done = ask(folder, *words)
        assert done.returncode != 0 and "Traceback" not in done.stdout
        assert f"{RESULTS}/salcr/trial02/round00/checkpoint.pt is missing" in done.stdout
        for part in ("3 of 6", "dvc pull", "delete dvc.lock"):
            assert part in done.stdout
    assert checkpoints(folder) == before
    do(folder, "dvc", "pull")
    assert planned(folder) == {}


@pytest.mark.parametrize(
    ("stage", "end"), [("pretrain", "failed"), ("train", "failed"), ("train", "killed")]
)
def test_interrupted_retraining_resumes(pulled_copy: Path, stage: str, end: str) -> None:
    """After a pull, a job that fails, or is killed with Snakemake itself, may be run again."""
    lines = {"failed": "raise SystemExit(1)", "killed": "import time; time.sleep(600)"}
    path = pulled_copy / f"salcr/stages/{stage}.py"
    text = path.read_text()
    path.write_text(text.replace("import argparse\n", f"import argparse\n{lines[end]}\n"))
    change = ["--config", f"{stage}={{learning_rate: 2.0e-3}}"]
    words = ["snakemake", "--cores", "1", "--quiet", "all", *change]
    with subprocess.Popen(
        words, cwd=pulled_copy, env=environment(pulled_copy), start_new_session=True
    ) as running:
        if end == "killed":
            marks = pulled_copy / ".snakemake/incomplete"
            deadline = time.monotonic() + 60
            while not any(marks.glob("*")) and time.monotonic() < deadline:
                time.sleep(0.05)
            os.killpg(running.pid, signal.SIGKILL)
        assert running.wait(60) != 0
    path.write_text(text)
    assert len(checkpoints(pulled_copy)) == 5
    do(pulled_copy, "snakemake", "--unlock")
    assert planned(pulled_copy, *change) == (TRAINED if stage == "train" else FROM_STAGE_ONE)


def test_runs_are_compared(pulled: Path, retrained: Path, tmp_path: Path) -> None:
    """The difference of the metrics equals that of both files; the plots know both commits."""
    folder = clone_of(retrained, tmp_path / "clone")
    do(folder, "dvc", "pull", "--all-commits")
    differences = json.loads(do(folder, "dvc", "metrics", "diff", "--json", "OLD"))
    old, new = (
        json.loads((pulled_copy / RESULTS / "metrics.json").read_text())["salcr"]["salcr"]
        for pulled_copy in (pulled, retrained)
    )
    changes = differences[f"{RESULTS}/metrics.json"]
    assert changes and not any("salcr.pretrain" in name for name in changes)
    for direction in old:
        change = changes[f"salcr.salcr.{direction}.map"]
        assert (change["old"], change["new"]) == (old[direction]["map"], new[direction]["map"])
    plots = json.loads(do(folder, "dvc", "plots", "diff", "--json", "OLD"))["data"]
    assert set(plots) == {f"{RESULTS}/trials.csv", f"{RESULTS}/losses.csv"}
    assert all(set(plot["revisions"]) == {"OLD", "workspace"} for (plot,) in plots.values())
    do(folder, "dvc", "plots", "diff", "OLD")
    assert "mAP over rounds" in (folder / "dvc_plots/index.html").read_text()
    assert do(folder, "git", "status", "--short", "--untracked-files=all", "dvc_plots") == ""


def test_an_experiment_trains_what_it_changes(retrained: Path, tmp_path: Path) -> None:
    """`dvc exp run` with another rate, in one trial and round to save time, keeps stage one.

    The labels of the round remain; their quality is a file of all rounds, which are fewer now.
    """
    pulled_copy = tmp_path / "copy"  # has compiled its kernels already
    shutil.copytree(retrained, pulled_copy, symlinks=True)
    changes = ["train.learning_rate=3.0e-3", "dataset.trials=[1]", "rounds=1"]
    words = [word for change in changes for word in ("--set-param", f"{CONFIG}:{change}")]
    jobs = jobs_in(do(pulled_copy, "dvc", "exp", "run", *words))
    assert jobs == {"train": 1, "label_quality": 1, "evaluate": 1, **REPORT}
    assert planned(pulled_copy) == {}


def test_networks_are_an_artifact(retrained: Path, tmp_path: Path) -> None:
    """A version named by a Git tag provides the networks of that commit."""
    do(retrained, "git", "tag", "-a", "-m", "first networks", "networks@v1.0.0", "OLD")
    do(tmp_path, "dvc", "artifacts", "get", retrained, "networks", "--out", "networks")
    network = tmp_path / "networks" / FIRST.relative_to(RESULTS / "salcr")
    words = ["dvc", "get", "--rev", "OLD", retrained, FIRST, "--out", "one.pt"]
    do(tmp_path, *words)
    assert network.read_bytes() == (tmp_path / "one.pt").read_bytes()
    assert network.read_bytes() != (retrained / FIRST).read_bytes()


def test_new_raw_data_reach_everything(pulled_copy: Path) -> None:
    """A replaced image under unchanged split files takes effect once `dvc add` has hashed it."""
    images = sorted((pulled_copy / "data/RegDB/Visible").rglob("*.bmp"))
    shutil.copy(images[-1], images[0])
    assert planned(pulled_copy) == {}
    do(pulled_copy, "dvc", "add", "--no-relink", "data/RegDB")
    assert planned(pulled_copy) == ALL


def test_a_linked_folder_is_refused_as_documented(tmp_path: Path) -> None:
    """`dvc add` of a link ends with the quoted words; after the documented command it succeeds."""
    folder, disk = tmp_path / "clone", tmp_path / "disk"
    for path in (folder / "data", disk / "RegDB"):
        path.mkdir(parents=True)
    (disk / "RegDB/image.bmp").write_text("an image")
    (folder / "data/RegDB").symlink_to(disk / "RegDB")
    do(folder, "git", "init", "--quiet")
    do(folder, "dvc", "init", "--quiet")
    refused = ask(folder, "dvc", "add", "--no-relink", "data/RegDB")
    page = (REPOSITORY / "docs/dvc.md").read_text()
    words = "Cannot add files inside symlinked directories to DVC"
    assert refused.returncode != 0 and words in refused.stdout and words in page
    (line,) = [line for line in page.splitlines() if "rm data/RegDB" in line]
    do(folder, "bash", "-c", line.strip().replace("/other/disk", str(disk)))
    do(folder, "dvc", "add", "--no-relink", "data/RegDB")
    assert (folder / "data/RegDB.dvc").is_file() and (disk / "RegDB/image.bmp").exists()
