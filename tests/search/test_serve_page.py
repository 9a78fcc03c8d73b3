"""The page of `serve` in a headless Chromium, used as a person would use it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.faults.test_formats import POSTSCRIPT
from tests.support import tiny
from tests.support.browser import Browser, chromium
from tests.support.served import calibrate, make_index, serving

pytestmark = pytest.mark.browser
Words = list[object]
SEARCHED = "!document.querySelector('#result').hidden && document.title"
LOADED = "[...document.images].every(one => one.complete && one.naturalWidth > 0)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the index."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def words(stage_one: Path, folder: Path) -> Words:
    """Return the arguments that name an index with a calibration, and its network."""
    made = make_index(stage_one, folder)
    calibrate(folder)
    return made


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """Return a browser with a page of usual size."""
    with chromium(tmp_path / "browser") as one:
        one.resize(1280, 900)
        yield one


def texts(browser: Browser, selector: str) -> list[str]:
    """Return the texts of elements."""
    all_of = f"[...document.querySelectorAll({json.dumps(selector)})]"
    return list(browser.value(f"{all_of}.map(one => one.textContent)"))


def text(browser: Browser, selector: str) -> str:
    """Return the text of an element."""
    (only,) = texts(browser, selector)
    return only


def searched(words: Words, query: Path, to: Path, *extra: object) -> dict[str, Any]:
    """Return what `search --json` writes, without its checksum."""
    assert tiny.run("search", *words, "--query", query, "--json", to, *extra) == 0
    content: dict[str, Any] = json.loads(to.read_text(encoding="utf-8"))
    del content["checksum"]
    return content


def captions(content: dict[str, Any]) -> list[str]:
    """Return the captions that the page gives to the hits of a search."""
    return [f"{hit['rank']}: {hit['score']:.4f}" for hit in content["queries"][0]["hits"]]


LIMITS = {
    "rate": ({"#limit": "0.01"}, ["--at-fmr", 0.01]),
    "score": ({"#limit": "least", "#least": "0.9"}, ["--min-score", 0.9]),
    "none": ({"#limit": "least", "#least": "1"}, ["--min-score", 1]),
    "any": ({"#limit": ""}, []),
}


@pytest.mark.parametrize("among", ["other", "all"])
def test_a_dropped_picture_has_the_hits_of_search_at_every_limit(
    words: Words, folder: Path, browser: Browser, tmp_path: Path, among: str
) -> None:
    """Above the line is what `search` keeps, below it the rest; the download is its JSON."""
    path = next((folder / "raw/Visible/2").iterdir())
    options = ["--top", 20, "--among", among]
    every = captions(searched(words, path, tmp_path / "all.json", *options))
    download = tmp_path / "browser/hits.json"
    with serving(*words) as one:
        browser.open(one.address)
        browser.wait("document.querySelector('#range').textContent")
        assert browser.value("document.querySelector('#limit').value") == "0.01"
        assert browser.value("document.querySelector('#limit [value=\"0.001\"]').disabled")
        browser.set("#among", among)
        browser.drop("#drop", path)
        browser.wait(SEARCHED)
        for fields, flags in LIMITS.values():
            for selector, value in fields.items():
                browser.set(selector, value)
            kept = searched(words, path, tmp_path / "kept.json", *options, *flags)
            assert texts(browser, "#hits li:not(.below) b") == captions(kept)
            assert sorted(texts(browser, "#hits b")) == sorted(every)
            lines = texts(browser, "#hits .line")
            assert len(lines) == ("min_score" in kept)
            for least in kept.get("min_score", {}).values():
                assert f"{least:.4f}" in lines[0]
            count = len(captions(kept))
            start = f"{count} of the 20 nearest" if flags else "The 20 nearest"
            assert text(browser, "#verdict").startswith(start if count else "No person reaches")
            browser.click("#download")
            content = json.loads(browser.downloaded(download))
            assert content == {**kept, "queries": [{**kept["queries"][0], "path": path.name}]}
        assert browser.wait(LOADED) and browser.errors == []


def test_a_hit_leads_to_its_own_hits_and_back(
    words: Words, folder: Path, browser: Browser, tmp_path: Path
) -> None:
    """A file is chosen, a hit clicked, an option changed; the browser's way back leads there."""
    path = next((folder / "raw/Thermal/5").iterdir())
    first = searched(words, path, tmp_path / "a.json", "--top", 20)
    hit = first["queries"][0]["hits"][2]
    second = searched(words, Path(hit["path"]), tmp_path / "b.json", "--top", 20)
    third = searched(words, Path(hit["path"]), tmp_path / "b.json", "--top", 3, "--among", "all")
    with serving(*words) as one:
        browser.open(one.address)
        browser.wait("document.querySelector('#range').textContent")
        assert browser.value("document.querySelector('#file').accept").startswith(".bmp,")
        browser.set("#limit", "")
        browser.choose("#file", path)
        browser.wait(SEARCHED)
        assert texts(browser, "#hits b") == captions(first)
        assert "infrared query, guessed" in text(browser, "#query p:first-of-type")
        browser.click("#hits li:nth-child(3) button")
        name = "/".join(Path(hit["path"]).parts[-2:])
        browser.wait(f"document.querySelector('#query h2').textContent === '{name}'")
        assert texts(browser, "#hits b") == captions(second)
        assert browser.value("document.querySelector('#modality').disabled")
        browser.set("#among", "all")
        browser.set("#top", "3")
        browser.wait("document.querySelectorAll('#hits b').length === 3")
        assert texts(browser, "#hits b") == captions(third)
        browser.click("#back")
        browser.wait(f"document.querySelector('#query h2').textContent === '{path.name}'")
        assert texts(browser, "#hits b") == captions(first)
        browser.value("history.forward()")
        browser.wait("document.querySelectorAll('#hits b').length === 3")
        assert browser.wait(LOADED) and browser.errors == []


