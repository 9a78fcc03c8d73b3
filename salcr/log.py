"""Messages to the user: plain lines with the time, and a progress bar on a terminal."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

# Only the log of a finished job has it, in its last line.
FINISHED = "finished after"


def escape_what_cannot_be_printed() -> None:
    """Let standard output show characters that its encoding lacks as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(message: str) -> None:
    """Print a line with the time of day to standard error."""
    tqdm.write(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr)
    sys.stderr.flush()


def warn(message: str) -> None:
    """Print a line marked as a warning."""
    say(f"warning: {message}")


def progress(items: Iterable[Item], *, title: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items and show a progress bar, unless standard error is a file."""
    yield from tqdm(
        items, desc=title, total=total, leave=False, disable=not sys.stderr.isatty(), unit="step"
    )
