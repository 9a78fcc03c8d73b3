"""Pictures of thermal cameras with 16 bits: which of their values become black and white.

They are percentiles of the pixels of a picture, or of all such pictures in its folder. What is
between them becomes gray, linearly.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salcr.data.images import read_deep
from salcr.errors import SalcrError, UndecodableError
from salcr.log import escape_name, progress, say

PERCENTILES = [1, 99]
_NUM_VALUES = 1 << 16

Range = tuple[int, int]
"""The values that become black and white; the first is at most the second."""


class ThermalRanges:
    """The ranges of the 16-bit pictures of a data set, and which there were.

    Args:
        mode: "refuse", "file" (each picture has its own range) or "folder" (each folder).
        root: folder of the data set.
        files: of the pictures that may have 16 bits, relative to it; read for "folder" only.
    """

    def __init__(self, mode: str, root: Path, files: Iterable[str]) -> None:
        self._mode, self._root = mode, root
        self._pictures: set[str] = set()
        self._folders = self._measure(sorted(set(files))) if mode == "folder" else {}

    def of(self, file: str, values: NDArray[np.uint16]) -> Range:
        """Return the range of a 16-bit picture.

        Args:
            file: its path, relative to the data set's folder.
            values: its pixels.

        Raises:
            SalcrError: such pictures are refused.
        """
        if self._mode == "refuse":
            raise SalcrError(
                f"{escape_name(str(self._root / file))}: has 16 bits per channel; set "
                "preprocess.thermal_range (--preprocess-thermal-range) to `folder`, or to `file` "
                "if cameras adapt to each picture, or convert it to 8"
            )
        self._pictures.add(file)
        return self._folders.get(_folder(file)) or _range(_histogram(values))

    def summary(self) -> dict[str, Any]:
        """Return what was done, for the summary of the data set; empty without such pictures."""
        if not self._pictures:
            return {}
        number = len(self._pictures)
        say(f"{number} infrared pictures of 16 bits scaled to 8 by the range of each {self._mode}")
        done = {"mode": self._mode, "percentiles": PERCENTILES, "pictures": number}
        return {"thermal_range": {**done, "folders": self._folders}}

    def _measure(self, files: list[str]) -> dict[str, Range]:
        """Return folder -> range of all its 16-bit pictures together."""
        counts: dict[str, NDArray[np.int64]] = {}
        for file in progress(files, title="16-bit pictures", total=len(files)):
            with suppress(UndecodableError):  # of which whoever stores the pictures complains
                if (values := read_deep(self._root / file)) is not None:
                    folder = counts.setdefault(_folder(file), np.zeros(_NUM_VALUES, np.int64))
                    folder += _histogram(values)
        return {folder: _range(count) for folder, count in counts.items()}


def _folder(file: str) -> str:
    return PurePosixPath(file).parent.as_posix()


def _histogram(values: NDArray[np.uint16]) -> NDArray[np.int64]:
    return np.bincount(values.ravel(), minlength=_NUM_VALUES)


def _range(counts: NDArray[np.int64]) -> Range:
    """Return the least values that as large shares of the pixels do not exceed."""
    below = np.cumsum(counts)
    low, high = (int(np.searchsorted(below, below[-1] * share / 100)) for share in PERCENTILES)
    return low, high
