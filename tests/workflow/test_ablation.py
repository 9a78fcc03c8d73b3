"""Slow: all tables of the paper, including the nine-row ablation, on tiny data."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from salcr.files import read_yaml
from salcr.reporting.captions import CAPTIONS
from tests.support import tiny
from tests.support.pages import Page
from tests.support.plans import REPOSITORY, snakemake

CONFIG = REPOSITORY / "config"
SYSU = "dataset={name: sysu, layout: sysu, root: data/sysu, trials: [1]}"
NETWORK = "results/tiny/salcr/trial01/round01/checkpoint.pt"


# One variant per sweep; tests/reporting/test_paper.py checks that every row has one.
ONE_OF_EACH = {
    "tables": ("salcr", "parts_2", "k_4", "lambda_0_1", "gpcr_k_15"),
    "tables_sysu": ("salcr", "dagl", "space_visible", "refine_global", "pgm", "parts_2", "k_10",
                    "lambda_0_1", "gpcr_k_15"),
}  # fmt: skip


@pytest.fixture(scope="module")
def ablation_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with tables, figures and report for synthetic people in RegDB's layout."""
    folder = tmp_path_factory.mktemp("paper")
    some = some_of("tables", folder)
    words = ["--configfile", tiny.TINY_CONFIG, CONFIG / "ablation.yaml", some]
    targets = ["tables", "figures", "report"]
    done = snakemake(folder, *targets, *words, "--config", "dataset={trials: [1]}")
    assert done.returncode == 0, done.stdout
    return folder


def some_of(name: str, folder: Path) -> Path:
    """Write a configuration with only one variant of each sweep; return the file."""
    values = read_yaml(CONFIG / f"{name}.yaml")
    values["variants"] = {one: values["variants"][one] for one in ONE_OF_EACH[name]}
    (folder / "some.yaml").write_text(yaml.safe_dump(values))
    return folder / "some.yaml"


def rows_run(tables: Path, dataset: str) -> dict[str, set[str]]:
    """Return table -> rows of a data set that were run."""
    results = pd.concat([pd.read_csv(path) for path in tables.glob("*.csv")])
    results = results[(results["status"] == "run") & (results["dataset"] == dataset)]
    return {str(table): set(rows) for table, rows in results.groupby("table")["row"]}


@pytest.mark.slow
def test_the_ablation_shares_one_stage_one(ablation_run: Path) -> None:
    """config/ablation.yaml has nine variants; they share stage one and differ in stage two."""
    summary = pd.read_csv(ablation_run / "results/tiny/summary.csv")
    plain = summary[summary["rerank"] == "none"]
    rows = plain.groupby("variant")["stage"].agg(set)
    assert rows.pop("baseline") == {"pretrain"}
    assert len(rows) == 12 and all(stages == {"pretrain", "salcr"} for stages in rows)
    stage_one = plain[plain["stage"] == "pretrain"].groupby("setting")["map_mean"]
    assert (stage_one.nunique() == 1).all()
    assert len(list(ablation_run.glob("results/tiny/*/trial01/round00"))) == 1
    of_ablation = plain["variant"].str.startswith("dagl") | (plain["variant"] == "salcr")
    final = plain[(plain["stage"] == "salcr") & of_ablation].groupby("setting")["map_mean"]
    assert (final.size() == 8).all() and (final.nunique() > 4).all()


@pytest.mark.slow
def test_every_figure_of_the_paper_is_plotted_and_reported(ablation_run: Path) -> None:
    """Figures 5 to 12, including the sweeps; the report shows each with its number."""
    plotted = {path.stem for path in ablation_run.glob("results/tiny/figures/*.pdf")}
    assert plotted == set(CAPTIONS) - {"study"}
    page = Page((ablation_run / "results/tiny/report.html").read_text())
    assert len(page.all("img")) == len(plotted)
    numbers = re.findall(r"the paper's Figure ([0-9 and]+)\)", page.text)
    assert numbers == ["5 and 6", "5 and 6", "7", "8", "9", "10", "11", "12"]


@pytest.mark.slow
def test_every_table_of_regdb_has_what_was_run(ablation_run: Path) -> None:
    """The nine rows of the ablation, and for each sweep the variants that ran."""
    nine = {"B (stage one)", "DAGL", "SALCR"}
    nine |= {f"DAGL+{parts}" for parts in
             ("CMFP", "FGSAL", "FGSAL+CMFP", "GPCR", "GPCR+CMFP", "FGSAL+GPCR")}  # fmt: skip
    assert rows_run(ablation_run / "results/tiny/tables", "RegDB") == {
        "Table 1": {"SALCR", "SALCR + CMFP at test (transductive)"},
        "Table 3": nine,
        "Table 6": {"none", "CMFP", "AIM", "CMRR k=8", "CMRR k=15"},
        "Table 10": {"parts=2", "parts=3"},
        "Table 12": {"k_train=4"},
        "Table 14": {f"k_test={k}" for k in (4, 8, 15, 20, 25)},
        "Table 16": {"trained on RegDB trial 1"},
        "Figure 6": {"lambda=0", "lambda=0.1", "lambda=0.5", "k=15"},
    }


@pytest.mark.slow
def test_every_table_of_sysu_has_what_was_run(ablation_run: Path, tmp_path: Path) -> None:
    """Each of its tables has the rows of these variants; RegDB's network is in Table 16 only."""
    some = some_of("tables_sysu", tmp_path)
    words = ["--configfile", tiny.TINY_CONFIG, some, "--config", SYSU]
    words += [f"transfer={{results: tiny, checkpoint: {NETWORK}}}"]
    done = snakemake(ablation_run, "tables", *words)
    assert done.returncode == 0, done.stdout
    ours = {"SALCR", "SALCR + CMFP at test (transductive)"}
    assert rows_run(ablation_run / "results/sysu/tables", "SYSU-MM01") == {
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
    summary = pd.read_csv(ablation_run / "results/sysu/summary.csv")
    assert not summary["variant"].str.contains("transfer").any()
    table = pd.read_csv(ablation_run / "results/sysu/tables/table16.csv").set_index("row")
    assert set(table.loc["trained on RegDB", "variant"]) == {"transfer"}
    assert table["difference"].isna().all()
