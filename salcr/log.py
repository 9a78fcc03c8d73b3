"""What a person sees: plain lines with the time, and a progress bar on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

# In the last line of a finished job's log, and of no other's.
FINISHED = "finished after"


def say(message: str) -> None:
    """Print a line with the time of day to standard error."""
    tqdm.write(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr)
    sys.stderr.flush()


def warn(message: str) -> None:
    """Print a line marked as a warning."""
    say(f"warning: {message}")


def progress(items: Iterable[Item], *, title: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items under a progress bar; in a log file there is no bar."""
    yield from tqdm(
        items, desc=title, total=total, leave=False, disable=not sys.stderr.isatty(), unit="step"
    )
