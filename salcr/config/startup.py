"""What is checked before Snakemake starts, whose tracebacks would be the first thing to be seen.

profiles/default, which Snakemake reads first of all, calls `check`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from salcr.config.reading import read_configurations
from salcr.errors import SalcrError

_CHECKOUT = Path(__file__).parents[2]
_ROOM = 1 << 16  # bytes; Snakemake's scheduler writes its problems to files


def check(words: Sequence[str]) -> None:
    """End with a message if a command of Snakemake cannot work.

    That is, if a configuration that it names cannot be read, if the folder where it runs, that of
    Snakemake's cache, or that of temporary files cannot be written, or if the path of this checkout
    has braces or a colon.

    Args:
        words: the command line, without the name of the program.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", type=Path, default=[])
    parser.add_argument("--config", "-C", nargs="*", default=[])
    parser.add_argument("--directory", "-d", type=Path, default=Path())
    named, _ = parser.parse_known_args(words)
    try:
        if {*"{}:"} & {*str(_CHECKOUT)}:
            raise SalcrError(
                f"{_CHECKOUT}: Snakemake takes braces for wildcards, and PATH a colon for the end "
                "of a folder; rename the folder"
            )
        read_configurations(named.configfile, named.config)
        _require_writable(
            named.directory,
            "results belong in the folder where the workflow runs; run it in another one, with "
            "--snakefile and the path of the Snakefile",
        )
        home = Path(os.environ.get("HOME", ""))
        cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache", "snakemake")
        _require_writable(
            cache, "set the variable XDG_CACHE_HOME to a folder for Snakemake's cache"
        )
        _require_room(Path(os.environ.get("TMP") or os.environ.get("TMPDIR") or "/tmp"))
    except SalcrError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _require_writable(folder: Path, remedy: str) -> None:
    """Check that a folder can be written, or made.

    Raises:
        SalcrError: it cannot.
    """
    existing = folder.absolute()
    while not os.access(existing, os.F_OK):  # which raises nothing, unlike Path.exists
        existing = existing.parent
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise SalcrError(f"{folder.absolute()}: cannot be written; {remedy}")


def _require_room(folder: Path) -> None:
    """Check that a folder of temporary files has room for one, if it is there.

    Raises:
        SalcrError: it does not.
    """
    if not folder.is_dir():  # others are used then
        return
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
    except OSError as error:
        raise SalcrError(
            f"{folder}: cannot be written ({error.strerror}); set the variable TMPDIR to a folder "
            "for temporary files"
        ) from None
