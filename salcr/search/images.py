"""Pictures of no data set: which files they are, of which modality, and how they are shown."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from salcr.data.images import open_image
from salcr.errors import SalcrError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Levels of 255 between a pixel's largest and smallest channel, the mean over a picture. Gray
# pictures have 0 after JPEG at any quality, 3 with a slight tint; of the demo's visible ones the
# least colorful has 17, and 6 as JPEG of quality 10. A mean, so that a colored time stamp in an
# infrared picture does not decide.
_GRAY_SPREAD = 4.0
_UNFIT = ("Cc", "Cs")  # Unicode's categories; Python reads what is not UTF-8 as the second


def list_files(folder: Path) -> Iterator[str]:
    """Yield every file below a folder, relative to it with /, in the same order each time.

    Links to folders are yielded like files and not followed, so that no loop is endless.

    Raises:
        SalcrError: a folder is missing or may not be read.
    """

    def stop(error: OSError) -> None:
        raise SalcrError(f"{error.filename}: cannot be read ({error.strerror})")

    for place, folders, names in os.walk(folder, onerror=stop):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in sorted(names + links):
            yield Path(place, name).relative_to(folder).as_posix()
        folders.sort()


def rejection_reason(folder: Path, name: str) -> str | None:
    """Return why a file cannot be a picture of an index, from its name; None if it can."""
    if name != escape_name(name):
        return "its name holds a control character or is not UTF-8; rename it"
    try:
        if (folder / name).is_dir():
            return "is a link to a folder; name that as a folder of its own"
    except OSError as error:  # a link into a folder that may not be looked into
        return f"cannot be read ({error.strerror})"
    if not name.lower().endswith(SUFFIXES):
        return f"is no picture by its name ({', '.join(SUFFIXES)})"
    return None


def escape_name(name: str) -> str:
    """Return a name with control characters, and bytes that are not UTF-8, as escapes."""
    return "".join(_escaped(x) if unicodedata.category(x) in _UNFIT else x for x in name)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def guess_modality(image: NDArray[np.uint8]) -> str:
    """Return "infrared" for an image [H, W, 3] whose channels are nearly equal, else "visible"."""
    spread = image.max(axis=2) - image.min(axis=2)
    return "infrared" if spread.mean() <= _GRAY_SPREAD else "visible"


def thumbnail(path: Path, height: int) -> Image.Image:
    """Return a picture in its own proportions, at most `height` high and as many pixels wide.

    A file that is not there any more gives an empty picture.
    """
    try:
        picture = open_image(path)
    except SalcrError:
        return Image.new("RGB", (height // 2, height), "#bbbbbb")
    picture.thumbnail((height, height))
    return picture
