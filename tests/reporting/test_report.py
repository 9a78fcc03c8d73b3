"""The report: a self-contained page whose numbers equal those of the files behind it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from salcr import files
from salcr.reporting.captions import CAPTIONS
from salcr.stages.plot import FIGURES
from tests.support import tiny
from tests.support.pages import Page
from tests.support.plans import REPOSITORY, planned, snakemake

RESULTS = Path("results/tiny")
REPORT = RESULTS / "report.html"
SHOWN = ["cmc", "map", "label_quality", "cluster_centers", "distances", "tsne", "attention",
           "ranking", "losses"]  # fmt: skip


@pytest.fixture(scope="module")
def reported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the finished workflow, with its report."""
    folder = tmp_path_factory.mktemp("reported") / "copy"
    shutil.copytree(finished_run, folder)
    stale = folder / RESULTS / "benchmarks/train/gone-trial01-round01.tsv"
    shutil.copy(stale.with_name("salcr-trial01-round01.tsv"), stale)
    words = ["report", "--configfile", tiny.TINY_CONFIG]
    done = snakemake(folder, *words, repository=folder, fork=True)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture(scope="module")
def page(reported: Path) -> Page:
    """Return the report, parsed."""
    return Page((reported / REPORT).read_text())


def words_of(folder: Path, to: Path, **instead: object) -> list[object]:
    """Return the command that creates the report of a folder's first trial."""
    root = folder / RESULTS
    flags: dict[str, object] = {
        "summary": root / "summary.csv", "provenance": root / "provenance.csv",
        "trials": root / "salcr/trial01/provenance.json", "figures": root / "figures/cmc.png",
        "tables": root / "tables/table03.csv", "times": root / "benchmarks",
        "data": root / "preprocess", "page": to,
    }  # fmt: skip
    return ["report", *(word for flag in {**flags, **instead}.items() for word in _word(*flag))]


def _word(name: str, value: object) -> list[object]:
    return [f"--{name}", value]


def test_the_page_is_self_contained_with_every_figure(reported: Path, page: Page) -> None:
    """Images are embedded, identical to those of the figures, with captions; nothing is loaded."""
    images = page.all("img")
    for name, image in zip(SHOWN, images, strict=True):
        head, _, content = str(image["src"]).partition(",")
        assert head == "data:image/png;base64"
        picture = (reported / RESULTS / f"figures/{name}.png").read_bytes()
        assert base64.b64decode(content) == picture, name
    captions = re.findall(r"the paper's Figure (\d+)", page.text)
    assert captions == ["7", "8", "9", "10", "11", "12"]
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.elements}
    text = (reported / REPORT).read_text()
    assert not re.search(r"https?:|src=\"(?!data:)|url\(", text)
    assert "default-src 'none'" in str(page.all("meta")[1]["content"])


def test_every_figure_has_a_caption() -> None:
    """A figure without a caption would be missing in the page."""
    assert set(CAPTIONS) == {*FIGURES, "study"}


def test_a_study_is_shown_if_there_is_one(reported: Path, tmp_path: Path) -> None:
    """A section with its table, escaped, and a link to it; otherwise neither."""
    text = tmp_path / "study.md"
    text.write_text("**a direction**\n\n| row | starts |\n|---|---|\n| x < y | 8 |\n")
    picture = reported / RESULTS / "figures/cmc.png"
    for given in (["--study", text, shutil.copy(picture, tmp_path / "study.png")], []):
        assert tiny.run(*words_of(reported, tmp_path / "page.html"), *given) == 0
        shown = Page((tmp_path / "page.html").read_text())
        assert (["x < y", "8"] in shown.rows) == bool(given)
        links = [link["href"] for link in shown.all("a")]
        assert ("#Study" in links) == bool(given) and "#Figures" in links


