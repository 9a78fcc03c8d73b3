"""The paper's tables: rows, figures and what was not run, on handmade results."""

from __future__ import annotations

import csv
import json
import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salcr import files
from tests.support import tiny
from tests.support.plans import REPOSITORY, planned, snakemake

PUBLISHED = REPOSITORY / "workflow/resources/published.csv"
STORED = {"layout": "regdb", "shapes": {"visible": [1, 2, 2, 3], "infrared": [1, 2, 2, 3]},
          "sha256": {}, "crc32": {}, "data_hash": "0" * 64}  # fmt: skip
SCORES = {"rank1": "rank1", "map": "map", "minp": "minp"}
# source -> row -> variant and stage, as determined by the Snakefile
REAL = {"3": {"SALCR": ["salcr", "salcr"], "B (stage one)": ["salcr", "pretrain"]},
        "6": {"CMFP": ["salcr", "salcr"]},
        "16": {"trained on RegDB trial 1": ["salcr", "salcr"]}}  # fmt: skip


def published() -> list[dict[str, str]]:
    """Return the lines of published.csv, read without the code under test."""
    with PUBLISHED.open() as file:
        return list(csv.DictReader(file))


def by_hand(folder: Path, rng: np.random.Generator) -> pd.DataFrame:
    """Write results of three trials, including an early round, and return their table."""
    lines = [
        {
            "dataset": "x", "variant": "salcr", "stage": "salcr" if round_ else "pretrain",
            "setting": setting, "rerank": rerank, "round": round_, "trial": trial, "draw": 0,
            **{score: rng.uniform(20, 90) for score in SCORES},
        }
        for round_ in (0, 3, 5)
        for trial in (1, 2, 3)
        for setting in ("visible-to-thermal", "thermal-to-visible")
        for rerank in ("none", "cmfp k=8 (transductive)", "cmfp k=4 (transductive)")
    ]  # fmt: skip
    networks = {"baseline": {"parameters": 7_000_000, "macs": 10**9},
                "salcr": {"parameters": 8_000_000, "macs": 2 * 10**9}}  # fmt: skip
    counts = {"backbone": "resnet50", "width": 64, "parts": 3, "image": [288, 144]}
    seconds = {"visible-to-thermal": {"cmfp k=8 (transductive)": 0.25}, "thermal-to-visible": {}}
    for trial in (1, 2):
        facts = {"stage": "evaluate", "finished": "", "seconds": 1.0, "seed": None, "code": ""}
        facts |= {"commit": None, "clean": None, "versions": {"torch": "2"}, "config": {}}
        job = {"machine": "a_machine", "device": "CPU", "threads": 3, "rerank_seconds": seconds}
        files.write_json(folder / f"job{trial}.json", {**facts, **job})
        seconds["visible-to-thermal"]["cmfp k=8 (transductive)"] = 0.75
    files.write_json(folder / "complexity.json", {**counts, "networks": networks})
    files.write_json(folder / "data/preprocess.json", {**STORED, "published": True})
    pd.DataFrame(lines).to_csv(folder / "trials.csv", index=False)
    return pd.DataFrame(lines)


def write(folder: Path, *extra: object, matches: Any = REAL) -> Path:
    """Run the stage on these results and return the folder of the tables."""
    words = ["--layout", "regdb", "--matches", json.dumps(matches), "--data", folder / "data"]
    words += ["--trials", folder / "trials.csv", "--complexity", folder / "complexity.json"]
    words += ["--jobs", folder / "job1.json", folder / "job2.json", "--published", PUBLISHED]
    assert tiny.run("tables", *words, "--out", folder / "tables", *extra) == 0
    return folder / "tables"


def read(tables: Path, name: str) -> pd.DataFrame:
    """Return the numbers in a table by row, setting and score."""
    table = pd.read_csv(tables / f"{name}.csv").set_index(["row", "setting", "score"])
    return table.sort_index()


