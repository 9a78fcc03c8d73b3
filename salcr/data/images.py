"""Decode image files and resize them, in the same way for training and search."""

from __future__ import annotations

import unicodedata
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from salcr.data.pictures import SUFFIXES
from salcr.errors import SalcrError, is_out_of_memory
from salcr.log import escape_name

_FORMATS = {suffix: form for form, suffixes in SUFFIXES.items() for suffix in suffixes}
_SPECIAL = {
    "MPO": "JPEG"
}  # several JPEG images in one file, as some cameras write; the first counts

# More than 8 bits in a single channel. Pillow would clip such values at 255; only the owner of a
# thermal camera can decide which of them become black and white.
_DEEP_MODES = ("I", "F")
_DEEP_LAYOUT = ";16"  # Pillow's mark of 16-bit channels in color images, whose mode is RGB


def name_fault(name: str) -> str | None:
    """Return why a csv cannot hold the name of an image faithfully; None if it can."""
    # The second category is of bytes that are not UTF-8, as Python reads them.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "its name holds a control character or is not UTF-8; rename it"
    return None


def open_image(path: Path) -> Image.Image:
    """Return an image as RGB, rotated as its EXIF data say; gray images get three equal channels.

    Raises:
        SalcrError: the file is missing or not a complete image, is one in another format than its
            name says, has more pixels than Pillow considers safe, or more than 8 bits per channel.
    """
    name = escape_name(str(path))
    try:
        if not path.is_file():  # opening a named pipe would block forever
            raise SalcrError(f"{name}: is missing or not a regular file")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=tuple(SUFFIXES)) as image:
                form = _SPECIAL.get(str(image.format), str(image.format))
                if _FORMATS.get(path.suffix.lower(), form) != form:
                    raise SalcrError(
                        f"{name}: its content is {form}, which its name denies; rename it to "
                        f"{SUFFIXES[form][0]} (in lists of images, too) or convert it"
                    )
                layouts = [str(tile[3]) for tile in getattr(image, "tile", [])]
                if image.mode.startswith(_DEEP_MODES) or _DEEP_LAYOUT in "".join(layouts):
                    raise SalcrError(f"{name}: has more than 8 bits per channel; convert it to 8")
                return ImageOps.exif_transpose(image).convert("RGB")
    except SalcrError:
        raise
    except Exception as error:  # Pillow raises many types for a damaged file
        if is_out_of_memory(error):
            raise
        raise SalcrError(
            f"{name}: cannot be decoded ({error}): damaged, or not one of {', '.join(SUFFIXES)}"
        ) from None


def decode_image(
    path: Path, *, height: int, width: int, box: tuple[int, int, int, int] | None = None
) -> NDArray[np.uint8]:
    """Return an image file as RGB values, resized with bilinear interpolation.

    Args:
        path: image file.
        height: of the result, in pixels.
        width: of the result, in pixels.
        box: left edge, upper edge, width and height of the part to return, in pixels of the upright
            picture; None for all of it.

    Returns:
        uint8 [height, width, 3].

    Raises:
        SalcrError: as `open_image`, or the box is not within the picture.
    """
    image = open_image(path)
    if box is not None:
        left, upper, right, lower = box[0], box[1], box[0] + box[2], box[1] + box[3]
        if right > image.width or lower > image.height:
            raise SalcrError(
                f"{escape_name(str(path))}: the box {','.join(map(str, box))} leaves the picture, "
                f"which is {image.width} wide and {image.height} high"
            )
        image = image.crop((left, upper, right, lower))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