def test_results_are_those_of_the_metrics(reported: Path, page: Page) -> None:
    """Mean and deviation of rank-1 and mAP over both trials equal those of metrics.json."""
    for setting in ("visible-to-thermal", "thermal-to-visible"):
        for variant in ("salcr", "dagl"):
            trial_scores = [
                json.loads(path.read_text())["settings"][setting]["none"][0]
                for path in reported.glob(f"{RESULTS}/{variant}/trial0*/round01/metrics.json")
            ]
            assert len(trial_scores) == 2
            row = [f"{variant}, at the end"]
            for scores in (
                [100 * one["cmc"][0] for one in trial_scores],
                [100 * one["map"] for one in trial_scores],
            ):
                row.append(f"{np.mean(scores):.2f} ± {np.std(scores, ddof=1):.2f}")
            assert row in [[line[0], line[1], line[4]] for line in page.rows if len(line) == 6]


def test_the_front_says_what_was_run_on_what(page: Page) -> None:
    """Images, variants, trials, network and device; synthetic people; no invented commit."""
    facts = dict(line for line in page.rows if len(line) == 2)
    assert facts["images"] == "60 visible, 60 infrared"
    assert (facts["variants"], facts["trials"], facts["seed"]) == ("salcr, dagl", "1, 2", "0")
    assert facts["stage one"] == "trained here"
    assert facts["network"].startswith("resnet18, width 8, initial weights: random")
    assert facts["computed on"].startswith("CPU, Linux")
    assert facts["code"] == "unknown commit"
    assert facts["dagl"] == "fgsal.enabled: False; gpcr.mode: none"
    assert "synthetic people, not a published data set" in page.text
    assert "instances: 3" in page.text  # the configuration itself


def test_tables_in_which_something_was_run_are_open(reported: Path, page: Page) -> None:
    """Their rows are on the page; the others are collapsed, and say that they were not run."""
    tables = sorted((reported / RESULTS / "tables").glob("*.csv"))
    ran = {path.stem for path in tables if (pd.read_csv(path)["status"] == "run").any()}
    assert 0 < len(ran) < len(tables) == 18
    # Those of the labels come before, that of the configuration after them.
    opened = ["open" in attributes for attributes in page.all("details")][-1 - len(tables) : -1]
    assert sum(opened) == len(ran)
    assert page.text.count(" (not run)") == len(tables) - len(ran)
    table = pd.read_csv(reported / RESULTS / "tables/table03.csv")
    ours = table[(table["status"] == "run") & (table["score"] == "rank1")].iloc[0]
    cells = [line[:3] for line in page.rows if line and line[0] == ours["row"]]
    score = f"{ours['ours_mean']:.2f} ± {ours['ours_std']:.2f}"
    assert [ours["row"], score, f"{ours['published']:.2f}"] in cells


def test_times_are_the_sum_of_snakemakes(reported: Path, page: Page) -> None:
    """Four jobs trained; the time of a variant that no longer exists does not count."""
    paths = (reported / RESULTS / "benchmarks/train").glob("*-trial0?-round01.tsv")
    seconds = [pd.read_csv(p, sep="\t")["s"].item() for p in paths if "gone" not in p.name]
    rows = {line[0]: line[1:4] for line in page.rows if len(line) == 5}
    assert rows["train"] == ["4", f"{np.median(seconds):.1f}", f"{sum(seconds):.0f}"]
    assert rows["preprocess"][0] == "1"


def test_a_restyled_figure_remakes_the_page_and_nothing_else(reported: Path) -> None:
    """Then nothing more is planned; another font size plots the figures, and the page follows."""
    assert planned(reported, repository=reported, target="report") == {}
    words = ("--config", "plot={font_size: 8}")
    plan = planned(reported, *words, repository=reported, target="report")
    assert plan == {"plot": len(SHOWN), "report": 1}


@pytest.mark.parametrize(
    ("name", "word"),
    [("captions.py", "Ranking lists"), ("report.html.j2", "Times"), ("page.html.j2", "viewport")],
)
def test_an_edited_caption_or_template_remakes_the_page(
    reported: Path, tmp_path: Path, name: str, word: str
) -> None:
    """Another caption or another template recreates only the page."""
    shutil.copytree(reported, tmp_path / "copy")
    path = tmp_path / "copy/salcr/reporting" / name
    text = path.read_text()
    assert word in text
    path.write_text(text.replace(word, "other"))
    assert planned(path.parents[2], repository=path.parents[2], target="report") == {"report": 1}