@pytest.fixture
def results(tmp_path: Path, rng: np.random.Generator) -> pd.DataFrame:
    """Return the results that `write` reads."""
    return by_hand(tmp_path, rng)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of tables that no test changes."""
    folder = tmp_path_factory.mktemp("written")
    by_hand(folder, np.random.default_rng(1))
    return write(folder)


@pytest.mark.parametrize("source", [*map(str, range(1, 15)), "16", "fig5", "fig6"])
def test_rows_and_figures_are_the_published_ones(written: Path, source: str) -> None:
    """Each published figure of a table occurs in it once, and there are no others."""
    number = int(source.removeprefix("fig"))
    name = f"{'table' if source.isdigit() else 'figure'}{number:02d}"
    table = pd.read_csv(written / f"{name}.csv").dropna(subset=["published"])
    expected = [
        (line["variant"], line["dataset"], line["setting"], score, float(line[score]))
        for line in published()
        for score in SCORES
        # Table 1 has a row of SALCR itself, whose figures Table 3 repeats.
        if line[score] and (line["source"] == source or (
            source == "1" and (line["source"], line["variant"]) == ("3", "SALCR")))
    ]  # fmt: skip
    columns = ["row", "dataset", "setting", "score", "published"]
    assert sorted(table[columns].itertuples(index=False, name=None)) == sorted(expected)


def test_ours_is_mean_and_deviation_of_the_last_round(
    results: pd.DataFrame, tmp_path: Path
) -> None:
    """Over three trials: round 5 for SALCR, round 0 for stage one, trial 1 for Table 16."""
    tables = write(tmp_path)
    direction = "visible-to-thermal"
    plain = results[(results["rerank"] == "none") & (results["setting"] == direction)]
    for row, round_ in (("SALCR", 5), ("B (stage one)", 0)):
        for score in SCORES:
            values = plain.loc[plain["round"] == round_, score].tolist()
            line = read(tables, "table03").loc[(row, direction, score)]
            assert line["ours_mean"] == pytest.approx(statistics.mean(values), abs=1e-4)
            assert line["ours_std"] == pytest.approx(statistics.stdev(values), abs=1e-4)
            gap = statistics.mean(values) - line["published"]
            assert line["difference"] == pytest.approx(gap, abs=1e-4)
    first = plain[(plain["round"] == 5) & (plain["trial"] == 1)]
    line = read(tables, "table16").loc[
        ("trained on RegDB trial 1", "trial 1 visible-to-thermal", "map")
    ]
    assert line["ours_mean"] == pytest.approx(first["map"].item(), abs=1e-4)
    assert np.isnan(line["ours_std"]) and line["num_trials"] == 1


def test_seconds_come_from_the_jobs(written: Path) -> None:
    """The mean over the jobs of the trials, with the machine; none if nothing was timed."""
    tables = written
    table = read(tables, "table06")
    line = table.loc[("CMFP", "visible-to-thermal", "seconds")]
    assert (line["ours_mean"], line["num_trials"]) == (0.5, 2) and np.isnan(line["published"])
    assert line["ours_std"] == pytest.approx(0.5 / 2**0.5, abs=1e-4)
    assert table.loc[("AIM", "visible-to-thermal", "seconds"), "status"] == "not run"
    assert table.loc[("CMFP", "thermal-to-visible", "seconds"), "status"] == "not run"
    assert "CPU threads: 3 (a_machine)" in (tables / "table06.md").read_text()


def test_what_was_not_run_says_so(written: Path) -> None:
    """Without a variant, or for another data set: words in the text, blanks among the numbers."""
    tables = written
    table = pd.read_csv(tables / "table03.csv")
    run = table["row"].isin(["SALCR", "B (stage one)"]) & (table["dataset"] == "RegDB")
    assert (table["status"] == np.where(run, "run", "not run")).all()
    numbers = table[["ours_mean", "ours_std", "difference", "variant"]]
    assert numbers[~run].isna().all(axis=None) and numbers[run].notna().all(axis=None)
    text = (tables / "table03.md").read_text()
    cells = re.search(r"^\| DAGL +\|(.*)\|$", text, re.M)
    assert cells and [cell.strip() for cell in cells[1].split("|")][::3] == ["not run"] * 3
    assert "for SYSU-MM01 only, so nothing" in (tables / "table04.md").read_text()
    assert pd.read_csv(tables / "table04.csv")["ours_mean"].isna().all()


@pytest.mark.parametrize("synthetic", [True, False])
def test_a_difference_is_given_for_the_published_images_only(
    results: pd.DataFrame, tmp_path: Path, synthetic: bool
) -> None:
    """Synthetic people or part of a data set: published figures, but no difference."""
    files.write_json(tmp_path / "data/preprocess.json", {**STORED, "published": False})
    tables = write(tmp_path, *["--synthetic"] * synthetic)
    note = "**Ours are of synthetic people in RegDB's layout, not of RegDB**"
    for path in tables.glob("*[0-9].md"):
        if path.stem != "table15":  # about the network, not the images
            text = path.read_text()
            assert (note if synthetic else "**Ours are of a part of RegDB's images**") in text
            assert not re.search(r"\| +difference", text)
            table = pd.read_csv(path.with_suffix(".csv"))
            assert table["difference"].isna().all() and table["published"].notna().any()


def test_no_difference_is_given_for_other_settings(results: pd.DataFrame, tmp_path: Path) -> None:
    """With the published images but only two rounds: the text says so, with the paper's number."""
    tables = write(tmp_path, "--departures", "rounds 2 instead of 40")
    assert "paper's settings** (mean" in (text := (tables / "table03.md").read_text())
    assert "rounds 2 instead of 40. No difference is given." in text
    table = pd.read_csv(tables / "table03.csv")
    assert table["difference"].isna().all() and table["published"].notna().any()


