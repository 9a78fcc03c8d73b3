"""A picture file becomes an image of the network's size, the same for training and for search."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from salcr.errors import SalcrError, is_out_of_memory

# More than 8 bits in a single channel. Pillow would cut such values off at 255, and which of them
# become black and white is for the owner of a thermal camera to say.
_DEEP_MODES = ("I", "F")
_DEEP_LAYOUT = ";16"  # so Pillow marks 16-bit channels of color pictures, whose mode is RGB


def open_image(path: Path) -> Image.Image:
    """Return a picture as RGB, the right way up; gray ones get three equal channels.

    Raises:
        SalcrError: the file is missing or no whole picture, has more pixels than Pillow thinks
            safe, or more than 8 bits a channel.
    """
    try:
        if not path.is_file():  # opening a named pipe would wait for ever
            raise SalcrError(f"{path}: is missing or no regular file")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                layouts = [str(tile[3]) for tile in getattr(image, "tile", [])]
                if image.mode.startswith(_DEEP_MODES) or _DEEP_LAYOUT in "".join(layouts):
                    raise SalcrError(f"{path}: has more than 8 bits a channel; convert it to 8")
                return ImageOps.exif_transpose(image).convert("RGB")
    except SalcrError:
        raise
    except Exception as error:  # Pillow raises many types for a damaged file
        if is_out_of_memory(error):
            raise
        raise SalcrError(f"{path}: cannot be decoded ({error}): no picture, or damaged") from None


def decode_image(path: Path, *, height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture as uint8 [height, width, 3].

    Raises:
        SalcrError: as `open_image`.
    """
    return np.asarray(open_image(path).resize((width, height), Image.Resampling.BILINEAR))
