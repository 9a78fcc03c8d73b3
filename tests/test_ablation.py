"""Slow: the paper's nine-row ablation runs to its table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import tiny

REPOSITORY = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_ablation_runs_to_its_table(tmp_path: Path) -> None:
    """config/ablation.yaml over tiny data gives nine variants that share one stage one."""
    subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile",
            "--directory", tmp_path, "--cores", "2", "--quiet", "rules", "reason", "host",
            "--configfile", tiny.TINY_CONFIG, REPOSITORY / "config/ablation.yaml",
            "--config", "dataset={trials: [1]}",
        ],
        check=True,
    )  # fmt: skip
    summary = pd.read_csv(tmp_path / "results/tiny/summary.csv")
    rows = summary.groupby("variant")["stage"].agg(set)
    # tests/tiny.yaml names `dagl` too, with other keys: the two overlays are merged.
    assert len(rows) == 9 and rows.pop("baseline") == {"pretrain"}
    assert all(stages == {"pretrain", "salcr"} for stages in rows)
    stage_one = summary[summary["stage"] == "pretrain"].groupby("setting")["map_mean"]
    assert (stage_one.nunique() == 1).all()
    assert len(list(tmp_path.glob("results/tiny/*/trial01/round00"))) == 1
    final = summary[summary["stage"] == "salcr"].groupby("setting")["map_mean"]
    assert (final.nunique() > 4).all()
