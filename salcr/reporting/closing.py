"""What the workflow prints at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

LONGEST_TABLE = 40  # lines; more would fill the screen
_PLACES = {
    "results": "summary.csv",
    "figures": "figures",
    "the paper's tables": "tables/tables.md",
    "study": "study.md",
    "report": "report.html",
}


def closing_lines(results: Path) -> Iterator[str]:
    """Yield the table of results, unless it fills the screen, and where everything is.

    Args:
        results: the folder of a data set's results.
    """
    table = results / "summary.txt"
    if table.exists() and (text := table.read_text(encoding="utf-8")).count("\n") <= LONGEST_TABLE:
        yield f"\n{results.name}, in percent, mean ± standard deviation over trials"
        yield text
    for title, name in _PLACES.items():
        if (results / name).exists():
            yield f"{title}: {results / name}"
