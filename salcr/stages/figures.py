"""One figure from the tables, as png and pdf. Nothing is computed here but means over trials."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from salcr import data, files, schema
from salcr.errors import SalcrError
from salcr.logs import say
from salcr.sheet import Framed, picture_rows

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
_RIGHT, _WRONG, _QUERY = "#009E73", "#D55E00", "#000000"
_MARKERS = "osD^vP"
_SCORES = {"ari": "ARI", "ami": "AMI", "fmi": "FMI", "v_measure": "V-measure"}
_LOSSES = {"visible": "visible", "infrared": "infrared", "global": "global", "part": "part",
           "refine": "refinement", "total": "total"}  # fmt: skip
_QUERIES_SHOWN = 3  # of each direction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument("--figure", choices=list(_FIGURES), required=True, help="which one")
    parser.add_argument("--tables", type=Path, required=True, help="folder that aggregate wrote")
    parser.add_argument("--rankings", type=Path, required=True, help="json that evaluate wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder that preprocess wrote")
    parser.add_argument("--png", type=Path, required=True, help="picture to write")
    parser.add_argument("--pdf", type=Path, required=True, help="vector picture to write")


def run(arguments: argparse.Namespace, *, figures: schema.Figures) -> None:
    """Draw the figure and write it in both formats."""
    style: Any = {
        "font.size": figures.font_size,
        "axes.prop_cycle": cycler(color=_COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#DDDDDD",
        "legend.frameon": False,
        "pdf.fonttype": 42,
        "savefig.bbox": "tight",
    }
    with plt.rc_context(style):
        figure = _FIGURES[arguments.figure](arguments)
        for path in (arguments.png, arguments.pdf):
            # Without a date, two runs on equal results write equal files.
            undated: dict[str, Any] = {"CreationDate": None} if path.suffix == ".pdf" else {}
            with files.atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=figures.dpi, metadata=undated)
            say(f"{path} written")
        plt.close(figure)


def _losses(arguments: argparse.Namespace) -> Figure:
    """Return the training losses of both stages over their epochs, one line a loss."""
    table = files.read_table(arguments.tables / "losses.csv")
    table = table[table["variant"] == table["variant"].iloc[0]]
    stages = [stage for stage in ("pretrain", "salcr") if (table["stage"] == stage).any()]
    figure, grid = plt.subplots(
        1, len(stages), figsize=(3.4 * len(stages), 2.6), squeeze=False, layout="constrained"
    )
    titles = {"pretrain": "stage one", "salcr": "stage two"}
    for axes, stage in zip(grid[0], stages, strict=True):
        lines = table[table["stage"] == stage]
        for name, label in _LOSSES.items():
            if name in lines and lines[name].notna().any():
                _band(axes, lines, "step", name, label)
        axes.set(title=titles[stage], xlabel="epoch" if stage == "pretrain" else "round")
        _whole_numbers(axes)
        axes.legend()
    grid[0][0].set_ylabel("loss (mean over the epoch)")
    return figure


def _label_quality(arguments: argparse.Namespace) -> Figure:
    """Return ARI, AMI, FMI and V-measure over the rounds, a panel for each label space."""
    table = files.read_table(arguments.tables / "quality.csv")
    figure, grid = plt.subplots(
        len(_SCORES), 2, figsize=(6.8, 7.2), sharex=True, sharey="row", layout="constrained"
    )
    for row, (score, title) in enumerate(_SCORES.items()):
        for axes, space in zip(grid[row], ("visible", "infrared"), strict=True):
            for variant, lines in table[table["space"] == space].groupby("variant", sort=False):
                _band(axes, lines, "round", score, str(variant))
        grid[row][0].set_ylabel(title)
    for axes, space in zip(grid[0], ("visible", "infrared"), strict=True):
        axes.set_title(f"{space} label space")
    for axes in grid[-1]:
        axes.set_xlabel("round")
        _whole_numbers(axes)
    grid[0][0].legend()
    return figure


def _cmc(arguments: argparse.Namespace) -> Figure:
    """Return the cumulative matching characteristic of every variant and stage."""
    table = files.read_table(arguments.tables / "cmc.csv")
    table = table[table["rerank"] == "none"]
    figure, axes_of = _panels(table)
    for setting, axes in axes_of.items():
        curves = table[table["setting"] == setting].groupby(["variant", "stage"], sort=False)
        drawn: set[tuple[float, ...]] = set()
        for number, ((variant, stage), curve) in enumerate(curves):
            if tuple(curve["mean"]) in drawn:
                continue  # variants that share a stage one share its curve
            drawn.add(tuple(curve["mean"]))
            style = "--" if stage == "pretrain" else "-"
            axes.plot(
                curve["rank"], curve["mean"], style, color=_COLOURS[number % len(_COLOURS)],
                label=_run_label(variant, stage),
            )  # fmt: skip
        axes.set(xlabel="rank", ylim=(0, 100), xticks=[1, 5, 10, 15, 20])
        axes.legend(loc="lower right")
    next(iter(axes_of.values())).set_ylabel("matching rate (%)")
    return figure


def _map(arguments: argparse.Namespace) -> Figure:
    """Return mAP over the rounds of stage two; round 0 is the end of stage one."""
    table = files.read_table(arguments.tables / "trials.csv")
    table = table[table["rerank"] == "none"]
    figure, axes_of = _panels(table)
    for setting, axes in axes_of.items():
        for variant, lines in table[table["setting"] == setting].groupby("variant", sort=False):
            _band(axes, lines, "round", "map", str(variant))
        axes.set(xlabel="round (0: after stage one)", ylim=(0, 100))
        _whole_numbers(axes)
        axes.legend(loc="lower right")
    next(iter(axes_of.values())).set_ylabel("mAP (%)")
    return figure


def _ranking(arguments: argparse.Namespace) -> Figure:
    """Return some queries with their ten nearest gallery images, right and wrong marked."""
    found = files.read_json(arguments.rankings)["settings"]
    rows = [
        (setting, setting["queries"][index])
        for setting in found.values()
        for index in _evenly_spread(len(setting["queries"]), _QUERIES_SHOWN)
    ]
    if not rows:
        raise SalcrError(f"{arguments.rankings}: holds no query; set evaluate.rankings above 0")
    arrays = {m: files.map_array(arguments.data / data.ARRAYS[m]) for m in data.MODALITIES}
    framed = []
    for setting, ranking in rows:
        query, gallery = setting["query_modality"], setting["gallery_modality"]
        line = [Framed(arrays[query][ranking["query"]], "query", _QUERY)]
        marked = zip(ranking["gallery"], ranking["right"], strict=True)
        for rank, (row, right) in enumerate(marked, start=1):
            mark, colour = ("✓", _RIGHT) if right else ("✗", _WRONG)
            line.append(Framed(arrays[gallery][row], f"{rank} {mark}", colour))
        framed.append(line)
    return picture_rows(framed)


def _evenly_spread(size: int, count: int) -> list[int]:
    """Return up to `count` positions 0 .. size-1, evenly spread."""
    return sorted(set(np.linspace(0, size - 1, min(count, size)).round().astype(int)))


def _panels(table: pd.DataFrame) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with one panel for each setting of the table."""
    settings = list(table["setting"].unique())
    figure, grid = plt.subplots(
        1, len(settings), figsize=(3.4 * len(settings), 2.8), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axes, setting in zip(grid[0], settings, strict=True):
        axes.set_title(setting.replace("-", " "))
    return figure, dict(zip(settings, grid[0], strict=True))


def _band(axes: Axes, lines: pd.DataFrame, x: str, y: str, label: str) -> None:
    """Draw the mean over trials, and its standard deviation as a band."""
    over = lines.groupby(x)[y].agg(["mean", "std"]).fillna(0)
    marker = _MARKERS[len(axes.get_lines()) % len(_MARKERS)]
    (drawn,) = axes.plot(over.index, over["mean"], marker=marker, markersize=3, label=label)
    low, high = over["mean"] - over["std"], over["mean"] + over["std"]
    axes.fill_between(over.index, low, high, color=drawn.get_color(), alpha=0.15, linewidth=0)


def _whole_numbers(axes: Axes) -> None:
    """Put ticks of the x axis at whole numbers, which rounds and epochs are."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _run_label(variant: object, stage: object) -> str:
    return f"{variant}, stage one" if stage == "pretrain" else str(variant)


_FIGURES = {
    "losses": _losses,
    "label_quality": _label_quality,
    "cmc": _cmc,
    "map": _map,
    "ranking": _ranking,
}
