"""Messages to the user: plain lines with the time, a progress bar, and names without tricks."""

from __future__ import annotations

import io
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

# Only the log of a finished job has it, in its last line.
FINISHED = "finished after"
# Controls, among them line breaks; marks that change the direction of writing or are not visible;
# bytes that are not UTF-8, as Python reads them; separators of lines.
_ESCAPED_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # invisible, but part of words and of emoji


def escape_name(name: str) -> str:
    """Return a name, of a file for instance, as one line that shows what is in it.

    Line breaks, other controls, marks such as U+202E that let the rest be read backward, and bytes
    that are not UTF-8 become escapes as in Python.
    """
    if name.isprintable():  # true of nearly all
        return name
    return "".join(_escape(x) if _is_escaped(x) else x for x in name)


def escape_text(text: str) -> str:
    """Return a text whose line breaks are its own, everything else as in `escape_name`."""
    return "\n".join(map(escape_name, text.split("\n")))


def _is_escaped(character: str) -> bool:
    return character not in _JOINERS and unicodedata.category(character) in _ESCAPED_CATEGORIES


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def escape_what_cannot_be_printed() -> None:
    """Let standard output show characters that its encoding lacks as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(message: str) -> None:
    """Print a line with the time of day to standard error."""
    tqdm.write(f"{time.strftime('%H:%M:%S')} {escape_text(message)}", file=sys.stderr)
    sys.stderr.flush()


def warn(message: str) -> None:
    """Print a line marked as a warning."""
    say(f"warning: {message}")


def progress(items: Iterable[Item], *, title: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items and show a progress bar, unless standard error is a file."""
    yield from tqdm(
        items, desc=title, total=total, leave=False, disable=not sys.stderr.isatty(), unit="step"
    )
