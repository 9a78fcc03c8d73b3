"""`python -m salcr info`: what exists, and what is missing."""

from __future__ import annotations

import platform
from pathlib import Path

import pandas as pd
import pytest
import torch

from salcr.stages import info
from tests.support import tiny
from tests.support.plans import REPOSITORY


def printed(capsys: pytest.CaptureFixture[str], directory: Path) -> str:
    """Return what info prints about a folder."""
    assert tiny.run("info", "--directory", directory) == 0
    return capsys.readouterr().out


def test_an_empty_folder_lists_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data sets of the configurations, weights and results; versions equal the imported ones."""
    text = printed(capsys, tmp_path)
    for name, root in (("regdb", "RegDB"), ("sysu", "SYSU-MM01"), ("llcm", "LLCM")):
        assert f"{name}, {tmp_path / 'data' / root}: not there" in text
    assert "no ImageNet weights yet" in text and "make demo" in text
    assert f"torch {torch.__version__.split('+')[0]}" in text
    assert platform.python_version() in text


def test_data_and_results_are_found(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finished run with its figures; part of a data set is distinguished from all of it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/RegDB").symlink_to(finished_run / "data/tiny")
    (tmp_path / "results").symlink_to(finished_run / "results")
    text = printed(capsys, tmp_path)
    assert "RegDB: 120 images; not as published: " in text
    line = pd.read_csv(finished_run / "results/tiny/summary.csv").query("stage == 'salcr'").iloc[0]
    expected = f"rank-1 {line['rank1_mean']:.1f}, mAP {line['map_mean']:.1f} over 2 trials"
    assert f"salcr, {line['setting']}, {expected}" in text


def test_a_broken_data_set_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A split file that cannot be read is reported in one line, without a traceback."""
    index = tmp_path / "data/RegDB/idx"
    index.mkdir(parents=True)
    (index / "train_visible_1.txt").write_text("one two three\n")
    assert "train_visible_1.txt, line 1: expected" in printed(capsys, tmp_path)


def test_packages_other_than_locked_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is older and one is not installed; markers of other platforms do not count."""
    locked = ["torch==99.0", "no-such-package==1.0", "other==1.0 ; sys_platform == 'none'"]
    (tmp_path / "requirements.lock").write_text("\n".join(locked))
    monkeypatch.setattr(info, "CHECKOUT", tmp_path)
    lines = list(info._packages())
    assert [line for line in lines if line.endswith("; run make venv")] == [
        f"torch {torch.__version__.split('+')[0]} is not the locked 99.0; run make venv",
        "no-such-package 1.0 is missing; run make venv",
    ]


def test_outside_a_clone_it_reports_what_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For an installed package alone: versions and the default data set, without `make`."""
    monkeypatch.setattr(info, "CHECKOUT", None)
    text = printed(capsys, tmp_path)
    assert f"installed in {REPOSITORY}, not in a clone of the repository" in text
    assert f"regdb, {tmp_path / 'data/RegDB'}: not there" in text and "sysu" not in text
    assert f"torch {torch.__version__.split('+')[0]}" in text
    assert "make venv" not in text and "make demo" not in text


def test_the_lock_can_be_read() -> None:
    """Every line of the lock names one package with one version."""
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    names = [name for name, _ in info._locked(REPOSITORY)]
    assert {"torch", "snakemake", "dvc"} <= set(names) and len(names) <= len(lines)