def test_a_picture_of_the_index_is_found_by_name_and_searched_for(
    words: Words, folder: Path, browser: Browser, tmp_path: Path
) -> None:
    """With a token: the address works once it is opened, and is not left in the browser's line."""
    path = folder / "raw/Visible/7/visible_00003.bmp"
    expected = searched(words, path, tmp_path / "a.json", "--top", 20)
    with serving(*words, "--token") as one:
        browser.open(one.address.partition("?")[0])
        assert "open the address with the token" in text(browser, "body")
        browser.open(one.address)
        assert browser.wait("location.href") == one.address.partition("?")[0]
        browser.wait("document.querySelector('#range').textContent.endsWith('of 120')")
        browser.click("#after")
        browser.wait("document.querySelector('#range').textContent.startsWith('25–48')")
        browser.set("#text", "7/VISIBLE_00003")
        browser.wait("document.querySelector('#range').textContent === '1–1 of 1'")
        browser.click("#pictures button")
        browser.wait(SEARCHED)
        assert texts(browser, "#hits b") == captions(expected)


def test_what_is_wrong_is_said_on_the_page(
    words: Words, folder: Path, browser: Browser, tmp_path: Path
) -> None:
    """No calibration, a picture that is none, one that vanished, and a server that has ended."""
    shutil.copytree(folder / "raw/Visible/1", tmp_path / "raw/1")
    shutil.copytree(folder / "raw/Thermal/1", tmp_path / "raw/2")
    index = ["--index", tmp_path / "index"]
    assert tiny.run("embed", "--images", tmp_path / "raw", "--out", index[1], *words[2:]) == 0
    (tmp_path / "note.jpg").write_bytes(POSTSCRIPT)
    (tmp_path / "raw/2/thermal_00001.bmp").unlink()
    with serving(*index, *words[2:]) as one:
        browser.open(one.address)
        browser.wait("document.querySelector('#range').textContent")
        assert f"calibrate --index {tmp_path / 'index'}" in text(browser, "#calibration")
        assert texts(browser, "#limit option") == ["any score", "a smallest score"]
        browser.drop("#drop", tmp_path / "note.jpg")
        browser.wait("document.querySelector('#message.error') !== null")
        assert text(browser, "#message").startswith("note.jpg: cannot be decoded")
        browser.drop("#drop", tmp_path / "raw/1/visible_00001.bmp")
        browser.wait(SEARCHED)
        assert text(browser, "#message") == ""
        browser.wait("document.querySelector('#hits .gone') !== null")
        assert texts(browser, "#hits .gone") == ["gone"]
    browser.click("#hits button")
    browser.wait("document.querySelector('#message.error') !== null")
    assert "serve` still running" in text(browser, "#message")


@pytest.mark.parametrize("width", [360, 700, 1280, 2400])
def test_the_page_fits_the_window(
    words: Words, folder: Path, browser: Browser, tmp_path: Path, width: int
) -> None:
    """Nothing leaves it sideways, and the letters differ from the paper, on dark pages, too."""
    with serving(*words) as one:
        browser.resize(width, 800)
        browser.open(one.address)
        browser.wait("document.querySelector('#range').textContent")
        browser.drop("#drop", next((folder / "raw/Visible/2").iterdir()))
        browser.wait(SEARCHED)
        assert browser.value("document.documentElement.scrollWidth") <= width
        light = {}
        for dark in (False, True):
            browser.resize(width, 800, dark=dark)
            browser.photograph(tmp_path / "page.png")
            picture = np.asarray(Image.open(tmp_path / "page.png").convert("L"))
            light[dark] = np.median(picture)
            assert (np.abs(picture - light[dark]) > 128).mean() > 0.01
        assert light[True] < 64 < 192 < light[False]
