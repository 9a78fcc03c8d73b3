"""The figure of a study: paired differences between variants, with their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from salcr.reporting.figures.style import (
    DOUBLE,
    GRAY,
    PAGE,
    add_legend_above,
    line_style,
    make_panels,
)
from salcr.reporting.study import SCORES, line_name

_ROW = 0.27  # inches of a comparison
_APART = 0.24  # of a row, between the directions


def plot_differences(table: pd.DataFrame) -> Figure:
    """Return a row per comparison, a panel per score, and a point per direction.

    Args:
        table: what `study.compare_variants` returned.
    """
    lines = table[table["rank1_difference"].notna()]
    pairs = [f"{line_name(line)} − {line['compared_with']}" for line in lines.to_dict("records")]
    names = list(dict.fromkeys(pairs))
    settings = list(dict.fromkeys(lines["setting"]))
    height = min(PAGE, 1.2 + _ROW * max(1, len(names)))
    figure, grid = make_panels(len(SCORES), height=height, sharey=True)
    figure.set_size_inches(DOUBLE, height)
    row = np.array([names.index(pair) for pair in pairs])
    for axes, (score, title) in zip(grid, SCORES.items(), strict=True):
        axes.axvline(0, color=GRAY, linewidth=0.8)
        for number, setting in enumerate(settings):
            chosen = (lines["setting"] == setting).to_numpy()
            shown = lines[chosen].astype(dict.fromkeys([f"{score}_difference"], float))
            middle = shown[f"{score}_difference"].to_numpy()
            # A single pair has no interval.
            half = (shown[f"{score}_high"].astype(float) - middle).fillna(0).to_numpy()
            shift = _APART * (number - (len(settings) - 1) / 2)
            axes.errorbar(
                middle, row[chosen] + shift, xerr=half, label=setting.replace("-", " "),
                **{**line_style(number), "linestyle": "none"},
            )  # fmt: skip
        axes.set_xlabel(f"difference of {title}, points")
    grid[0].set_yticks(range(len(names)), names)
    grid[0].set_ylim(max(1, len(names)) - 0.5, -0.5)
    if names:
        add_legend_above(figure, grid[0])
    else:
        figure.suptitle("no two variants have a start in common yet")
    return figure
