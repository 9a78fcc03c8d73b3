"""Decode image files and resize them, in the same way for training and search."""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from salcr.data.pictures import SUFFIXES
from salcr.errors import SalcrError, UndecodableError, is_out_of_memory
from salcr.log import escape_name

_FORMATS = {suffix: form for form, suffixes in SUFFIXES.items() for suffix in suffixes}
_SPECIAL = {
    "MPO": "JPEG"
}  # several JPEG images in one file, as some cameras write; the first counts

# More than 8 bits in a single channel. Pillow would clip such values at 255; only the owner of a
# thermal camera can decide which of them become black and white.
_DEEP_MODES = ("I", "F")
_DEEP_LAYOUT = ";16"  # Pillow's mark of 16-bit channels in color images, whose mode is RGB
_GRAY_MODES = ("I;16", "I;16B", "I;16L")

# Difference of a pixel's largest and smallest channel, in levels of 0 .. 255, averaged over an
# image. It is 0 for gray images, after JPEG at any quality too, and 3 with a slight tint. The least
# colorful visible image of the demo has 17, and 6 as JPEG of quality 10. With a mean, a colored
# time stamp in an infrared image is not decisive.
_MAX_GRAY_SPREAD = 4.0

RangeOf = Callable[[NDArray[np.uint16]], tuple[int, int]]
"""Returns the values of a 16-bit picture that become black and white, or refuses the picture."""


def name_fault(name: str) -> str | None:
    """Return why a csv cannot hold the name of an image faithfully; None if it can."""
    # The second category is of bytes that are not UTF-8, as Python reads them.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "its name holds a control character or is not UTF-8; rename it"
    return None


def open_image(
    path: Path, range_of: RangeOf | None = None, content: bytes | None = None
) -> Image.Image:
    """Return an image as RGB, rotated as its EXIF data say; gray images get three equal channels.

    Args:
        path: image file.
        range_of: for gray images of 16 bits; None to refuse them.
        content: of a file that is not on this disk, of which the path is only the name.

    Raises:
        SalcrError: the file is missing or not a complete image, is one in another format than its
            name says, has more pixels than Pillow considers safe, or more than 8 bits per channel.
    """
    image = _open(path, content)
    if image.mode == "RGB":
        return image
    if range_of is None:
        raise _too_deep(path)
    values = np.asarray(image).astype(np.uint16)
    low, high = range_of(values)
    shares = (values.astype(np.float32) - low) / max(high - low, 1)
    return Image.fromarray(np.rint(255 * shares.clip(0, 1)).astype(np.uint8)).convert("RGB")


def read_deep(path: Path) -> NDArray[np.uint16] | None:
    """Return the values of a gray image of 16 bits, [H, W]; None for an image of 8 bits.

    Raises:
        SalcrError: as `open_image`.
    """
    image = _open(path)
    return None if image.mode == "RGB" else np.asarray(image).astype(np.uint16)


def _too_deep(path: Path) -> SalcrError:
    return SalcrError(
        f"{escape_name(str(path))}: has more than 8 bits per channel; convert it to 8"
    )


def _open(path: Path, content: bytes | None = None) -> Image.Image:
    """Return an upright image, as RGB or, if it is gray and has 16 bits, as it is stored."""
    name = escape_name(str(path))
    try:
        if content is None and not path.is_file():  # opening a named pipe would block forever
            raise SalcrError(f"{name}: is missing or not a regular file")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            file = path if content is None else io.BytesIO(content)
            with Image.open(file, formats=tuple(SUFFIXES)) as image:
                form = _SPECIAL.get(str(image.format), str(image.format))
                if _FORMATS.get(path.suffix.lower(), form) != form:
                    raise SalcrError(
                        f"{name}: its content is {form}, which its name denies; rename it to "
                        f"{SUFFIXES[form][0]} (in lists of images, too) or convert it"
                    )
                layouts = [str(tile[3]) for tile in getattr(image, "tile", [])]
                upright = ImageOps.exif_transpose(image)
                # A PGM file of other than 16 bits is scaled to 16; in TIFF this mode has 32.
                if image.mode in _GRAY_MODES or (image.mode == "I" and form == "PPM"):
                    return upright
                if image.mode.startswith(_DEEP_MODES) or _DEEP_LAYOUT in "".join(layouts):
                    raise _too_deep(path)
                return upright.convert("RGB")
    except SalcrError:
        raise
    except Exception as error:  # Pillow raises many types for a damaged file
        if is_out_of_memory(error):
            raise
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise UndecodableError(
            f"{name}: cannot be decoded{reason}: damaged, or not one of {', '.join(SUFFIXES)}"
        ) from None


def decode_image(
    path: Path,
    *,
    height: int,
    width: int,
    box: tuple[int, int, int, int] | None = None,
    range_of: RangeOf | None = None,
    content: bytes | None = None,
) -> NDArray[np.uint8]:
    """Return an image file as RGB values, resized with bilinear interpolation.

    Args:
        path: image file.
        height: of the result, in pixels.
        width: of the result, in pixels.
        box: left edge, upper edge, width and height of the part to return, in pixels of the upright
            picture; None for all of it.
        range_of: as in `open_image`.
        content: as in `open_image`.

    Returns:
        uint8 [height, width, 3].

    Raises:
        SalcrError: as `open_image`, or the box is not within the picture.
    """
    image = open_image(path, range_of, content)
    if box is not None:
        left, upper, right, lower = box[0], box[1], box[0] + box[2], box[1] + box[3]
        if right > image.width or lower > image.height:
            raise SalcrError(
                f"{escape_name(str(path))}: the box {','.join(map(str, box))} leaves the picture, "
                f"which is {image.width} wide and {image.height} high"
            )
        image = image.crop((left, upper, right, lower))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def guess_modality(image: NDArray[np.uint8]) -> str:
    """Return "infrared" for an image [H, W, 3] whose channels are nearly equal, else "visible"."""
    # numpy takes twenty times as long to reduce an axis of three.
    red, green, blue = np.moveaxis(image, 2, 0)
    largest = np.maximum(np.maximum(red, green), blue)
    spread = largest - np.minimum(np.minimum(red, green), blue)
    return "infrared" if spread.mean() <= _MAX_GRAY_SPREAD else "visible"
