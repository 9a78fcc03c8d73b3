"""workflow/embed.smk: an index by many jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import tiny
from tests.support.plans import REPOSITORY


def snakemake(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the workflow in a folder with some words of --config."""
    command = [sys.executable, "-m", "snakemake", "--snakefile"]
    command += [str(REPOSITORY / "workflow/embed.smk"), "--cores", "2", "--config", *words]
    command += ["--workflow-profile", str(REPOSITORY / "profiles/default")]  # as in a clone
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of an index."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "."}


def test_jobs_write_the_index_of_one_run(stage_one: Path, tmp_path: Path) -> None:
    """To the byte; nothing runs again until a picture is added, or another kind is wanted."""
    for number, path in enumerate(sorted((stage_one / "raw/Visible").rglob("*.bmp"))[:8]):
        (tmp_path / "my pictures").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / f"my pictures/{number}.bmp")
    checkpoint = stage_one / "round00/checkpoint.pt"
    words = ["images=my pictures", f"checkpoint={checkpoint}", "out=index", "shards=2"]
    words += ["modality=visible", "device=cpu"]
    done = snakemake(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    one = ["--images", tmp_path / "my pictures", "--modality", "visible", "--device", "cpu"]
    one += ["--checkpoint", checkpoint, "--out", tmp_path / "one"]
    assert tiny.run("embed", *one) == 0
    assert contents(tmp_path / "index") == contents(tmp_path / "one")
    assert "Nothing to be done" in snakemake(tmp_path, *words).stderr
    source = sorted((stage_one / "raw/Thermal").rglob("*.bmp"))[0]
    shutil.copy(source, tmp_path / "my pictures/another.bmp")
    done = snakemake(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "index.shards/2/1.log").read_text()
    assert "8 images keep the features of the index before" in log
    done = snakemake(tmp_path, *words, "kind=hnsw")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "index/embed.json").read_text())
    assert summary["num_pictures"] == {"visible": 9} and summary["kind"] == "hnsw"


def test_words_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    """A key that is missing or unknown, a number that is none, a folder that is not there."""
    words = ["images=pictures", "checkpoint=a.pt", "out=index"]
    (tmp_path / "a.pt").touch()
    for given, message in (
        (words[:2], "error: --config out=...: is missing"),
        ([*words, "shard=2"], "error: --config shard: is not one of images, checkpoint"),
        ([*words, "kind=best"], "error: --config kind=best: is not one of flat, ivf, hnsw, pq"),
        ([*words, "out=[a, b]"], "error: --config out: takes one value, not 2"),
        ([*words, "shards=0"], "error: --config shards and threads: must be whole numbers"),
        (words, "error: pictures: cannot be read"),
    ):
        done = snakemake(tmp_path, *given)
        assert done.returncode != 0 and message in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
