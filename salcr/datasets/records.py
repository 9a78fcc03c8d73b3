"""The record of an image, which all readers return."""

from __future__ import annotations

from typing import NamedTuple


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
    """Any integer; equal for the images of one person within a trial."""
