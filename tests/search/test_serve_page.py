"""The page of `serve` in a headless Chromium, used as a person would use it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support import tiny
from tests.support.browser import Browser, chromium
from tests.support.served import calibrate, make_index, serving

pytestmark = pytest.mark.browser
Words = list[object]
IDLE = "!document.querySelector('#message').textContent.startsWith('Searching')"
SHOWN = "!document.querySelector('#result').hidden && document.querySelectorAll('#hits img').length"


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
    """Return a browser, whose page must not have errors."""
    with chromium(tmp_path / "browser") as one:
        one.resize(1280, 900)
        yield one
        one.value("0")  # reads what it said before
        assert one.errors == []


def texts(browser: Browser, selector: str) -> list[str]:
    """Return the texts of elements."""
    return list(browser.value(f"[...document.querySelectorAll('{selector}')].map(e => e.innerText)"))


def scores(browser: Browser, selector: str) -> list[str]:
    """Return the captions of pictures."""
    return texts(browser, f"{selector} b")


def searched(words: Words, query: Path, to: Path, *extra: object) -> Any:
    """Return what `search --json` writes, without its checksum."""
    assert tiny.run("search", *words, "--query", query, "--json", to, *extra) == 0
    content = json.loads(to.read_text())
    del content["checksum"]
    return content


def captions(query: dict[str, Any]) -> list[str]:
    """Return the captions that the page gives to hits."""
    return [f"{hit['rank']}: {hit['score']:.4f}" for hit in query["hits"]]


def test_a_dropped_picture_shows_its_hits_and_the_threshold(
    words: Words, folder: Path, browser: Browser, tmp_path: Path
) -> None:
    """What is above the line is what `search` keeps, at each limit; the download is its JSON."""
    path = next((folder / "raw/Visible/2").iterdir())
    with serving(*words) as one:
        browser.open(one.address)
        browser.wait("document.querySelectorAll('#pictures img').length")
        browser.drop("#drop", path)
        browser.wait(SHOWN)
        every = searched(words, path, tmp_path / "all.json", "--top", 20)
        for limit in ({"#limit": "0.01"}, {"#limit": "least", "#least": "0.9"}, {"#limit": "least", "#least": "1"}):
            for selector, value in limit.items():
                browser.set(selector, value)
            rate = ("--at-fmr", 0.01) if "#least" not in limit else ("--min-score", limit["#least"])
            kept = searched(words, path, tmp_path / "kept.json", "--top", 20, *rate)
            (query,) = kept["queries"]
            assert scores(browser, "#hits li:not(.below)") == captions(query)
            assert scores(browser, "#hits li") == captions(every["queries"][0])
            (line,) = texts(browser, "#hits .line")
            (least,) = kept["min_score"].values()
            assert f"threshold {least:.4f}" in line
            (verdict,) = texts(browser, "#verdict")
            answer = f"{len(query['hits'])} of the 20 nearest pictures"
            assert verdict.startswith(answer if query["hits"] else "No person reaches")
            browser.click("#download")
            file = tmp_path / "browser/hits.json"
            ...
