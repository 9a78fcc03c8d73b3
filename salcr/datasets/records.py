"""What all readers share: the record of an image, and two marks of special data sets."""

from __future__ import annotations

from typing import NamedTuple

UNPAIRED = "idx/unpaired.txt"
"""Where this file is, a training label may be of one modality only. Real data sets lack it."""

UNKNOWN = -1
"""Label and identity of a training image whose person is unknown."""


class Box(NamedTuple):
    """The part of a picture that is one image, in pixels of the upright picture."""

    x: int
    """From the left edge, from 0."""
    y: int
    """From the upper edge, from 0."""
    width: int
    height: int
    place: str = ""
    """The line that lists it, in words."""


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
    box: Box | None = None
    """The part of the file that it is; None for all of it."""
    track: int = UNKNOWN
    """From 0; equal for the images of one track of a modality. Or `UNKNOWN`."""

    @property
    def name(self) -> str:
        """Return what distinguishes the image from all others."""
        return name_image(self.file, self.box)


def name_image(file: str, box: Box | None) -> str:
    """Return the name of an image: its file and, if it has one, its box.

    A box is written as a media fragment, such as a.jpg#xywh=10,20,64,128.
    """
    return file if box is None else f"{file}#xywh={','.join(map(str, box[:4]))}"