def test_names_are_text(reported: Path, tmp_path: Path) -> None:
    """A data set and a machine whose names resemble HTML are shown literally."""
    odd = "<script>alert(1)</script> & <b>"
    trial = json.loads((reported / RESULTS / "salcr/trial01/provenance.json").read_text())
    trial["dataset"] = odd
    files.write_plain_json(tmp_path / "trial.json", trial)
    table = pd.read_csv(reported / RESULTS / "provenance.csv").assign(machine=odd)
    table.to_csv(tmp_path / "provenance.csv", index=False)
    instead = {"trials": tmp_path / "trial.json", "provenance": tmp_path / "provenance.csv"}
    assert tiny.run(*words_of(reported, tmp_path / "page.html", **instead)) == 0
    page = Page((tmp_path / "page.html").read_text())
    assert f"SALCR on {odd}" in page.text
    assert dict(line for line in page.rows if len(line) == 2)["computed on"] == f"CPU, {odd}"
    assert not page.all("script")


def test_a_given_network_is_not_called_stage_one(reported: Path, tmp_path: Path) -> None:
    """If a checkpoint replaced stage one, the page and its rows say so and name it."""
    trial = json.loads((reported / RESULTS / "salcr/trial01/provenance.json").read_text())
    trial["config"]["pretrain"]["checkpoint"] = "data/given{trial}.pt"
    files.write_plain_json(tmp_path / "trial.json", trial)
    words = words_of(reported, tmp_path / "page.html", trials=tmp_path / "trial.json")
    assert tiny.run(*words) == 0
    rows = Page((tmp_path / "page.html").read_text()).rows
    facts = dict(line for line in rows if len(line) == 2)
    assert facts["stage one"] == "not trained here: data/given{trial}.pt"
    names = {line[0] for line in rows if len(line) == 6}
    assert {"salcr, as given", "dagl, after stage one"} < names
    assert "salcr, after stage one" not in names


def test_unknown_identities_are_a_fact(reported: Path, page: Page, tmp_path: Path) -> None:
    """How many training images have no label, and that label quality leaves them out."""
    summary = files.read_json(reported / RESULTS / "preprocess/preprocess.json")
    unlabeled = {"visible": 3, "infrared": 0}
    data = tmp_path / "data"
    files.write_json(data / "preprocess.json", {**summary, "unlabeled": unlabeled})
    assert tiny.run(*words_of(reported, tmp_path / "page.html", data=data)) == 0
    rows = Page((tmp_path / "page.html").read_text()).rows
    facts = [dict(line for line in one if len(line) == 2) for one in (rows, page.rows)]
    expected = "unknown for 3 visible, 0 infrared training images, which label quality leaves out"
    assert facts[0]["identities"] == expected and "identities" not in facts[1]


