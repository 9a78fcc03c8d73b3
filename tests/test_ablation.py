"""Slow: all tables of the paper, the nine-row ablation among them, on tiny data."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import tiny
from plans import REPOSITORY, snakemake

CONFIG = REPOSITORY / "config"
SYSU = "dataset={name: sysu, layout: sysu, root: data/sysu, trials: [1]}"
NETWORK = "results/tiny/salcr/trial01/round01/checkpoint.pt"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the tables were made of drawn people in RegDB's layout."""
    folder = tmp_path_factory.mktemp("paper")
    words = ["--configfile", tiny.TINY_CONFIG, CONFIG / "ablation.yaml", CONFIG / "tables.yaml"]
    done = snakemake(folder, "tables", *words, "--config", "dataset={trials: [1]}")
    assert done.returncode == 0, done.stdout
    return folder


def not_run(tables: Path, dataset: str) -> set[tuple[str, str]]:
    """Return table and row of what was not run of a data set."""
    found = pd.concat([pd.read_csv(path) for path in tables.glob("*.csv")])
    lines = found[(found["status"] == "not run") & (found["dataset"] == dataset)]
    return set(lines[["table", "row"]].itertuples(index=False, name=None))


def other_methods(*rows: tuple[str, str]) -> set[tuple[str, str]]:
    """Return what nobody runs here, and some rows more."""
    methods = ("H2H", "OTLA", "ADCA", "CHCR", "NGLR (DOTLA)", "MBCCM", "CCLNet", "PGM",
               "GUR (no camera labels)", "PCLHD")  # fmt: skip
    return {*(("Table 1", name) for name in methods), ("Table 16", "trained on both"), *rows}


@pytest.mark.slow
def test_the_ablation_shares_one_stage_one(place: Path) -> None:
    """config/ablation.yaml gives nine variants; what they train differs, what they share not."""
    summary = pd.read_csv(place / "results/tiny/summary.csv")
    plain = summary[summary["rerank"] == "none"]
    rows = plain.groupby("variant")["stage"].agg(set)
    assert rows.pop("baseline") == {"pretrain"}
    assert len(rows) == 23 and all(stages == {"pretrain", "salcr"} for stages in rows)
    stage_one = plain[plain["stage"] == "pretrain"].groupby("setting")["map_mean"]
    assert (stage_one.nunique() == 1).all()
    assert len(list(place.glob("results/tiny/*/trial01/round00"))) == 1
    of_ablation = plain["variant"].str.startswith("dagl") | (plain["variant"] == "salcr")
    final = plain[(plain["stage"] == "salcr") & of_ablation].groupby("setting")["map_mean"]
    assert (final.size() == 8).all() and (final.nunique() > 4).all()


@pytest.mark.slow
def test_every_table_of_regdb_is_filled(place: Path) -> None:
    """Only the values that tests/tiny.yaml has otherwise are not run, and other methods."""
    missing = other_methods(
        ("Table 12", "k_train=8"), ("Figure 6", "k=30"), ("Table 16", "trained on SYSU-MM01")
    )
    assert not_run(place / "results/tiny/tables", "RegDB") == missing


@pytest.mark.slow
def test_every_table_of_sysu_is_filled(place: Path) -> None:
    """With RegDB's network for Table 16, which stands in no other table."""
    words = ["--configfile", tiny.TINY_CONFIG, CONFIG / "ablation.yaml"]
    words += [CONFIG / "tables_sysu.yaml", "--config", SYSU]
    words += [f"transfer={{results: tiny, checkpoint: {NETWORK}}}"]
    done = snakemake(place, "tables", *words)
    assert done.returncode == 0, done.stdout
    missing = other_methods(("Table 11", "k_train=30"), ("Figure 5", "k=30"))
    missing |= {("Table 8", f"{name}{end}") for name in ("MULT", "SDCL")
                for end in ("", " + CMFP at test")}  # fmt: skip
    assert not_run(place / "results/sysu/tables", "SYSU-MM01") == missing
    summary = pd.read_csv(place / "results/sysu/summary.csv")
    assert not summary["variant"].str.contains("transfer").any()
    table = pd.read_csv(place / "results/sysu/tables/table16.csv").set_index("row")
    assert set(table.loc["trained on RegDB", "variant"]) == {"transfer"}
    assert table["difference"].isna().all()
