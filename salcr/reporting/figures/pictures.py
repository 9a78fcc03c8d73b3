"""Figures of images: ranking lists and attention maps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from salcr import files
from salcr.config.figure_kinds import Attention, RankingLists
from salcr.data import store
from salcr.errors import SalcrError
from salcr.reporting.figures.style import (
    BLACK,
    DOUBLE,
    RIGHT,
    WRONG,
    Sources,
    hide_ticks,
    make_image_grid,
)
from salcr.types import MODALITIES, evenly_spaced

_QUERIES = 4  # in all
_HEAT = "inferno"  # rises evenly in brightness, so it is readable in gray and for the color-blind


def plot_ranking(sources: Sources) -> Figure:
    """Return some queries with their ten nearest gallery images, one network below the other."""
    networks = {
        n: files.read_json(p, RankingLists)["settings"] for n, p in sources.by_name().items()
    }
    of_each = [{n: len(s["queries"]) for n, s in one.items()} for one in networks.values()]
    _require_equal(sources, of_each)
    chosen = _queries(next(iter(networks.values())))
    lines = [
        (name, settings[setting], settings[setting]["queries"][index])
        for setting, index in chosen
        for name, settings in networks.items()
    ]
    arrays = _arrays(
        sources,
        [(s["query_modality"], one["query"]) for _, s, one in lines]
        + [(s["gallery_modality"], row) for _, s, one in lines for row in one["gallery"]],
    )
    columns = 1 + max(len(one["gallery"]) for _, _, one in lines)
    cell = DOUBLE / columns
    height, width = arrays["visible"].shape[1:3]
    rise = cell * 0.9 * height / width + 0.2
    figure, grid = make_image_grid(len(lines), columns, height=len(lines) * rise)
    for number, (row, (name, setting, one)) in enumerate(zip(grid, lines, strict=True)):
        query, gallery = setting["query_modality"], setting["gallery_modality"]
        for axes in row:
            axes.set_axis_off()
        title = "query" if number % len(networks) == 0 else ""
        _picture(row[0], arrays[query][one["query"]], title, BLACK)
        row[0].set_ylabel(name)
        for axes, place, right in zip(row[1:], one["gallery"], one["right"], strict=False):
            _picture(axes, arrays[gallery][place], "✓" if right else "✗", RIGHT if right else WRONG)
    return figure


def plot_attention(sources: Sources) -> Figure:
    """Return test images of both modalities and, over them, the attention of each network."""
    networks = {n: files.read_json(p, Attention)["images"] for n, p in sources.by_name().items()}
    _require_equal(sources, [len(images) for images in networks.values()])
    shown = _pairwise(next(iter(networks.values())))
    heats = [
        (f"{title}\n{name}", key, _pairwise(images))
        for key, title in (("grad_cam", "Grad-CAM"), ("attention", "parts"))
        for name, images in networks.items()
        if images[0][key] is not None
    ]
    arrays = _arrays(sources, [(image["modality"], image["row"]) for image in shown])
    height, width = arrays["visible"].shape[1:3]
    cell = DOUBLE / (len(shown) + 0.5)
    rise = (len(heats) + 1) * cell * height / width
    figure, grid = make_image_grid(len(heats) + 1, len(shown), height=rise + 0.3)
    for axes, image in zip(grid[0], shown, strict=True):
        _picture(axes, arrays[image["modality"]][image["row"]], image["modality"], BLACK, 0.5)
    grid[0][0].set_ylabel("image")
    for row, (name, key, images) in zip(grid[1:], heats, strict=True):
        for axes, image in zip(row, images, strict=True):
            _overlay(axes, arrays[image["modality"]][image["row"]], np.array(image[key]))
        row[0].set_ylabel(name)
    return figure


def _queries(settings: dict[str, Any]) -> list[tuple[str, int]]:
    """Return setting and number of the queries to show: of each direction its first setting."""
    first: dict[str, str] = {}
    for name, setting in settings.items():
        first.setdefault(setting["query_modality"], name)
    return [
        (name, index)
        for name in first.values()
        for index in evenly_spaced(len(settings[name]["queries"]), _QUERIES // len(first))
    ]


def _pairwise(images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the images so that the two of one person are next to each other."""
    half = len(images) // 2
    return [image for pair in zip(images[:half], images[half:], strict=True) for image in pair]


def _require_equal(sources: Sources, numbers: list[Any]) -> None:
    """Refuse networks that differ in what they show: they were analyzed on other images."""
    for path, number in zip(sources.files, numbers, strict=True):
        if number != numbers[0]:
            raise SalcrError(
                f"{path}: shows other images than {sources.files[0]}; give files of one data set "
                "and one configuration"
            )


def _arrays(sources: Sources, shown: Iterable[tuple[str, int]]) -> dict[str, NDArray[np.uint8]]:
    """Return the stored images by modality.

    Args:
        sources: of the figure.
        shown: modality and row of each image that is shown.

    Raises:
        SalcrError: an array is missing or is not of images, or has no such row.
    """
    arrays = {m: files.map_array(sources.data / store.ARRAYS[m]) for m in MODALITIES}
    for modality, array in arrays.items():
        path = sources.data / store.ARRAYS[modality]
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
            raise SalcrError(f"{path}: does not hold images; {store.PREPROCESS_HINT}")
    for modality, row in shown:
        if row >= len(arrays[modality]):
            raise SalcrError(
                f"{sources.data / store.ARRAYS[modality]}: has no image {row}, which "
                f"{sources.files[0]} shows; both must be of one data set"
            )
    return arrays


def _picture(
    axes: Axes, image: NDArray[np.uint8], title: str, color: str, linewidth: float = 2
) -> None:
    axes.set_axis_on()
    hide_ticks(axes)
    axes.imshow(image)
    axes.set_title(title, color=color, pad=3)
    for spine in axes.spines.values():
        spine.set(visible=True, color=color, linewidth=linewidth)


def _overlay(axes: Axes, image: NDArray[np.uint8], heat: NDArray[np.float64]) -> None:
    """Show an image in gray and a heat map [H', W'] over it, each position as large as it is."""
    height, width = image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    share = heat / max(heat.max(), np.finfo(float).tiny)
    # Low values are transparent: there the image itself shows.
    axes.imshow(
        share, cmap=_HEAT, vmin=0, vmax=1, alpha=0.75 * share, extent=extent,
        interpolation="bilinear",
    )  # fmt: skip
    hide_ticks(axes)