def test_the_open_set_is_shown_where_it_was_evaluated(
    reported: Path, page: Page, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers of queries and scores, cells without a score empty; half of the columns are refused.

    Re-rankings have no row there, and a page without it does not mention it.
    """
    summary = pd.read_csv(reported / RESULTS / "summary.csv").head(2)
    scores = {"num_present": 1030, "num_absent": 990, "dir_far0.1_mean": 61.239}
    scores |= {"dir_far0.1_std": [1.5, None], "dir_far0.01_mean": [33.3, None]}
    empty = ["dir_far0.01_std", "dir_far0.001_mean", "dir_far0.001_std"]
    table = summary.assign(**scores, **dict.fromkeys(empty))
    reranked = summary.assign(rerank="other", **dict.fromkeys([*scores, *empty]))
    pd.concat([table, reranked]).to_csv(tmp_path / "summary.csv", index=False)
    words = words_of(reported, tmp_path / "page.html", summary=tmp_path / "summary.csv")
    assert tiny.run(*words) == 0
    shown = Page((tmp_path / "page.html").read_text())
    titles = ["present", "absent", "FAR 0.1", "FAR 0.01", "FAR 0.001"]
    settings = [name.replace("-", " ") for name in summary["setting"]]
    start = shown.rows.index([settings[0], *titles])
    assert shown.rows[start + 1 : start + 4] == [
        ["salcr, after stage one", "1030", "990", "61.24 ± 1.50", "33.30", ""],
        [settings[1], *titles],
        ["salcr, after stage one", "1030", "990", "61.24", "", ""],
    ]
    assert "Open set" in shown.text and "Open set" not in page.text
    table.drop(columns="num_absent").to_csv(tmp_path / "summary.csv", index=False)
    assert tiny.run(*words) == 1
    assert "summary.csv: is not the summary.csv" in capsys.readouterr().err


def test_every_commit_is_named(reported: Path, tmp_path: Path) -> None:
    """The commit of a job that ran other code is on the page, and whether its code was edited."""
    trial = json.loads((reported / RESULTS / "salcr/trial01/provenance.json").read_text())
    for job in trial["jobs"]:
        job |= {"commit": "a" * 40, "clean": True}
    trial["jobs"][-1] |= {"commit": "b" * 40, "clean": False}
    files.write_plain_json(tmp_path / "trial.json", trial)
    table = pd.read_csv(reported / RESULTS / "provenance.csv").head(1)
    table = table.assign(commit=f"{'a' * 40}; {'b' * 40}", clean=False)
    table.to_csv(tmp_path / "provenance.csv", index=False)
    instead = {"trials": tmp_path / "trial.json", "provenance": tmp_path / "provenance.csv"}
    assert tiny.run(*words_of(reported, tmp_path / "page.html", **instead)) == 0
    rows = Page((tmp_path / "page.html").read_text()).rows
    code = dict(line for line in rows if len(line) == 2)["code"]
    assert code == f"{'a' * 12}, as committed, {'b' * 12}, edited since"
    assert f"{'a' * 12}; {'b' * 12}" in [cell for line in rows for cell in line]


@pytest.mark.parametrize("name", ["summary", "trials", "figures", "tables"])
def test_a_missing_file_is_one_message(
    reported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The message names it, and no page is written."""
    gone = tmp_path / "cmc.png"
    instead = {name: gone}
    assert tiny.run(*words_of(reported, tmp_path / "page.html", **instead)) == 1
    assert capsys.readouterr().err == f"error: {gone}: no such file\n"
    assert not (tmp_path / "page.html").exists()


def photographed(page: Path, height: int) -> np.ndarray:
    """Return a screenshot of a page [height, 1100, 3] in Chromium, without network access."""
    picture = page.with_suffix(".png")
    profile = page.with_name("chromium")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--proxy-server=127.0.0.1:9", f"--user-data-dir={profile}",
             f"--window-size=1100,{height}", f"--screenshot={picture}"]  # fmt: skip
    subprocess.run(
        ["chromium", *flags, page.as_uri()], check=True, timeout=120, capture_output=True
    )
    return np.asarray(Image.open(picture).convert("RGB")).astype(int)


def pixels_of(picture: np.ndarray, colors: Mapping[str, tuple[int, int, int]]) -> dict[str, int]:
    """Return how many pixels of an image are close to each color."""
    return {n: int((abs(picture - c).max(axis=2) < 12).sum()) for n, c in colors.items()}


@pytest.mark.browser
def test_a_browser_shows_text_and_every_figure(tmp_path: Path) -> None:
    """The demo's page is longer with its images, and contains colors that only figures have."""
    text = (
        (REPOSITORY / "results/demo/report.html").read_text().replace("<details open>", "<details>")
    )
    (tmp_path / "page.html").write_text(text)
    (tmp_path / "bare.html").write_text(re.sub(r"data:image/png;base64,[^\"]*", "data:,", text))
    shown, bare = (photographed(tmp_path / f"{n}.html", 9000) for n in ("page", "bare"))
    palette = {"blue": (0, 114, 178), "vermilion": (213, 94, 0), "green": (0, 158, 115)}
    assert min(pixels_of(shown, palette).values()) > 500
    assert max(pixels_of(bare, palette).values()) < 50
    assert (shown[:1000] < 100).any(axis=2).mean() > 0.01  # dark letters on the first screen
    longer = [np.flatnonzero((picture < 200).any(axis=(1, 2)))[-1] for picture in (shown, bare)]
    assert longer[0] - longer[1] > 3000
