"""One figure from its small files, as png and pdf. Nothing is computed here but means."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from salcr import files
from salcr.config.schema import Config
from salcr.log import say
from salcr.reporting.figures import curves, pictures, points
from salcr.reporting.figures.style import Sources, settings_of

FIGURES: dict[str, Callable[[Sources], Figure]] = {
    "losses": curves.losses,
    "label_quality": curves.label_quality,
    "cmc": curves.cmc,
    "map": curves.mean_precision,
    "refinement_weight": partial(curves.sweep, key="weight"),
    "refinement_k": partial(curves.sweep, key="k"),
    "distances": curves.distances,
    "cluster_centers": points.cluster_centers,
    "tsne": points.tsne,
    "ranking": pictures.ranking,
    "attention": pictures.attention,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument("--figure", choices=list(FIGURES), required=True, help="which one")
    parser.add_argument(
        "--sources", type=Path, nargs="+", required=True, help="files that it is drawn from"
    )
    parser.add_argument(
        "--names", nargs="*", default=[],
        help="of the networks that the files are of; for a sweep, VARIANT=VALUE",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, required=True, help="folder that preprocess wrote")
    parser.add_argument("--png", type=Path, required=True, help="picture to write")
    parser.add_argument("--pdf", type=Path, required=True, help="vector picture to write")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Draw the figure and write it in both formats."""
    sources = Sources(arguments.sources, arguments.names, arguments.data, settings.plot.variants)
    with plt.rc_context(settings_of(settings.plot.font_size)):
        figure = FIGURES[arguments.figure](sources)
        for path in (arguments.png, arguments.pdf):
            # Without a date, two runs on equal results write equal files.
            undated: dict[str, Any] = {"CreationDate": None} if path.suffix == ".pdf" else {}
            with files.atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=settings.plot.dpi, metadata=undated)
            say(f"{path} written")
        plt.close(figure)
