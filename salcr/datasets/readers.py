"""The layouts that can be read, by their name in `dataset.layout`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from salcr.datasets import folders, llcm, regdb, sysu
from salcr.datasets.protocol import Setting
from salcr.datasets.records import Record


class Reader(NamedTuple):
    """The functions and constants of one layout's module."""

    read_records: Callable[[Path], list[Record]]
    missing: Callable[[Path], str]
    """Returns the error message that describes what is expected in a folder and where to get it."""
    split_files: str
    """Pattern of the files that list the images to use, or of folders, relative to the folder."""
    settings: tuple[Setting, ...]
    """How the data set is evaluated."""
    find_trials: Callable[[Iterable[Path]], list[int]] = lambda _: [1]
    """Returns the trials that have one of these split files."""
    has_test: Callable[[Path], bool] = lambda _: True
    """Returns whether a folder has test images."""
    listing: Callable[[Path], str | None] = lambda _: None
    """Returns a digest of what a folder holds, where split files do not say it."""


READERS = {
    "regdb": Reader(
        regdb.read_records, regdb.missing, regdb.SPLIT_FILES, regdb.SETTINGS, regdb.find_trials
    ),
    "sysu": Reader(sysu.read_records, sysu.missing, sysu.SPLIT_FILES, sysu.SETTINGS),
    "llcm": Reader(llcm.read_records, llcm.missing, llcm.SPLIT_FILES, llcm.SETTINGS),
    "folders": Reader(
        folders.read_records,
        folders.missing,
        folders.SPLIT_FILES,
        folders.SETTINGS,
        has_test=folders.has_test,
        listing=folders.digest,
    ),
}
