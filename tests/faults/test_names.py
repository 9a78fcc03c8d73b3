"""Names with line breaks, marks of direction, or formulas: shown, never obeyed."""

from __future__ import annotations

import csv
import json
import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salcr.datasets.synthetic.generate import synthesize
from salcr.log import escape_name, say, warn
from salcr.reporting.page import render_page
from tests.support import faults, tiny
from tests.support.pages import Page

BACKWARD = "\u202egnp.exe"  # shown as exe.png
TRICKS = ["a\rb", "a\x1b[31mb", "a\u202eb", "a\u2066b", "a\u2028b", "a\x85b", "a\udce9b"]


def is_tricky(text: str) -> bool:
    """Return whether a terminal or a browser may do something else than show a text in a line."""
    kinds = {unicodedata.category(character) for character in text.replace("\u200d", "")}
    return bool(kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"})


@given(st.text(st.characters(exclude_characters="\\")))
def test_a_name_is_shown_as_one_line_that_means_it(name: str) -> None:
    """Nothing in it is obeyed, and Python reads the name back; joiners of emoji remain."""
    shown = escape_name(name)
    assert not is_tricky(shown.replace("\u200c", ""))
    assert shown.encode("ascii", "backslashreplace").decode("unicode_escape") == name


@pytest.mark.parametrize("name", ["Personen über 30.jpg", "人 1.png", "👩‍🔬.bmp", "می‌روم", "שלום"])
def test_names_of_all_languages_are_left_alone(name: str) -> None:
    """Letters, emoji with joiners, and languages from right to left need no escape."""
    assert escape_name(name) == name


@pytest.mark.parametrize("trick", TRICKS)
def test_messages_and_errors_show_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trick: str
) -> None:
    """Whatever a message holds, the terminal gets no control but the line breaks of ours."""
    say(trick)
    warn(trick)
    words = ["--index", tmp_path, "--checkpoint", tmp_path / trick]
    assert tiny.run("search", *words, "--query", tmp_path / trick) == 1
    text = capsys.readouterr().err
    assert not is_tricky(text.replace("\n", ""))
    assert text.count(escape_name(trick)) == 2 and len(text.splitlines()) == 3


def test_pages_show_texts() -> None:
    """Every text that a template shows is free of marks that would turn the rest around."""
    values = {"title": f"of {BACKWARD}", "summary": f"about {BACKWARD}", "rows": []}
    page = render_page("search/hits.html.j2", **values)
    assert "\u202e" not in page and page.count(r"\u202egnp.exe") >= 2


def test_embed_and_search_show_names(
    stage_one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the terminal, in both lists and on the page; the pictures themselves are found."""
    pictures, index = tmp_path / "pictures", tmp_path / "index"
    pictures.mkdir()
    visible, infrared = (
        stage_one / "raw" / name
        for name in ("Visible/1/visible_00001.bmp", "Thermal/1/thermal_00001.bmp")
    )
    names = ["=cmd|calc.bmp", "+1.bmp", "-1.bmp", "@sum.bmp", f"a{BACKWARD}.bmp"]
    for name in names:
        shutil.copy(visible, pictures / name)
    for name in ("=cmd.txt", "a\nb.txt", f"{BACKWARD}.txt"):
        (pictures / name).touch()
    query = Path(shutil.copy(infrared, tmp_path / "two\nlines\u202e.bmp"))
    network = ["--checkpoint", stage_one / "round00/checkpoint.pt"]
    assert tiny.run("embed", "--images", pictures, "--out", index, *network) == 0
    for table in ("files.csv", "skipped.csv"):
        with (index / table).open(newline="") as file:
            cells = [cell for line in csv.reader(file) for cell in line]
        assert len(cells) == 3 * (6 if table == "files.csv" else 4)
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        if table == "skipped.csv":  # for people alone; search reads the other one
            assert not any(map(is_tricky, cells)) and {"a\\nb.txt"} < set(cells)
    words = ["--index", index, *network, "--query", query, "--modality", "infrared"]
    page, record = tmp_path / "page.html", tmp_path / "hits.json"
    capsys.readouterr()
    assert tiny.run("search", *words, "--page", page, "--json", record) == 0
    shown = capsys.readouterr()
    assert not is_tricky(shown.out.replace("\n", "")) and not is_tricky(shown.err.replace("\n", ""))
    assert len(shown.out.splitlines()) == 2 + len(names)
    text = page.read_text()
    assert "\u202e" not in text and r"two\nlines\u202e.bmp" in Page(text).text
    assert record.read_text().isascii()
    hits = json.loads(record.read_text())["queries"][0]["hits"]
    assert {Path(hit["path"]) for hit in hits} == {pictures / name for name in names}
    query.write_text("no picture", encoding="utf-8")
    assert tiny.run("search", *words) == 1
    assert r"two\nlines\u202e.bmp: cannot be decoded" in faults.the_error(capsys.readouterr().err)


@pytest.mark.parametrize("name", ["a\rb.jpg", "a\udce9b.jpg"])
def test_a_name_that_a_csv_cannot_hold_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """SYSU-MM01 has no list of images: a manifest of names that its reader could not read back."""
    sizes = {"num_identities": 4, "images_per_identity": 2, "num_trials": 1, "seed": 1}
    synthesize(tmp_path / "raw", layout="sysu", **sizes, height=64, width=32)
    image = next((tmp_path / "raw").glob("cam1/*/*.jpg"))
    image.rename(image.with_name(name))
    words = ["--root", tmp_path / "raw", "--layout", "sysu", "--out", tmp_path / "data"]
    assert tiny.run("preprocess", *words, *tiny.PREPROCESS) == 1
    message = faults.the_error(capsys.readouterr().err)
    assert escape_name(name) in message and "rename it" in message
    assert not (tmp_path / "data").exists()
