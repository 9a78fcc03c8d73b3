"""What all figures share: sizes, colors that color-blind readers can distinguish, panels, lines."""

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
from salcr.config.kinds import Table
from salcr.errors import SalcrError

SINGLE, DOUBLE, PAGE = 3.4, 6.8, 9.0
"""Inches: the widths of one and of two columns of print, the height of a page."""
# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
AMBER, SKY, YELLOW, BLACK = "#E69F00", "#56B4E9", "#F0E442", "#000000"
COLORS = [BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY]
GRAY = "#666666"
RIGHT, WRONG = GREEN, ORANGE
MARKERS = {"visible": "o", "infrared": "^"}
# Lines differ in more than their color, so that they can be distinguished in gray print.
_LINES = [("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ("-", "v"), ("--", "P")]


class Sources(NamedTuple):
    """What a figure is plotted from."""

    files: list[Path]
    """The figure's own small files."""
    names: list[str]
    """The name of each file, or of each variant."""
    data: Path
    """Folder of the stored images."""
    variants: list[str]
    """Variants to compare; if empty, the first four."""

    def table(self, kind: Table) -> pd.DataFrame:
        """Return the first file, a table of a kind."""
        return files.read_table(self.files[0], kind)

    def compared(self, kind: Table) -> pd.DataFrame:
        """Return the lines of the table that belong to the variants to compare.

        Raises:
            SalcrError: there are none.
        """
        table = self.table(kind)
        lines = table[table["variant"].isin(runs.shown(table["variant"], self.variants))]
        if lines.empty:
            raise SalcrError(
                f"{self.files[0]}: has no line of the variants {', '.join(self.variants)} "
                "(plot.variants)"
            )
        return lines

    def by_name(self) -> dict[str, Path]:
        """Return name -> file.

        Raises:
            SalcrError: there are not as many names as files, or two names are equal.
        """
        if not len(set(self.names)) == len(self.names) == len(self.files):
            raise SalcrError(
                f"--names: {len(self.names)} for {len(self.files)} files of --sources; give one "
                "for each, all different"
            )
        return dict(zip(self.names, self.files, strict=True))


def rc_settings(font_size: float) -> Any:
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
        "pdf.fonttype": 42,  # TrueType, so that text can be searched and edited
    }


def save_figure(figure: Figure, path: Path, dpi: int) -> None:
    """Write a figure as png or pdf, without a date, so that equal figures are equal files.

    Raises:
        SalcrError: the name ends otherwise, or the file cannot be written.
    """
    if path.suffix not in (".png", ".pdf"):
        raise SalcrError(f"{path}: cannot be written (the name must end with .png or .pdf)")
    undated: dict[str, Any] = {"CreationDate": None} if path.suffix == ".pdf" else {}
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata=undated)


def make_panels(count: int, *, height: float, **words: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` panels in two columns, each `height` inches high."""
    columns = min(2, count)
    rows = -(-count // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(SINGLE * columns, height * rows), squeeze=False, **words
    )
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return figure, list(grid.flat[:count])


def make_image_grid(rows: int, columns: int, *, height: float) -> tuple[Figure, Any]:
    """Return a figure of two columns' width and its panels [rows, columns], close together."""
    return plt.subplots(
        rows, columns, figsize=(DOUBLE, min(height, PAGE)), squeeze=False,
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01),
    )  # fmt: skip


def make_setting_panels(
    table: pd.DataFrame, title: str
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """Return a figure with a panel for each setting, and of each panel the table's lines.

    Args:
        table: with a column `setting`.
        title: of the y axis, at the first panel.

    Raises:
        SalcrError: the table has no lines.
    """
    settings = list(table.groupby("setting", sort=False))
    if not settings:
        raise SalcrError("--sources: hold no scores of --names, or none without a re-ranking")
    figure, grid = make_panels(len(settings), height=2.6, sharey=True)
    for axes, (setting, _) in zip(grid, settings, strict=True):
        axes.set_title(str(setting).replace("-", " "))
    grid[0].set_ylabel(title)
    return figure, [(axes, lines) for axes, (_, lines) in zip(grid, settings, strict=True)]


def line_style(number: int) -> dict[str, Any]:
    """Return color, dashes and marker of a line by its number."""
    dashes, marker = _LINES[number % len(_LINES)]
    return {"color": COLORS[number % len(COLORS)], "linestyle": dashes, "marker": marker}


def plot_band(axes: Axes, lines: pd.DataFrame, x: str, y: str, **style: Any) -> None:
    """Plot the mean over trials, and the standard deviation as a band."""
    over = lines.groupby(x)[y].agg(["mean", "std"]).fillna(0)
    (line,) = axes.plot(over.index, over["mean"], **style)
    low, high = over["mean"] - over["std"], over["mean"] + over["std"]
    axes.fill_between(over.index, low, high, color=line.get_color(), alpha=0.15, linewidth=0)


def use_integer_ticks(axes: Axes) -> None:
    """Put the ticks of the x axis at whole numbers, for rounds and epochs."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def add_legend_above(figure: Figure, axes: Axes) -> None:
    """Put the legend of one panel above all panels, where it does not cover lines."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=min(4, len(names)))


def hide_ticks(axes: Axes) -> None:
    """Replace ticks and grid by a thin frame, where the numbers have no meaning."""
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#999999")


def numbered_variants(table: pd.DataFrame) -> Iterable[tuple[int, str]]:
    """Return the variants of a table with their numbers, which determine their colors."""
    return enumerate(str(name) for name in table["variant"].unique())
