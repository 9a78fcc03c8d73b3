"""The layouts that can be read, by their name in `dataset.layout`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from salcr.datasets import llcm, regdb, sysu
from salcr.datasets.protocol import Setting
from salcr.datasets.records import Record


class Reader(NamedTuple):
    """The functions and constants of one layout's module."""

    read_records: Callable[[Path], list[Record]]
    missing: Callable[[Path], str]
    """Returns the error message that describes what is expected in a folder and where to get it."""
    split_files: str
    """Pattern of the files that list the images to use, relative to the folder."""
    settings: tuple[Setting, ...]
    """How the data set is evaluated."""
    find_trials: Callable[[Iterable[Path]], list[int]] = lambda _: [1]
    """Returns the trials that have one of these split files."""


READERS = {
    "regdb": Reader(
        regdb.read_records, regdb.missing, regdb.SPLIT_FILES, regdb.SETTINGS, regdb.find_trials
    ),
    "sysu": Reader(sysu.read_records, sysu.missing, sysu.SPLIT_FILES, sysu.SETTINGS),
    "llcm": Reader(llcm.read_records, llcm.missing, llcm.SPLIT_FILES, llcm.SETTINGS),
}
