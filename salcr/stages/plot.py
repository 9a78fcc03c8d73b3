"""Plot one figure from its small files, as png and pdf. Only means are computed here."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from salcr.config.schema import Config
from salcr.log import say
from salcr.reporting.figures import curves, pictures, points
from salcr.reporting.figures.style import Sources, rc_settings, save_figure

FIGURES: dict[str, Callable[[Sources], Figure]] = {
    "losses": curves.plot_losses,
    "label_quality": curves.plot_label_quality,
    "cmc": curves.plot_cmc,
    "map": curves.plot_map,
    "refinement_weight": partial(curves.plot_sweep, key="weight"),
    "refinement_k": partial(curves.plot_sweep, key="k"),
    "distances": curves.plot_distances,
    "cluster_centers": points.plot_cluster_centers,
    "tsne": points.plot_tsne,
    "ranking": pictures.plot_ranking,
    "attention": pictures.plot_attention,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument("--figure", choices=list(FIGURES), required=True, help="name of the figure")
    parser.add_argument(
        "--sources", type=Path, nargs="+", required=True, help="files that it is plotted from"
    )
    parser.add_argument(
        "--names", nargs="*", default=[],
        help="names of the networks of the files; for a sweep, VARIANT=VALUE",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, required=True, help="folder that preprocess wrote")
    parser.add_argument("--png", type=Path, required=True, help="picture to write")
    parser.add_argument("--pdf", type=Path, required=True, help="vector picture to write")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Plot the figure and write it in both formats."""
    sources = Sources(arguments.sources, arguments.names, arguments.data, settings.plot.variants)
    with plt.rc_context(rc_settings(settings.plot.font_size)):
        figure = FIGURES[arguments.figure](sources)
        for path in (arguments.png, arguments.pdf):
            save_figure(figure, path, settings.plot.dpi)
            say(f"{path} written")
        plt.close(figure)
