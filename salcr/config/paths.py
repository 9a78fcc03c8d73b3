"""The one spelling of each path in a configuration, by which Snakemake and DVC compare it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

TRIAL = "{trial}"  # in a path that differs from trial to trial
_LONGEST_NAME = 255  # bytes, on Linux


def one_spelling(path: str) -> str:
    """Return the shortest spelling of a path, the same for all that name its place.

    `X/`, `./X`, `a/../X` and, in the working folder, its absolute path are `X`. Links are not
    followed: a link is the place of its name, whatever it points at, so that it can be moved to
    another disk. For the same reason `a/..` remains where `a` is a link or does not exist: only the
    file system knows where it leads.
    """
    short = Path()
    for part in Path(re.sub("^/+", "/", path)).parts:  # without `.`, `//` and a slash at the end
        short = short.parent if part == ".." and _is_plain_folder(short) else short / part
    with suppress(ValueError):
        short = short.relative_to(Path.cwd())
    return str(short)


def _is_plain_folder(path: Path) -> bool:
    """Return whether `path/..` is the folder above in the text, too."""
    if path.name in ("", ".."):
        return False
    try:
        return path.is_dir() and not path.is_symlink()
    except OSError:  # such as a folder that may not be read
        return False


def checked_path(path: str, allowed: str = "") -> str:
    """Return the one spelling of a path that Snakemake, commands and the file system take as such.

    Args:
        path: as it is written in the configuration.
        allowed: text in braces that it may hold.

    Raises:
        ValueError: they would not.
    """
    if re.search(r"[\x00-\x1f\x7f]", path):
        raise ValueError(f"{path!r} holds a line break or a control character")
    if re.search("[{}]", path.replace(allowed, "") if allowed else path):
        but = f" but {allowed}" if allowed else ""
        raise ValueError(f"{path!r}: Snakemake takes braces for wildcards; use none{but}")
    try:
        longest = max(len(os.fsencode(part)) for part in Path(path).parts or ("",))
    except UnicodeEncodeError:
        raise ValueError(
            f"{path!r} cannot be a file name in this locale; set the variable LC_ALL=C.UTF-8"
        ) from None
    if longest > _LONGEST_NAME:
        raise ValueError(f"a name in it has {longest} bytes; {_LONGEST_NAME} are possible")
    short = one_spelling(path)
    if short.startswith("-"):
        raise ValueError(f"{path!r} begins with -, which commands take for an option; rename it")
    return short


NamedPath = Annotated[str, Field(min_length=1), AfterValidator(checked_path)]
PathOfTrial = Annotated[
    str, Field(min_length=1), AfterValidator(partial(checked_path, allowed=TRIAL))
]
