"""Locales in which files that are opened without an encoding are not read as UTF-8."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Python must not replace the locale by UTF-8, as it does for C.
_AS_IT_IS = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
_CHARACTER_SETS = {"en_US.ISO-8859-1": "ISO-8859-1", "zh_CN.GBK": "GBK"}


def other_locales(folder: Path) -> dict[str, dict[str, str]]:
    """Return encoding -> variables that select it: ASCII, and Latin-1 and GBK if they can be made.

    Args:
        folder: for the definitions of locales, which the C library's source files make; a machine
            may lack them.
    """
    variables = {"ASCII": {**_AS_IT_IS, "LC_ALL": "C"}}
    for name, charmap in _CHARACTER_SETS.items():
        words = ["localedef", "-c", "-i", name.partition(".")[0], "-f", charmap, folder / name]
        try:
            subprocess.run(list(map(str, words)), capture_output=True, check=False)
        except FileNotFoundError:  # another C library
            continue
        variables[charmap] = {**_AS_IT_IS, "LC_ALL": name, "LOCPATH": str(folder)}
    return {name: chosen for name, chosen in variables.items() if _encoding(chosen) != "utf-8"}


def _encoding(variables: dict[str, str]) -> str:
    """Return the encoding in which Python opens files with these variables."""
    code = "import codecs, locale; print(codecs.lookup(locale.getencoding()).name)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, check=True
    )
    return done.stdout.decode().strip()
