"""Images outside data sets: list the files, guess their modality, and make thumbnails."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from salcr.data.images import decode_image, guess_modality, name_fault, open_image
from salcr.errors import SalcrError
from salcr.log import escape_name

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class Picture(NamedTuple):
    """A file that was decoded."""

    image: NDArray[np.uint8]
    """[H, W, 3]."""
    modality: str
    """"visible" or "infrared"."""
    guessed: bool
    """Whether the modality was guessed."""


def rejection_reason(folder: Path, name: str) -> str | None:
    """Return why a file cannot be an image of an index, from its name; None if it can."""
    if (fault := name_fault(name)) is not None:
        return fault
    try:
        if (folder / name).is_dir():
            return "is a link to a folder; list that folder separately"
    except OSError as error:  # a link into a folder that is not readable
        return f"cannot be read ({error.strerror})"
    if not name.lower().endswith(SUFFIXES):
        return f"does not have the name of an image ({', '.join(SUFFIXES)})"
    return None


def content_digest(folder: Path, name: str) -> str:
    """Return the SHA-256 of a listed file that may be an image; nothing for any other.

    Others are those with a `rejection_reason`, pipes and the like, links to nothing, and files that
    may not be read: all that is skipped whatever it contains.

    Raises:
        SalcrError: the file is no longer there, or the disk does not give it.
    """
    from salcr import files  # with pandas, which processes that decode images do not need

    path = folder / name
    if rejection_reason(folder, name) is not None or (path.is_symlink() and not path.exists()):
        return ""
    if not path.exists():
        raise SalcrError(f"{escape_name(str(path))}: was there a moment ago; run embed again")
    readable = path.is_file() and os.access(path, os.R_OK)
    return files.sha256(path) if readable else ""


def read_picture(
    folder: Path, name: str, digest: str, modality: str, *, height: int, width: int
) -> Picture | str:
    """Return a listed file as a picture, or the reason why it is not one.

    Args:
        folder: that it was listed in.
        name: relative to the folder.
        digest: of its content when it was listed; empty if that does not matter.
        modality: "visible", "infrared" or "auto" (guessed).
        height: of the picture, in pixels.
        width: of the picture, in pixels.

    Raises:
        SalcrError: the file has changed since then and cannot be read any more.
    """
    if (reason := rejection_reason(folder, name)) is not None:
        return reason
    path = folder / name
    try:
        image = decode_image(path, height=height, width=width)
    except SalcrError as error:
        if digest != content_digest(folder, name):  # not the picture is at fault
            raise SalcrError(f"{error}; it was whole a moment ago, run embed again") from None
        return str(error).removeprefix(f"{escape_name(str(path))}: ")
    guessed = modality == "auto"
    return Picture(image, guess_modality(image) if guessed else modality, guessed)


def thumbnail(path: Path, height: int) -> Image.Image:
    """Return an image in its own proportions, at most `height` pixels high and wide.

    The result is a gray rectangle if the file is missing or damaged.
    """
    try:
        image = open_image(path)
    except SalcrError:
        return Image.new("RGB", (height // 2, height), "#bbbbbb")
    image.thumbnail((height, height))
    return image
