"""Figures of points in the plane: t-SNE of images and of cluster centers."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from salcr import files
from salcr.config import table_kinds
from salcr.reporting.figures.style import (
    AMBER,
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    MARKERS,
    ORANGE,
    PURPLE,
    RIGHT,
    SKY,
    WRONG,
    YELLOW,
    Sources,
    hide_ticks,
    make_panels,
)

_PEOPLE = [BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY, YELLOW, BLACK]
_PANEL = 3.3  # inches
_ONE_NUMBER = 0.1  # of the panel's width: two groups this close get one number
_MARKED = {"nearest is the same person": RIGHT, "nearest is another": WRONG,
           "person has none": GRAY}  # fmt: skip
_UNKNOWN = {"unknown person": "white"}


def plot_tsne(sources: Sources) -> Figure:
    """Return the images of some people in the plane, a panel for each network.

    There are more people than colors that a color-blind reader can distinguish, so each person also
    has a number above the images, a single one where both modalities are close together.
    """
    figure, grid = make_panels(len(sources.files), height=_PANEL)
    for axes, (name, path) in zip(grid, sources.by_name().items(), strict=True):
        table = files.read_table(path, table_kinds.TSNE)
        numbers = {one: number for number, one in enumerate(sorted(table["identity"].unique()))}
        closest = _ONE_NUMBER * (table[["x", "y"]].max() - table[["x", "y"]].min()).max()
        for one, lines in table.groupby("identity"):
            color = _PEOPLE[numbers[one] % len(_PEOPLE)]
            sides = [side for _, side in lines.groupby("modality")]
            for side in sides:
                axes.scatter(
                    side["x"], side["y"], s=16, c=color, marker=MARKERS[side["modality"].iloc[0]],
                    edgecolor="white" if color == BLACK else "black", linewidth=0.3,
                )  # fmt: skip
            middles = lines.groupby("modality")[["x", "y"]].median()
            together = (middles.max() - middles.min()).max() < closest
            for labeled in [lines] if together else sides:
                axes.text(
                    labeled["x"].median(), labeled["y"].max(), str(numbers[one] + 1),
                    ha="center", va="bottom", fontsize="small", fontweight="bold", zorder=3,
                    path_effects=[withStroke(linewidth=2, foreground="white")],
                )  # fmt: skip
        axes.margins(y=0.08)  # room for the highest number
        axes.set_title(name)
        hide_ticks(axes)
    _legend(figure, {})
    return figure


def plot_cluster_centers(sources: Sources) -> Figure:
    """Return the clusters' centers in the plane before and after CMFP, lines between a person's.

    Centers of which it is unknown whether they are right do not count.
    """
    table = sources.table(table_kinds.CENTERS)
    table["known"] = (table["identity"] >= 0) & (table["nearest_identity"] >= 0)
    figure, grid = make_panels(2, height=_PANEL)
    for axes, when in zip(grid, ("before", "after"), strict=True):
        lines = table[table["when"] == when]
        sides = {m: lines[lines["modality"] == m] for m in MARKERS}
        _join(axes, sides["visible"], sides["infrared"])
        right = lines["identity"] == lines["nearest_identity"]
        for modality, other in (tuple(MARKERS), tuple(MARKERS)[::-1]):
            side = sides[modality]
            colors = pd.Series(WRONG, index=side.index)
            colors[right[side.index]] = RIGHT
            colors[~side["identity"].isin(sides[other]["identity"])] = GRAY
            colors[~side["known"]] = _UNKNOWN["unknown person"]
            axes.scatter(
                side["x"], side["y"], s=16, c=colors, marker=MARKERS[modality], linewidth=0.3,
                edgecolor="black", zorder=2,
            )  # fmt: skip
        known = right[lines["known"]]
        share = f"{known.mean():.0%} right" if len(known) else "people unknown"
        axes.set_title(f"{when} CMFP ({share})")
        hide_ticks(axes)
    marked = _MARKED if table["known"].any() else {}
    _legend(figure, marked if table["known"].all() else marked | _UNKNOWN)
    return figure


def _join(axes: Axes, visible: pd.DataFrame, infrared: pd.DataFrame) -> None:
    """Draw a line between every two centers of one person in the two modalities."""
    pairs = visible.merge(infrared, on="identity", suffixes=("_visible", "_infrared"))
    pairs = pairs[pairs["identity"] >= 0]
    ends = zip(
        pairs[["x_visible", "x_infrared"]].to_numpy(),
        pairs[["y_visible", "y_infrared"]].to_numpy(),
        strict=True,
    )
    for x, y in ends:
        axes.plot(x, y, color="#999999", linewidth=0.5, zorder=1)


_IN_A_ROW = 5  # entries of a legend that fit above two panels


def _legend(figure: Figure, colors: dict[str, str]) -> None:
    """Put the meaning of markers and colors above the panels."""
    size = plt.rcParams["legend.fontsize"] / 2
    marks = [(marker, "white", name) for name, marker in MARKERS.items()]
    marks += [("s", color, name) for name, color in colors.items()]
    handles = [
        Line2D([], [], linestyle="", marker=marker, markersize=size, markerfacecolor=color,
               markeredgecolor="black", markeredgewidth=0.5, label=name)
        for marker, color, name in marks
    ]  # fmt: skip
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=len(handles) if len(handles) <= _IN_A_ROW else _IN_A_ROW // 2 + 1,
        columnspacing=1,
        handletextpad=0,
    )
