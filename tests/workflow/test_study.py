"""`snakemake study`: what it plans, keeps, continues elsewhere, and shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.faults.test_sent import ODD
from tests.support import tiny
from tests.support.pages import Page
from tests.support.plans import planned, snakemake

RESULTS = Path("results/tiny")
ROWS = RESULTS / "study.csv"
CONFIG = ["--config", "study={compare: {salcr: dagl, dagl: one}}", "variants={one: {rounds: 0}}"]
CONFIG += ["evaluate_every=5"]
WORDS = ["--configfile", tiny.TINY_CONFIG, *CONFIG]
ONE_START = {"synthesize": 1, "preprocess": 1, "pretrain": 1, "associate": 1, "train": 1,
             "evaluate": 1, "study_row": 1, "study": 1}  # fmt: skip


@pytest.fixture(scope="module")
def studied(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the finished workflow, with its study: three variants, two trials."""
    folder = tmp_path_factory.mktemp("studied") / "copy"
    shutil.copytree(finished_run, folder)
    done = snakemake(folder, "study", *WORDS, repository=folder, fork=True)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def study_copy(studied: Path, tmp_path: Path) -> Path:
    """Return a copy of the study that a test may change."""
    return shutil.copytree(studied, tmp_path / "copy")


@pytest.fixture
def clone(studied: Path, tmp_path: Path) -> Path:
    """Return a folder of another machine: with the code and the csv, without any result."""
    folder = shutil.copytree(studied, tmp_path / "clone")
    for name in ("data", ".snakemake", "results"):
        shutil.rmtree(folder / name)
    (folder / RESULTS).mkdir(parents=True)
    shutil.copy(studied / ROWS, folder / ROWS)
    return folder


def plan(folder: Path, *words: object, target: str = "study") -> dict[str, int]:
    """Return rule -> number of jobs that the study plans in a folder with its own code."""
    return planned(folder, *CONFIG, *words, repository=folder, target=target)


def test_a_finished_start_is_a_row_of_each_direction(studied: Path) -> None:
    """Scores are those of the last evaluation; stage one's are its owner's."""
    rows = pd.read_csv(studied / ROWS)
    assert len(rows) == 3 * 2 * 2 and (rows["seed"] == 0).all()
    assert (rows["torch"].str.startswith("2.") & (rows["device"] == "CPU")).all()
    for row in rows.to_dict("records"):
        owner, round_ = {"one": ("salcr", 0)}.get(row["variant"], (row["variant"], 1))
        folder = studied / RESULTS / owner / f"trial{row['trial']:02d}"
        metrics = json.loads((folder / f"round{round_:02d}/metrics.json").read_text())
        (scores,) = metrics["settings"][row["setting"]]["none"]
        expected = [100 * scores["cmc"][0], 100 * scores["map"], 100 * scores["minp"]]
        assert [row["rank1"], row["map"], row["minp"]] == pytest.approx(expected, abs=1e-4)
        shared = studied / RESULTS / "salcr" / folder.name / "round00/jobs/pretrain.json"
        jobs = [shared] + [folder / f"round01/jobs/{one}.json" for one in ("associate", "train")]
        seconds = [json.loads(path.read_text())["seconds"] for path in jobs[: 1 + 2 * round_]]
        assert row["rounds"] == round_ and row["seconds"] == pytest.approx(sum(seconds))


def test_table_and_figure_are_written(studied: Path) -> None:
    """A line per variant and direction, as csv, Markdown, LaTeX; the figure as png and pdf."""
    table = pd.read_csv(studied / RESULTS / "study_table.csv")
    assert len(table) == 6 and set(table["starts"]) == {2}
    compared = table.dropna(subset="compared_with").set_index("variant")["compared_with"]
    assert compared.to_dict() == {"salcr": "dagl", "dagl": "one"}
    assert "| salcr |" in (studied / RESULTS / "study.md").read_text()
    assert r"\begin{tabular}" in (studied / RESULTS / "study.tex").read_text()
    for form in ("png", "pdf"):
        assert (studied / RESULTS / f"figures/study.{form}").stat().st_size > 5000


