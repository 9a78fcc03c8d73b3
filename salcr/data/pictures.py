"""Files of pictures: the formats that are decoded, by name, and which files a folder holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from salcr.errors import SalcrError

SUFFIXES = {
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
"""The formats that are decoded -> the suffixes of their files.

Pillow has more decoders, some of which start a program: a PostScript file, whatever its name, would
be run by Ghostscript.
"""


def list_files(folder: Path) -> Iterator[str]:
    """Yield the path of every file below a folder, relative to it, in a fixed order.

    Files and folders whose names begin with a dot are left out: macOS and file managers write them.
    Links to folders are yielded like files and not followed, to avoid infinite loops.

    Raises:
        SalcrError: a folder is missing or not readable.
    """

    def stop(error: OSError) -> None:
        raise SalcrError(f"{error.filename}: cannot be read ({error.strerror})")

    for place, folders, names in os.walk(folder, onerror=stop):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in sorted(names + links):
            if not name.startswith("."):
                yield Path(place, name).relative_to(folder).as_posix()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