def test_the_network_s_size_is_compared_if_it_is_the_paper_s(
    results: pd.DataFrame, tmp_path: Path
) -> None:
    """Table 15 is in millions and billions; another network gets no difference."""
    table = pd.read_csv(write(tmp_path) / "table15.csv").set_index(["row", "score"])
    assert table.loc[("SALCR", "parameters"), "ours_mean"] == 8
    assert table.loc[("SALCR", "parameters"), "difference"] == pytest.approx(8 - 25.92)
    assert table.loc[("baseline", "macs"), "difference"] == pytest.approx(1 - 5.19)
    counts = files.read_json(tmp_path / "complexity.json")
    files.write_json(tmp_path / "complexity.json", {**counts, "width": 16})
    assert pd.read_csv(write(tmp_path) / "table15.csv")["difference"].isna().all()


def test_latex_is_complete_and_escaped(written: Path) -> None:
    """Environments close, rows have as many cells as columns, special characters are escaped."""
    tables = written
    document = (tables / "tables.tex").read_text()
    paths = sorted(tables.glob("*[0-9].tex"))
    assert re.findall(r"\\input{(\w+)}", document) == sorted(
        (path.stem for path in paths), key=lambda name: (name[0] == "f", name)
    )
    assert r"\usepackage{booktabs}" in document
    for path in paths:
        text = path.read_text()
        names = re.findall(r"\\(begin|end){(\w+)}", text)
        numbers = pd.read_csv(path.with_suffix(".csv"), keep_default_na=False)
        panels = len(numbers[["dataset", "setting"]].drop_duplicates())
        assert names == [("begin", "table"), *[("begin", "tabular"), ("end", "tabular")] * panels,
                         ("end", "table")]  # fmt: skip
        rows = 0
        for panel in text.split(r"\begin{tabular}")[1:]:
            columns = re.match(r"{(lr*)}\n\\toprule", panel)
            assert columns
            body = panel[: panel.index(r"\bottomrule")].split("\n")
            for line in body:
                if line.endswith(r"\\") and "multicolumn" not in line:
                    assert len(re.split(r"(?<!\\)&", line)) == len(columns[1])
                    rows += 1
        lines = len(numbers[["row", "dataset", "setting"]].drop_duplicates())
        assert rows == lines + panels  # each panel has a title line
        assert text.isascii() and not re.search(r"(?<!\\)[%#_~^]", text.replace("tab:salcr-", ""))
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert r"a\_machine" in (tables / "table06.tex").read_text()


@pytest.mark.slow
def test_tables_of_a_run(run_copy: Path) -> None:
    """The target `tables`: figures come from metrics.json; a restyled table is all that reruns.

    The variant `dagl` in tests/support/tiny.yaml has CMFP, so it is in the row of its settings.
    """
    words = ["tables", "--configfile", tiny.TINY_CONFIG]
    done = snakemake(run_copy, *words, repository=run_copy, fork=True)
    assert done.returncode == 0, done.stdout
    table = read(run_copy / "results/tiny/tables", "table03")
    for variant, row in (("salcr", "SALCR"), ("dagl", "DAGL+CMFP")):
        maps = [
            json.loads(
                (run_copy / f"results/tiny/{variant}/{trial}/round01/metrics.json").read_text()
            )["settings"]["thermal-to-visible"]["none"][0]["map"]
            for trial in ("trial01", "trial02")
        ]
        line = table.loc[(row, "thermal-to-visible", "map")]
        assert line["variant"] == variant and line["num_trials"] == 2
        assert line["ours_mean"] == pytest.approx(100 * statistics.mean(maps), abs=1e-4)
        assert line["ours_std"] == pytest.approx(100 * statistics.stdev(maps), abs=1e-4)
    assert (table.loc["DAGL", "status"] == "not run").all()
    assert planned(run_copy, repository=run_copy, target="tables") == {}
    for name, text in (
        ("reporting/tables.py", "\nADDED = 1\n"),
        ("stages/tables.py", "\nADDED = 1\n"),
    ):
        path = run_copy / "salcr" / name
        before = path.read_text()
        path.write_text(before + text)
        assert planned(run_copy, repository=run_copy, target="tables") == {"tables": 1}
        path.write_text(before)
