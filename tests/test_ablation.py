"""Slow: all tables of the paper, the nine-row ablation among them, on tiny data."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import tiny
import yaml
from pages import Page
from plans import REPOSITORY, snakemake

from salcr.config import load_yaml
from salcr.drawing.captions import CAPTIONS

CONFIG = REPOSITORY / "config"
SYSU = "dataset={name: sysu, layout: sysu, root: data/sysu, trials: [1]}"
NETWORK = "results/tiny/salcr/trial01/round01/checkpoint.pt"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with tables, figures and report of drawn people in RegDB's layout."""
    folder = tmp_path_factory.mktemp("paper")
    words = ["--configfile", tiny.TINY_CONFIG, CONFIG / "ablation.yaml", CONFIG / "tables.yaml"]
    targets = ["tables", "figures", "report"]
    done = snakemake(folder, *targets, *words, "--config", "dataset={trials: [1]}")
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
def test_every_figure_of_the_paper_is_drawn_and_reported(place: Path) -> None:
    """5 to 12, the sweeps among them; the report has each with the number that it has there."""
    drawn = {path.stem for path in place.glob("results/tiny/figures/*.pdf")}
    assert drawn == set(CAPTIONS)
    page = Page((place / "results/tiny/report.html").read_text())
    assert len(page.all("img")) == len(drawn)
    numbers = re.findall(r"the paper's Figure ([0-9 and]+)\)", page.text)
    assert numbers == ["5 and 6", "5 and 6", "7", "8", "9", "10", "11", "12"]


@pytest.mark.slow
def test_every_table_of_regdb_is_filled(place: Path) -> None:
    """Only the values that tests/tiny.yaml has otherwise are not run, and other methods."""
    missing = other_methods(
        ("Table 12", "k_train=8"), ("Figure 6", "k=30"), ("Table 16", "trained on SYSU-MM01")
    )
    assert not_run(place / "results/tiny/tables", "RegDB") == missing


# One variant for each of SYSU-MM01's sweeps; tests/test_paper.py sees that all rows have theirs.
ONE_OF_EACH = ("salcr", "dagl", "space_visible", "refine_global", "pgm", "parts_2", "k_10",
               "lambda_0_1", "gpcr_k_15")  # fmt: skip


@pytest.mark.slow
def test_every_table_of_sysu_has_what_was_run(place: Path, tmp_path: Path) -> None:
    """Each of its tables has the rows of these variants; RegDB's network is in Table 16 only."""
    values = load_yaml(CONFIG / "tables_sysu.yaml")
    values["variants"] = {name: values["variants"][name] for name in ONE_OF_EACH}
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(values))
    words = ["--configfile", tiny.TINY_CONFIG, tmp_path / "some.yaml", "--config", SYSU]
    words += [f"transfer={{results: tiny, checkpoint: {NETWORK}}}"]
    done = snakemake(place, "tables", *words)
    assert done.returncode == 0, done.stdout
    found = pd.concat([pd.read_csv(path) for path in place.glob("results/sysu/tables/*.csv")])
    found = found[(found["status"] == "run") & (found["dataset"] == "SYSU-MM01")]
    ours = {"SALCR", "SALCR + CMFP at test (transductive)"}
    assert {table: set(rows) for table, rows in found.groupby("table")["row"]} == {
        "Table 1": ours,
        "Table 2": ours,
        "Table 3": {"B (stage one)", "DAGL", "SALCR"},
        "Table 4": {"visible space only", "dual"},
        "Table 5": {"none", "CMFP", "AIM", "CMRR k=15", "CMRR k=25"},
        "Table 7": {"global only", "both"},
        "Table 8": {"PGM", "PGM + CMFP at test"},
        "Table 9": {"parts=2", "parts=3"},
        "Table 11": {"k_train=10"},
        "Table 13": {f"k_test={k}" for k in (10, 20, 30, 40, 50)},
        "Table 16": {"trained on RegDB"},
        "Figure 5": {"lambda=0.1", "lambda=0.5", "k=15"},
    }
    summary = pd.read_csv(place / "results/sysu/summary.csv")
    assert not summary["variant"].str.contains("transfer").any()
    table = pd.read_csv(place / "results/sysu/tables/table16.csv").set_index("row")
    assert set(table.loc["trained on RegDB", "variant"]) == {"transfer"}
    assert table["difference"].isna().all()