def test_a_finished_study_plans_nothing(studied: Path, clone: Path) -> None:
    """Nothing where it ran; in a clone that has the csv alone, nothing but table and figure."""
    assert plan(studied) == {}
    assert plan(clone) == {"study": 1}


def test_a_clone_plans_the_missing_starts_alone(clone: Path) -> None:
    """One start less: its own jobs; no label quality, no other evaluation, no other figure."""
    rows = pd.read_csv(clone / ROWS, dtype=str, keep_default_na=False)
    missing = (rows["variant"] == "dagl") & (rows["trial"] == "2")
    rows[~missing].to_csv(clone / ROWS, index=False)
    assert plan(clone) == ONE_START
    rows[rows["variant"] != "one"].to_csv(clone / ROWS, index=False)
    assert plan(clone) == {
        "synthesize": 1, "preprocess": 1, "pretrain": 2, "evaluate": 2, "study_row": 2, "study": 1,
    }  # fmt: skip


def test_fewer_starts_of_a_variant(clone: Path) -> None:
    """Without a csv: both trials of salcr, one of dagl; stage one once a trial."""
    (clone / ROWS).unlink()
    words = ["study={starts: {dagl: 1, one: 1}, compare: {}}"]
    assert plan(clone, *words) == {
        "synthesize": 1, "preprocess": 1, "pretrain": 2, "associate": 3, "train": 3,
        "evaluate": 4, "study_row": 4, "study": 1,
    }  # fmt: skip


def test_edited_code_and_settings_plan_the_starts_that_they_concern(study_copy: Path) -> None:
    """A loss of stage two concerns two variants; an overlay one; the table's code none."""
    stage_two = {"train": 4, "evaluate": 4, "study_row": 4, "study": 1}
    assert plan(study_copy, "gpcr={k: 5}") == stage_two
    words = ["variants={one: {rounds: 0}, dagl: {fgsal: {enabled: false}, train: {iterations: 2}}}"]
    assert plan(study_copy, *words) == {"train": 2, "evaluate": 2, "study_row": 2, "study": 1}
    for name, expected in (
        ("losses/refinement.py", stage_two),
        ("reporting/study.py", {"study": 1}),
    ):
        path = study_copy / "salcr" / name
        text = path.read_text()
        path.write_text(f"{text}\nADDED = 1\n")
        assert plan(study_copy) == expected
        path.write_text(text)


def test_rows_that_the_csv_has_lost_are_restored(study_copy: Path) -> None:
    """After `git checkout` of an older csv, the table's job alone writes them again."""
    content = (study_copy / ROWS).read_bytes()
    (study_copy / ROWS).write_bytes(content.splitlines(keepends=True)[0])
    assert plan(study_copy) == {"study": 1}
    done = snakemake(study_copy, "study", *WORDS, repository=study_copy, fork=True)
    assert done.returncode == 0, done.stdout
    assert (study_copy / ROWS).read_bytes() == content


def test_a_start_is_kept_though_the_study_is_stopped(study_copy: Path) -> None:
    """After the first of the starts, its two rows are in the csv."""
    (study_copy / ROWS).unlink()
    start = RESULTS / "dagl/trial02/study_row.json"
    (study_copy / start).unlink()
    done = snakemake(study_copy, start, *WORDS, repository=study_copy, fork=True)
    assert done.returncode == 0, done.stdout
    rows = pd.read_csv(study_copy / ROWS)
    assert rows[["variant", "trial"]].to_numpy().tolist() == [["dagl", 2]] * 2


