"""Links, paths and sizes of README.md, CONTRIBUTING.md and the pages in docs/."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.support.markdown import PAGES, ROOT, code_spans

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def headings(path: Path) -> list[str]:
    """Return the fragments that GitHub assigns to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def test_the_readme_is_short() -> None:
    """At most 150 lines; the size of the environment and the limits of the demo come at the top."""
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    first_screen = "\n".join(lines[:40])
    assert "8 GB" in first_screen
    assert "not a RegDB result" in first_screen


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_resolve(name: str) -> None:
    """Each link within the repository leads to a file, and its fragment to a heading."""
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"https?://", target):
            path, _, fragment = target.partition("#")
            linked = page.parent / path if path else page
            assert linked.exists(), target
            assert not fragment or fragment in headings(linked), target


def test_links_are_recognized() -> None:
    """The pattern finds links and headings that are known to exist."""
    assert len(re.findall(r"\]\((docs/[^)]+)\)", (ROOT / "README.md").read_text())) > 10
    assert "312-cross-modality-feature-propagation" in headings(ROOT / "docs/METHOD.md")


@pytest.mark.parametrize("name", NAMES)
def test_named_files_exist(name: str) -> None:
    """Every file or folder of the repository that a page names as code exists."""
    folders = "salcr|tests|config|docs|workflow|profiles|benchmarks"
    spans = code_spans((ROOT / name).read_text())
    named = [span for span in spans if re.fullmatch(rf"(?:{folders})/[\w./-]*", span)]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    """The site contains all pages in docs/ and those that it includes from elsewhere."""
    text = (ROOT / "mkdocs.yml").read_text()
    shown = set(re.findall(r"[\w-]+\.md\b", text[text.index("nav:") :]))
    hooks = (ROOT / "docs/site_hooks.py").read_text()
    from_elsewhere = set(re.findall(r'^    "([\w-]+\.md)": "', hooks, re.MULTILINE))
    assert shown == {page.name for page in ROOT.glob("docs/*.md")} | from_elsewhere
    assert yaml.safe_load(text)["theme"]["font"] is False


def test_images_are_small() -> None:
    """Each image is smaller than 150 KB, and all of them together are smaller than 700 KB."""
    images = [*ROOT.glob("docs/images/*"), *ROOT.glob("docs/*.png")]
    sizes = [path.stat().st_size for path in images]
    assert max(sizes) < 150_000
    assert sum(sizes) < 700_000
