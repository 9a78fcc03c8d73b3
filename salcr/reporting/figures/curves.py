"""Figures of curves: training, label quality, CMC, mAP, sweeps, distances of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from salcr import files
from salcr.config import runs, table_kinds
from salcr.config.figure_kinds import Distances
from salcr.errors import SalcrError
from salcr.reporting.figures.style import (
    BLUE,
    DOUBLE,
    GRAY,
    ORANGE,
    Sources,
    add_legend_above,
    line_style,
    make_panels,
    make_setting_panels,
    numbered_variants,
    plot_band,
    use_integer_ticks,
)

_SCORES = {"ari": "ARI", "ami": "AMI", "fmi": "FMI", "v_measure": "V-measure"}
_NO_LOSSES = ("variant", "stage", "trial", "step", "learning_rate")
_SWEPT = {"weight": "λ, weight of the refinement loss", "k": "k, instances of the refinement loss"}


def plot_losses(sources: Sources) -> Figure:
    """Return every training loss of the first shown variant, a panel for each stage."""
    table = sources.compared(table_kinds.LOSSES)
    wanted = runs.shown(table["variant"], sources.variants)
    table = table[table["variant"] == min(table["variant"].unique(), key=wanted.index)]
    stages = [stage for stage in ("pretrain", "salcr") if (table["stage"] == stage).any()]
    titles = {"pretrain": "stage one", "salcr": "stage two"}
    figure, grid = make_panels(len(stages), height=2.6)
    for axes, stage in zip(grid, stages, strict=True):
        lines = table[table["stage"] == stage]
        numbers = lines.dropna(axis="columns", how="all").select_dtypes("number")
        names = numbers.columns.drop([*_NO_LOSSES, "total"], errors="ignore")
        for number, name in enumerate(names):
            label = "refinement" if name == "refine" else name
            plot_band(axes, lines, "step", name, label=label, **line_style(number))
        plot_band(axes, lines, "step", "total", label="total", color="black", marker=".")
        axes.set(title=titles[stage], xlabel="epoch" if stage == "pretrain" else "round")
        axes.set_ylim(bottom=0)
        use_integer_ticks(axes)
        axes.legend()
    grid[0].set_ylabel("loss (mean over the epoch)")
    return figure


def plot_label_quality(sources: Sources) -> Figure:
    """Return ARI, AMI, FMI and V-measure over the rounds, a panel for each label space.

    Where identities are unknown, the figure says so, and that is all it does if none is known.
    """
    table = sources.compared(table_kinds.QUALITIES)
    if not set(_SCORES) <= set(table):
        figure = plt.figure(figsize=(DOUBLE, 1.0))
        figure.suptitle("No identity of the training images is known.")
        return figure
    spaces = ("visible", "infrared")
    figure, grid = plt.subplots(
        len(_SCORES), len(spaces), figsize=(DOUBLE, 7.0), sharex=True, sharey="row"
    )
    for row, (score, title) in zip(grid, _SCORES.items(), strict=True):
        for axes, space in zip(row, spaces, strict=True):
            here = table[table["space"] == space]
            for number, variant in numbered_variants(here):
                lines = here[here["variant"] == variant]
                plot_band(axes, lines, "round", score, label=variant, **line_style(number))
            use_integer_ticks(axes)
        row[0].set_ylabel(title)
    for axes, space in zip(grid[0], spaces, strict=True):
        axes.set_title(f"{space} label space")
    for axes in grid[-1]:
        axes.set_xlabel("round")
    if "known" in table:
        least, most = table["known"].fillna(1).agg(["min", "max"])
        shares = f"{least:.0%}" if least == most else f"{least:.0%} to {most:.0%}"
        figure.supxlabel(f"of the {shares} of the training images whose identity is known")
    add_legend_above(figure, grid[0][0])
    return figure


def plot_cmc(sources: Sources) -> Figure:
    """Return the cumulative matching characteristic of every variant, and of its stage one."""
    table = sources.compared(table_kinds.CMC)
    figure, grid = make_setting_panels(table[table["rerank"] == "none"], "matching rate (%)")
    for axes, here in grid:
        plotted: set[tuple[float, ...]] = set()
        for number, variant in numbered_variants(here):
            lines = here[here["variant"] == variant]
            for stage, curve in lines.groupby("stage", sort=False):
                if tuple(curve["mean"]) in plotted:
                    continue  # variants that share a stage one share its curve
                is_start = stage == "pretrain" and lines["stage"].nunique() > 1
                style = {**line_style(number), "marker": None, "label": variant}
                if is_start:
                    of_whom = "before stage two" if not plotted else f"{variant}, before it"
                    style |= {"color": GRAY, "linestyle": ":", "label": of_whom}
                plotted.add(tuple(curve["mean"]))
                axes.plot(curve["rank"], curve["mean"], **style)
        axes.set(xlabel="rank", ylim=(0, 101), xticks=[1, 5, 10, 15, 20])
        axes.legend(loc="lower right")
    return figure


def plot_map(sources: Sources) -> Figure:
    """Return mAP over the rounds of stage two; round 0 is the end of stage one."""
    table = sources.compared(table_kinds.TRIALS)
    figure, grid = make_setting_panels(table[table["rerank"] == "none"], "mAP (%)")
    for axes, here in grid:
        for number, variant in numbered_variants(here):
            lines = here[here["variant"] == variant]
            plot_band(axes, lines, "round", "map", label=variant, **line_style(number))
        axes.set(xlabel="round (0: before stage two)", ylim=(0, 101))
        use_integer_ticks(axes)
        axes.legend(loc="lower right")
    return figure


def plot_sweep(sources: Sources, key: str) -> Figure:
    """Return rank-1 and mAP over the values of a key, with the published ones where given.

    The names of the sources say which variant has which value: `lambda_0_5=0.5`.
    """
    value_of = dict(map(_parted, sources.names))
    table = sources.table(table_kinds.SUMMARY)
    table = table[table["variant"].isin(value_of) & (table["rerank"] == "none")]
    last = table.groupby(["variant", "setting"], sort=False).tail(1)
    last = last.assign(value=last["variant"].map(value_of))
    published = _published(sources.files[1:], key)
    figure, grid = make_setting_panels(last, "percent")
    for axes, lines in grid:
        here = lines.sort_values("value")
        given = published[published["setting"] == here["setting"].iloc[0]]
        for number, (score, name) in enumerate({"rank1": "rank-1", "map": "mAP"}.items()):
            style = line_style(number)
            axes.errorbar(
                here["value"], here[f"{score}_mean"], here[f"{score}_std"].fillna(0), capsize=2,
                label=name, **style,
            )  # fmt: skip
            if len(given):
                style |= {"color": GRAY, "markerfacecolor": "white", "linestyle": ":"}
                axes.plot(given["value"], given[score], label=f"{name}, published", **style)
        axes.set(xlabel=_SWEPT[key])
    add_legend_above(figure, grid[0][0])
    return figure


def plot_distances(sources: Sources) -> Figure:
    """Return histograms of cross-modality distances, positive and negative, a panel a network."""
    networks = {n: files.read_json(p, Distances) for n, p in sources.by_name().items()}
    if len({tuple(pairs["edges"]) for pairs in networks.values()}) > 1:
        raise SalcrError(
            f"{sources.files[0]}: has other edges than the other files; run analyze for all again"
        )
    columns = min(3, len(networks))
    rows = -(-len(networks) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(DOUBLE, 2.3 * rows + 0.2), sharex=True, sharey=True, squeeze=False
    )
    for axes in grid.flat[len(networks) :]:
        axes.set_visible(False)
    for axes, (name, pairs) in zip(grid.flat, networks.items(), strict=False):
        for kind, color, dashes in (("positive", BLUE, "-"), ("negative", ORANGE, "--")):
            _histogram(axes, pairs, kind, color=color, linestyle=dashes)
        gap = pairs["negative"]["mean"] - pairs["positive"]["mean"]
        axes.set(title=f"{name}\ngap of means {gap:.2f}", xlabel="cosine distance")
        axes.tick_params(labelbottom=True)  # the panel below may be an empty place
    for row in grid:
        row[0].set_ylabel("pairs (%)")
    axes.set_xlim(*_occupied(list(networks.values())))
    axes.set_ylim(bottom=0)
    add_legend_above(figure, grid[0][0])
    return figure


def _histogram(axes: Axes, pairs: dict[str, Any], kind: str, **style: Any) -> None:
    counts = np.array(pairs[kind]["counts"])
    share = 100 * counts / counts.sum()
    axes.stairs(share, pairs["edges"], fill=True, alpha=0.25, color=style["color"])
    axes.stairs(share, pairs["edges"], label=f"{kind} pairs", **style)
    axes.axvline(pairs[kind]["mean"], **{**style, "linewidth": 0.9})


def _occupied(networks: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the range of distances in which there are pairs."""
    edges = np.array(networks[0]["edges"])
    counts = sum(
        np.array(pairs[kind]["counts"]) for pairs in networks for kind in ("positive", "negative")
    )
    full = np.flatnonzero(counts)
    return float(edges[full[0]]), float(edges[full[-1] + 1])


def _published(paths: list[Path], key: str) -> pd.DataFrame:
    """Return setting, value, rank1 and map of the published sweep, empty without a file.

    A line belongs to it by its variant, `lambda=0.5` or `k=30`. Names of settings differ
    between data sets.
    """
    if not paths:
        return pd.DataFrame(columns=["variant", "setting", "rank1", "map"])
    table = files.read_table(paths[0], table_kinds.PUBLISHED)
    symbol = {"weight": "lambda", "k": "k"}[key]
    table["value"] = table["variant"].str.extract(rf"^{symbol}=([0-9.]+)$")[0].astype(float)
    return table.dropna(subset="value").sort_values("value")


def _parted(name: str) -> tuple[str, float]:
    variant, _, value = name.rpartition("=")
    try:
        return variant, float(value)
    except ValueError:
        raise SalcrError(f"--names {name}: must be VARIANT=VALUE, with a number") from None
