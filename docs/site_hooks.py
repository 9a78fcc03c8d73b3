"""What `mkdocs build` does beside its plugins: formulas as MathML, and pages from outside docs/.

Browsers render MathML by themselves, so the site needs no script from another server.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# Page of the site -> file of the repository. Each is read where it is, on GitHub too.
OUTSIDE = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "golden.md": "salcr/verification/golden/README.md",
    "published.md": "workflow/resources/published.md",
    "results.md": "results/README.md",
}
# What the converter writes -> what browsers show as LaTeX means it.
REPAIRS = {
    r"<mi>\arg</mi>": "<mi>arg</mi>",
    '<mn mathvariant="bold">1</mn>': "<mn>𝟏</mn>",
    "<mo>&#x02016;</mo>": '<mo stretchy="false">&#x02016;</mo>',
}
_FORMULA = re.compile(r'<(div|span) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside docs/."""
    for page, source in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links that are right in the repository to the pages of the site."""
    here = (ROOT / OUTSIDE.get(page.file.src_uri, f"docs/{page.file.src_uri}")).parent
    return _LINK.sub(lambda link: _in_site(here / link[1]), markdown)


def _in_site(target: Path) -> str:
    """Return the page of a file, relative to docs/; all pages are in one folder."""
    path = target.resolve().relative_to(ROOT).as_posix()
    pages = {source: page for page, source in OUTSIDE.items()} | {"README.md": "index.md"}
    return pages.get(path, path.removeprefix("docs/"))


def on_page_content(html: str, **_: Any) -> str:
    """Replace formulas, which the extension arithmatex has marked, by MathML."""
    return _FORMULA.sub(lambda match: mathml(match[2], block=match[1] == "div"), html)


def mathml(formula: str, *, block: bool) -> str:
    """Return a formula as MathML.

    Raises:
        ValueError: it has a command that the converter does not know.
    """
    upright = unescape(formula).replace(
        r"\mathrm{", r"\text{"
    )  # it would set single letters italic
    text = convert(upright, display="block" if block else "inline")
    for written, meant in REPAIRS.items():
        text = text.replace(written, meant)
    if "\\" in text:
        raise ValueError(f"cannot be converted to MathML: {formula}")
    return text
