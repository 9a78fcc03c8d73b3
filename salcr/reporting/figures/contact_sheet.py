"""Rows of framed pictures, as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray


class Framed(NamedTuple):
    """A picture with a title above and a frame around it."""

    image: NDArray[np.uint8]
    """[H, W, 3]."""
    title: str
    color: str
    """Of the title and the frame."""


def picture_rows(rows: Sequence[Sequence[Framed]]) -> Figure:
    """Return a figure with a row of pictures for each of the rows."""
    longest = max(len(row) for row in rows)
    # Without pyplot, which would keep the figure.
    figure = Figure(figsize=(0.72 * longest, 1.4 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), longest, squeeze=False)
    for line, row in zip(grid, rows, strict=True):
        for axes in line:
            axes.set_axis_off()
        for axes, framed in zip(line, row, strict=False):  # shorter rows leave cells empty
            _show(axes, framed)
    return figure


def _show(axes: Axes, framed: Framed) -> None:
    axes.set_axis_on()
    axes.grid(visible=False)
    axes.imshow(framed.image)
    axes.set(xticks=[], yticks=[])
    axes.set_title(framed.title, color=framed.color, pad=2)
    for spine in axes.spines.values():
        spine.set(visible=True, color=framed.color, linewidth=2)