@pytest.mark.parametrize("name", ["study.csv", "salcr/trial01/study_row.json"])
def test_damage_is_one_message(study_copy: Path, name: str) -> None:
    """It names the file and what to do; no traceback."""
    path = study_copy / RESULTS / name
    path.write_text(path.read_text().replace("salcr", "", 1)[:-9])
    done = snakemake(study_copy, "study", *WORDS, "--dry-run", repository=study_copy)
    assert done.returncode == 1 and "Traceback" not in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert f"{RESULTS}/{name}" in line and "delete it" in line


def test_the_page_of_a_study_shows_its_table(studied: Path, tmp_path: Path) -> None:
    """Between its marks, with a picture beside it that is small; the rest of the page remains."""
    page = tmp_path / "PAGE.md"
    page.write_text("before\n<!-- study table -->\n<!-- end of study table -->\nafter\n")
    rows = pd.read_csv(studied / ROWS, dtype=str).set_index("variant")
    origin = {"salcr": rows.loc["salcr", ["config", "code"]].iloc[0].tolist()}
    words = ["--rows", studied / ROWS, "--origins", json.dumps(origin), "--page", page]
    words += ["--table", tmp_path / "a.csv", "--text", tmp_path / "a.md"]
    words += ["--latex", tmp_path / "a.tex", "--figures", tmp_path / "a.png"]
    assert tiny.run("study", *words) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert (tmp_path / "a.md").read_text().strip() in text and "](study.png)" in text
    assert 5000 < (tmp_path / "study.png").stat().st_size < 150_000
    page.write_text("no marks")
    assert tiny.run("study", *words) == 1 and page.read_text() == "no marks"


@pytest.mark.slow
def test_a_report_asks_for_no_study(study_copy: Path) -> None:
    """Not even where one was made, of which it shows what there is."""
    path = study_copy / "salcr/training/pretraining.py"
    path.write_text(path.read_text() + "\nADDED = 1\n")
    jobs = plan(study_copy, target="report")
    assert jobs["report"] == 1 and not {"study", "study_row"} & jobs.keys()


def test_free_text_reaches_no_shell(study_copy: Path, tmp_path: Path) -> None:
    """Paths with blanks, quotes and commands are used literally, by Snakemake and its shell."""
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"study": {"rows": f"{ODD}.csv", "page": f"{ODD}.md"}}))
    words = ["--configfile", tiny.TINY_CONFIG, overlay, *CONFIG]
    done = snakemake(study_copy, "study", *words, repository=study_copy, fork=True)
    assert done.returncode == 0, done.stdout
    assert not list(study_copy.rglob("hacked"))
    rows = (study_copy / f"{ODD}.csv").read_text()
    assert rows == (study_copy / ROWS).read_text() and (study_copy / f"{ODD}.md").exists()


def test_the_report_shows_a_study_that_was_made(study_copy: Path) -> None:
    """Its table in a section of its own, and the figure; without one there is no section.

    Evaluated with an open set, tables and report have it; 15 absent queries are too few for rates.
    """
    words = ["--configfile", tiny.TINY_CONFIG]
    for made in (True, False):
        if not made:
            (study_copy / RESULTS / "study.md").unlink()
        config = [*CONFIG, "evaluate={open_set: true}"]
        done = snakemake(study_copy, "report", *words, *config, repository=study_copy, fork=True)
        assert done.returncode == 0, done.stdout
        text = (study_copy / RESULTS / "report.html").read_text()
        assert ("compared with" in text) == ('href="#Study"' in text) == made
        sections = [one.get("id") for one in Page(text).all("figure")]
        assert ("study" in sections) == made
    summary = pd.read_csv(study_copy / RESULTS / "summary.csv")
    assert summary["variant"].nunique() == 3
    assert (summary[["num_present", "num_absent"]] == 15).all(axis=None)
    assert summary.filter(like="dir_far").isna().all(axis=None)
    rows = [row[1:] for row in Page(text).rows if row and row[0].endswith(" the end")]
    assert rows.count(["15", "15", "", "", ""]) == 4
    assert "Open set" in (study_copy / RESULTS / "summary.txt").read_text()
