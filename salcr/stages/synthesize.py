"""Write a small data set of synthetic people for the demo and the tests."""

from __future__ import annotations

import argparse
from pathlib import Path

from salcr import files
from salcr.config.schema import Config
from salcr.datasets.synthetic.generate import synthesize
from salcr.datasets.synthetic.layouts import LAYOUTS, MARKER
from salcr.errors import SalcrError
from salcr.log import say


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
    sizes = settings.synthesize.model_dump()
    synthesize(out, layout=arguments.layout, seed=settings.seed, **sizes)
    files.write_json(out / MARKER, {"seed": settings.seed, "layout": arguments.layout, **sizes})
    say(f"{out}: {settings.synthesize.num_identities} people in the layout of {arguments.layout}")
