"""What the tests of faults share: every stage as a command, its outputs, and damage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import tiny
from tests.support.plans import REPOSITORY

# No variable of an enclosing Snakemake or test run may reach a job.
ENVIRONMENT = {**os.environ, "PYTEST_XDIST_WORKER": "", "PYTHONPATH": str(REPOSITORY)}

OUT, TABLES = Path("tiny/salcr/trial01"), Path("tiny")
# stage -> what it writes into a folder that `run_every_stage` filled
WRITES: dict[str, list[Path]] = {
    "synthesize": [Path("raw/idx/train_visible_1.txt"), Path("raw/synthesize.json")],
    "preprocess": [
        Path("data", name)
        for name in (
            "visible.npy", "infrared.npy", "manifest.csv", "identities.csv", "preprocess.json",
        )
    ],
    "pretrain": [OUT / "round00/checkpoint.pt", OUT / "round00/losses.csv"],
    "associate": [OUT / "round01/labels.csv"],
    "label_quality": [OUT / "label_quality.json"],
    "train": [OUT / "round01" / name for name in ("checkpoint.pt", "optimizer.pt", "losses.csv")],
    "evaluate": [OUT / "round01/metrics.json", OUT / "round01/rankings.json"],
    "aggregate": [TABLES / f"{name}.csv" for name in ("summary", "trials", "cmc", "losses")],
    "analyze": [
        OUT / "round01" / name for name in ("distances.json", "tsne.csv", "attention.json")
    ],
    "cluster_centers": [OUT / "round01/cluster_centers.csv"],
    "plot": [TABLES / "figures/ranking.png", TABLES / "figures/ranking.pdf"],
}  # fmt: skip
STAGES = list(WRITES)


def words(stage: str, directory: Path) -> list[str]:
    """Return the command line, after `python -m salcr`, of a stage in a folder."""
    data, out, tables = directory / "data", directory / OUT, directory / TABLES
    rankings = out / "round01/rankings.json"
    figure = tables / "figures/ranking"
    commands: dict[str, list[object]] = {
        "synthesize": ["--out", directory / "raw", "--seed", 3, *tiny.SYNTHESIZE],
        "preprocess": [
            "--root", directory / "raw", "--layout", "regdb", "--out", data, *tiny.PREPROCESS,
        ],
        "pretrain": tiny.pretrain_words(data, out)[1:],
        "associate": tiny.associate_words(data, out, 1)[1:],
        "label_quality": tiny.label_quality_words(data, out, 1)[1:],
        "train": tiny.train_words(data, out, 1)[1:],
        "evaluate": tiny.evaluate_words(data, out, 1)[1:],
        "aggregate": [
            "--dataset", "tiny", "--root", tables, "--runs", "salcr:salcr:1", "--trials", 1,
        ],
        "analyze": tiny.analyze_words(data, out, 1)[1:],
        "cluster_centers": tiny.cluster_centers_words(data, out, 1)[1:],
        "plot": [
            "--figure", "ranking", "--sources", rankings, "--names", "salcr", "--data", data,
            "--png", f"{figure}.png", "--pdf", f"{figure}.pdf",
        ],
    }  # fmt: skip
    return [stage.replace("_", "-"), *map(str, commands[stage])]


def run_every_stage(directory: Path) -> Path:
    """Run every stage in an empty folder; return the folder."""
    for stage in STAGES:
        if stage == "aggregate":  # reads the evaluation after stage one, too
            evaluation = tiny.evaluate(directory / "data", directory / OUT, 0)
            assert evaluation == 0
        assert tiny.run(*words(stage, directory)) == 0, stage
    return directory


def copy_run(source: Path, directory: Path, *, without: str | None = None) -> Path:
    """Copy a finished folder, except what one stage wrote; return the copy."""
    shutil.copytree(source, directory)
    if without == "synthesize":
        shutil.rmtree(directory / "raw")
    for path in WRITES.get(without or "", []):
        (directory / path).unlink(missing_ok=True)
    return directory


def contents(directory: Path, stage: str) -> dict[Path, bytes | None]:
    """Return what a stage wrote: path -> bytes, or None where there is no file."""
    return {
        path: (directory / path).read_bytes() if (directory / path).exists() else None
        for path in WRITES[stage]
    }


def job(stage: str, directory: Path, *before: object) -> subprocess.CompletedProcess[str]:
    """Run a stage in a separate process, with `before` in front of the command."""
    command = [*map(str, before), sys.executable, "-m", "salcr", *words(stage, directory)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def flip(path: Path, share: float = 0.5) -> None:
    """Change one bit of a file at a position given as a share of its length."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 1
    path.write_bytes(content)


def the_error(text: str) -> str:
    """Return the line that begins with `error: `, after checking that there is no traceback."""
    assert "Traceback" not in text, text
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, text
    return lines[0]


def temporaries(directory: Path) -> list[Path]:
    """Return the files and folders with temporary names."""
    return [path for path in directory.rglob(".*") if ".unfinished-" in path.name]
