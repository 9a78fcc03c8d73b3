"""What all figures share: sizes, colors that color-blind readers tell apart, panels, lines."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from salcr import files
from salcr.config import runs

SINGLE, DOUBLE, PAGE = 3.4, 6.8, 9.0
"""Inches: the widths of one and of two columns of print, the height of a page."""
# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
AMBER, SKY, YELLOW, BLACK = "#E69F00", "#56B4E9", "#F0E442", "#000000"
COLORS = [BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY]
GRAY = "#666666"
RIGHT, WRONG = GREEN, ORANGE
MARKERS = {"visible": "o", "infrared": "^"}
# Lines differ in more than their color: in print, too, they are told apart.
_LINES = [("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ("-", "v"), ("--", "P")]


class Sources(NamedTuple):
    """What a figure is drawn from."""

    files: list[Path]
    """The figure's own small files."""
    names: list[str]
    """What each of the files, or of the variants, is to be called."""
    data: Path
    """Folder of the stored images."""
    variants: list[str]
    """Variants to set side by side; none: the first four."""

    def table(self) -> pd.DataFrame:
        """Return the only file, a table."""
        return files.read_table(self.files[0])

    def compared(self) -> pd.DataFrame:
        """Return the lines of the table that belong to the variants to compare."""
        table = self.table()
        return table[table["variant"].isin(runs.shown(table["variant"], self.variants))]

    def by_name(self) -> dict[str, Path]:
        """Return name -> file."""
        return dict(zip(self.names, self.files, strict=True))


def settings_of(font_size: float) -> Any:
    """Return matplotlib's settings of all figures."""
    return {
        "font.size": font_size,
        "axes.titlesize": font_size,
        "legend.fontsize": font_size - 1,
        "xtick.labelsize": font_size - 1,
        "ytick.labelsize": font_size - 1,
        "axes.prop_cycle": plt.cycler(color=COLORS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.2,
        "lines.markersize": 3,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
        "pdf.fonttype": 42,  # outlines that can be searched and edited, not pictures of letters
    }


def panels(count: int, *, height: float, **words: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many panels, two side by side, each so many inches high."""
    columns = min(2, count)
    rows = -(-count // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(SINGLE * columns, height * rows), squeeze=False, **words
    )
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return figure, list(grid.flat[:count])


def image_grid(rows: int, columns: int, *, height: float) -> tuple[Figure, Any]:
    """Return a figure of two columns' width and its panels [rows, columns], close together."""
    return plt.subplots(
        rows, columns, figsize=(DOUBLE, min(height, PAGE)), squeeze=False,
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01),
    )  # fmt: skip


def setting_panels(
    table: pd.DataFrame, title: str
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """Return a figure with a panel for each setting, and of each panel the table's lines.

    Args:
        table: with a column `setting`.
        title: of the y axis, at the first panel.
    """
    found = list(table.groupby("setting", sort=False))
    figure, grid = panels(len(found), height=2.6, sharey=True)
    for axes, (setting, _) in zip(grid, found, strict=True):
        axes.set_title(str(setting).replace("-", " "))
    grid[0].set_ylabel(title)
    return figure, [(axes, lines) for axes, (_, lines) in zip(grid, found, strict=True)]


def line_style(number: int) -> dict[str, Any]:
    """Return color, dashes and marker of a line by its number."""
    dashes, marker = _LINES[number % len(_LINES)]
    return {"color": COLORS[number % len(COLORS)], "linestyle": dashes, "marker": marker}


def band(axes: Axes, lines: pd.DataFrame, x: str, y: str, **style: Any) -> None:
    """Draw the mean over trials, and its standard deviation as a band."""
    over = lines.groupby(x)[y].agg(["mean", "std"]).fillna(0)
    (drawn,) = axes.plot(over.index, over["mean"], **style)
    low, high = over["mean"] - over["std"], over["mean"] + over["std"]
    axes.fill_between(over.index, low, high, color=drawn.get_color(), alpha=0.15, linewidth=0)


def whole_numbers(axes: Axes) -> None:
    """Put ticks of the x axis at whole numbers, which rounds and epochs are."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def legend_above(figure: Figure, axes: Axes) -> None:
    """Put the legend of one panel above all of them, where it hides no line."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=min(4, len(names)))


def bare(axes: Axes) -> None:
    """Put a thin frame in place of ticks and grid: the numbers mean nothing."""
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#999999")


def names_of(table: pd.DataFrame) -> Iterable[tuple[int, str]]:
    """Return the variants of a table with their numbers, from which their colors follow."""
    return enumerate(str(name) for name in table["variant"].unique())
