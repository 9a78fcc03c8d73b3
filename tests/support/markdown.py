"""What the tests of the documentation read from Markdown files."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        ROOT / "config/README.md",
        ROOT / "results/README.md",
        ROOT / "salcr/verification/golden/README.md",
        ROOT / "workflow/resources/published.md",
    ]
)


def code_spans(text: str) -> list[str]:
    """Return the inline code of a text."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def code_lines(text: str) -> list[str]:
    """Return the lines of indented blocks, continued lines joined, without comments."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = re.findall(r"^ {4,}(\S.*)$", joined, re.MULTILINE)
    return [re.sub(r"\s+#.*", "", line) for line in lines]


def commands(text: str, program: str) -> list[str]:
    """Return all commands of a program shown on a page, each without the program's name."""
    pieces = [
        piece.strip(" ()")
        for line in [*code_lines(text), *code_spans(text)]
        for piece in re.split(r"&&|\|", line)
    ]
    return [piece[len(program) :] for piece in pieces if f"{piece} ".startswith(f"{program} ")]
