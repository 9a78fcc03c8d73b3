"""What all readers share: the record of an image, and two marks of special data sets."""

from __future__ import annotations

from typing import NamedTuple

UNPAIRED = "idx/unpaired.txt"
"""Where this file is, a training label may be of one modality only. Real data sets lack it."""

UNKNOWN = -1
"""Label and identity of a training image whose person is unknown."""


class Record(NamedTuple):
    """One image in one split of one trial."""

    trial: int
    """From 1."""
    split: str
    """"train" or "test"."""
    modality: str
    """"visible" or "infrared"."""
    file: str
    """Path relative to the data set's folder."""
    camera: int
    identity: int
    """From 0; equal for the images of one person within a split of a trial. Or `UNKNOWN`."""
