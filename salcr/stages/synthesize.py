"""Write a small data set of synthetic people for the demo and the tests."""

from __future__ import annotations

import argparse
from pathlib import Path

from salcr import files
from salcr.atomic import temporary_folder
from salcr.config.schema import Config
from salcr.datasets.synthetic.generate import synthesize
from salcr.datasets.synthetic.layouts import LAYOUTS
from salcr.errors import SalcrError
from salcr.log import say

MARKER = "synthesize.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="regdb", help="folder layout")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the images and the splits, then the marker with seed, layout and sizes.

    A folder that an earlier call wrote is replaced; any other is refused.
    """
    out: Path = arguments.out
    if Path.cwd().is_relative_to(out.absolute().resolve()):
        raise SalcrError(
            f"--out {out}: the command runs in this folder, which it would replace; name another "
            "one, such as people"
        )
    if out.exists() and any(out.iterdir()):
        _remove_own(out)
    sizes = settings.synthesize.model_dump()
    synthesize(out, layout=arguments.layout, seed=settings.seed, **sizes)
    files.write_json(out / MARKER, {"seed": settings.seed, "layout": arguments.layout, **sizes})
    say(f"{out}: {settings.synthesize.num_identities} people in the layout of {arguments.layout}")


def _remove_own(out: Path) -> None:
    # Snakemake deletes the marker before it runs the rule again. The other files are recognized by
    # their names, which differ from those of real data sets.
    paths = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    names = {path for path in paths if not path.startswith((MARKER, f".{MARKER}."))}
    is_own = any(all(map(layout.own_files.fullmatch, names)) for layout in LAYOUTS.values())
    if not is_own or not any(name.endswith((".bmp", ".jpg")) for name in names):
        raise SalcrError(f"{out}: holds other files; name an empty folder with --out")
    with temporary_folder(out) as folder:  # so that a kill does not leave a part of the folder
        out.rename(folder / out.name)
