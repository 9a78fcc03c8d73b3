"""Draw a small data set of people for the demo and the tests."""

from __future__ import annotations

import argparse
from pathlib import Path

from salcr import files
from salcr.atomic import temporary_folder
from salcr.config.schema import Config
from salcr.datasets.synthetic.generate import synthesize as draw
from salcr.datasets.synthetic.layouts import LAYOUTS
from salcr.errors import SalcrError
from salcr.log import say

MARKER = "synthesize.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage writes."""
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="regdb", help="folder layout")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the images and the splits, then the marker that says how they were made.

    A folder that an earlier call made is replaced; any other is refused.
    """
    out: Path = arguments.out
    if out.exists() and any(out.iterdir()):
        _remove_own(out)
    sizes = settings.synthesize.model_dump()
    draw(out, layout=arguments.layout, seed=settings.seed, **sizes)
    files.write_json(out / MARKER, {"seed": settings.seed, "layout": arguments.layout, **sizes})
    say(f"{out}: {settings.synthesize.num_identities} people in the layout of {arguments.layout}")


def _remove_own(out: Path) -> None:
    # Snakemake deletes the marker before it runs the rule again: what is left is recognized by
    # the names of its files, which no real data set has.
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    names = {name for name in found if not name.startswith((MARKER, f".{MARKER}."))}
    own = any(all(map(drawn.own_files.fullmatch, names)) for drawn in LAYOUTS.values())
    if not own or not any(name.endswith((".bmp", ".jpg")) for name in names):
        raise SalcrError(f"{out}: holds other files; name an empty folder with --out")
    with temporary_folder(out) as folder:  # killed while it deletes, it leaves no half of a folder
        out.rename(folder / out.name)
