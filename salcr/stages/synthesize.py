"""Draw a small data set of people for the demo and the tests."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from salcr import files, schema
from salcr.datasets.synthetic import synthesize_regdb
from salcr.errors import SalcrError
from salcr.logs import say

MARKER = "synthesize.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage writes."""
    parser.add_argument("--layout", choices=["regdb"], default="regdb", help="folder layout")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def run(arguments: argparse.Namespace, *, seed: int, synthesize: schema.Synthesize) -> None:
    """Write the images and the splits, then the marker that says how they were made.

    A folder that an earlier call made is replaced; any other is refused.
    """
    out: Path = arguments.out
    if out.exists() and any(out.iterdir()):
        _remove_own(out)
    synthesize_regdb(out, seed=seed, **synthesize.model_dump())
    files.write_json(out / MARKER, {"seed": seed, **synthesize.model_dump()})
    say(f"{out}: {synthesize.num_identities} people, {synthesize.num_trials} trials")


def _remove_own(out: Path) -> None:
    # Snakemake deletes the marker before it runs the rule again: what is left is recognised by
    # the names of the images.
    own = sorted(path.name for path in out.iterdir() if path.name != MARKER)
    drawn = next((out / "Visible").glob("*/visible_*.bmp"), None)
    if own != ["Thermal", "Visible", "idx"] or drawn is None:
        raise SalcrError(f"{out}: holds other files; name an empty folder with --out")
    shutil.rmtree(out)
