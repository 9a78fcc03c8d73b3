"""Contents of figures: every line, mark and image represents the right number or image."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from salcr import files
from salcr.reporting.figures import curves, pictures, points, style
from salcr.reporting.figures.style import Sources

GREEN, ORANGE, GRAY = "#009e73", "#d55e00", "#666666"
Made = Callable[..., Sources]


@pytest.fixture(autouse=True)
def print_style() -> Iterator[None]:
    """Plot with the settings of all figures, and close the figures afterwards."""
    with plt.rc_context(style.rc_settings(9)):
        yield
    plt.close("all")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Return a function that writes a table and returns it as the only source of a figure."""

    def write(rows: list[tuple[object, ...]], columns: str) -> Sources:
        pd.DataFrame(rows, columns=columns.split()).to_csv(tmp_path / "table.csv", index=False)
        return Sources([tmp_path / "table.csv"], [], tmp_path, [])

    return write


def lines_of(figure: Figure, panel: int = 0) -> dict[str, list[list[float]]]:
    """Return the points of every line in a panel, by label."""
    axes = figure.axes[panel]
    return {str(line.get_label()): line.get_xydata().tolist() for line in axes.get_lines()}


def test_cmc_is_the_share_of_the_table(made: Made) -> None:
    """Ranks and shares as in the table, at the end and before stage two; no re-ranking."""
    rows = [
        ("salcr", stage, "v", rerank, rank, 50.0 + gain + rank)
        for stage, gain in (("pretrain", 0), ("salcr", 20))
        for rerank in ("none", "aim")
        for rank in (1, 2)
    ]
    figure = curves.plot_cmc(made(rows, "variant stage setting rerank rank mean"))
    expected = {"before stage two": [[1, 51], [2, 52]], "salcr": [[1, 71], [2, 72]]}
    assert lines_of(figure) == expected


def test_map_and_losses_are_means_with_their_deviation(made: Made) -> None:
    """Over both trials: the mean as a line, one sample deviation above and below as the band."""
    rows = [
        ("salcr", "salcr", "v", "none", round_, trial, 0, 99.0, 9.0,
         40.0 + 4 * round_ + trial * (1 + round_))
        for round_ in (0, 1)
        for trial in (1, 2)
    ]  # fmt: skip
    columns = "variant stage setting rerank round trial draw rank1 minp map"
    figure = curves.plot_map(made(rows, columns))
    assert lines_of(figure) == {"salcr": [[0, 41.5], [1, 47.0]]}
    (band,) = figure.axes[0].collections
    deviation = statistics.stdev([46, 48])
    ends = {round(y, 6) for x, y in band.get_paths()[0].vertices if x == 1}
    assert ends == {round(47 - deviation, 6), round(47 + deviation, 6)}
    rows = [("a", "salcr", 1, 1, 0.1, 3.0, 5.0, None), ("b", "salcr", 1, 1, 0.1, 9.0, 9.0, None)]
    columns = "variant stage trial step learning_rate mine total visible"
    sources = made(rows, columns)
    assert lines_of(curves.plot_losses(sources)) == {"mine": [[1, 3]], "total": [[1, 5]]}
    other = curves.plot_losses(sources._replace(variants=["b"]))
    assert lines_of(other)["mine"] == [[1, 9]]


def test_distances_are_the_shares_of_each_kind(tmp_path: Path) -> None:
    """Positive pairs are blue, negative orange; shares in percent, means and their gap."""
    pairs = {
        "edges": [0.0, 0.5, 1.0],
        "positive": {"counts": [3, 1], "mean": 0.3},
        "negative": {"counts": [1, 4], "mean": 0.9},
    }
    files.write_json(tmp_path / "a.json", pairs)
    figure = curves.plot_distances(Sources([tmp_path / "a.json"], ["net"], tmp_path, []))
    (axes,) = figure.axes
    assert axes.get_title() == "net\ngap of means 0.60"
    shown = {
        patch.get_label(): (patch.get_data().values.tolist(), to_hex(patch.get_edgecolor()))
        for patch in axes.patches
        if patch.get_label()  # not the filling below it
    }
    expected = {"positive pairs": ([75, 25], "#0072b2"), "negative pairs": ([20, 80], ORANGE)}
    assert shown == expected
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [0.3, 0.9]


def test_centers_are_green_where_the_nearest_is_the_same_person(made: Made) -> None:
    """Green if right, orange if wrong, gray without a counterpart; the share of right ones."""
    rows = [
        (when, modality, identity, nearest, x, 0.0)
        for when in ("before", "after")
        for modality, identity, nearest, x in (
            ("visible", 1, 1, 0.0), ("visible", 2, 1, 1.0), ("visible", 3, 1, 2.0),
            ("infrared", 1, 1, 3.0), ("infrared", 2, 2, 4.0),
        )
    ]  # fmt: skip
    figure = points.plot_cluster_centers(made(rows, "when modality identity nearest_identity x y"))
    for axes in figure.axes:
        assert "(60% right)" in axes.get_title()
        visible, infrared = axes.collections
        colors = [to_hex(c) for c in visible.get_facecolors()]
        assert colors == [GREEN, ORANGE, GRAY]
        assert [to_hex(c) for c in infrared.get_facecolors()] == [GREEN, GREEN]
        joined = sorted(line.get_xdata().tolist() for line in axes.get_lines())
        assert joined == [[0.0, 3.0], [1.0, 4.0]]


def test_centers_of_unknown_people_are_white_and_do_not_count(made: Made) -> None:
    """Of unknown people, or with such a nearest center: white, not joined, not in the share."""
    rows = [
        (when, modality, identity, nearest, 0.0, 0.0)
        for when, unknown in (("before", 1), ("after", -1))
        for modality, identity, nearest in (
            ("visible", unknown, unknown), ("visible", unknown, -1), ("visible", -1, -1),
            ("infrared", unknown, unknown), ("infrared", -1, unknown),
        )
    ]  # fmt: skip
    figure = points.plot_cluster_centers(made(rows, "when modality identity nearest_identity x y"))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["before CMFP (100% right)", "after CMFP (people unknown)"]
    white = "#ffffff"
    for axes, first, lines in zip(figure.axes, (GREEN, white), (2, 0), strict=True):
        colors = [[to_hex(c) for c in side.get_facecolors()] for side in axes.collections]
        assert colors == [[first, white, white], [first, white]]
        assert len(axes.get_lines()) == lines
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[-1] == "unknown person"


def test_label_quality_says_whose_identities_are_known(made: Made) -> None:
    """The shares of all trials below the panels; if none is known, one sentence and no panel."""
    columns = "variant round trial space num_clusters outliers"
    row = ("salcr", 1, 1, "visible", 3, 0.5)
    figure = curves.plot_label_quality(made([(*row, 0.0)], f"{columns} known"))
    assert (
        not figure.axes and "No identity of the training images is known" in figure.get_suptitle()
    )
    rows = [(*row, 0.5, 0.5, 0.5, 0.5, 0.25), (*row, 0.7, 0.7, 0.7, 0.7, None)]
    figure = curves.plot_label_quality(made(rows, f"{columns} ari ami fmi v_measure known"))
    assert figure.get_supxlabel().startswith("of the 25% to 100% of the training images whose ide")
    figure = curves.plot_label_quality(
        made([one[:-1] for one in rows], f"{columns} ari ami fmi v_measure")
    )
    assert figure.get_supxlabel() == ""


@pytest.fixture
def images(tmp_path: Path, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return stored images, modality -> uint8 [5, 8, 4, 3], that a figure can read."""
    arrays = {m: rng.integers(0, 255, (5, 8, 4, 3), np.uint8) for m in ("visible", "infrared")}
    for modality, array in arrays.items():
        np.save(tmp_path / f"{modality}.npy", array)
    return arrays


def test_a_ranking_shows_its_images_and_marks(
    tmp_path: Path, images: dict[str, np.ndarray]
) -> None:
    """The pixels of query and gallery images, in order; a green tick if right, else a cross."""
    queries = [{"query": 2, "gallery": [4, 0, 1], "right": [True, False, True]}] * 2
    setting = {"query_modality": "visible", "gallery_modality": "infrared", "queries": queries}
    for name in "ab":
        files.write_json(tmp_path / f"{name}.json", {"settings": {"all": setting}})
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    figure = pictures.plot_ranking(Sources(paths, ["a", "b"], tmp_path, []))
    rows = np.array(figure.axes).reshape(-1, 4)
    assert [row[0].get_ylabel() for row in rows] == ["a", "b"] * (len(rows) // 2)
    for query, *gallery_axes in rows:
        assert np.array_equal(query.get_images()[0].get_array(), images["visible"][2])
        for axes, index, right in zip(gallery_axes, (4, 0, 1), (True, False, True), strict=True):
            assert np.array_equal(axes.get_images()[0].get_array(), images["infrared"][index])
            assert axes.get_title() == ("✓" if right else "✗")
            frame = to_hex(axes.spines["left"].get_edgecolor())
            assert frame == to_hex(axes.title.get_color()) == (GREEN if right else ORANGE)


def test_attention_lies_over_its_own_image(tmp_path: Path, images: dict[str, np.ndarray]) -> None:
    """Below each image are its Grad-CAM and parts, over the same image in gray."""
    shown = [
        {"modality": modality, "identity": 7, "row": row,
         "grad_cam": [[row, 0.0], [0.0, 1.0]], "attention": [[0.0, row], [2.0, 0.0]]}
        for modality, row in (("visible", 1), ("infrared", 3))
    ]  # fmt: skip
    files.write_json(tmp_path / "a.json", {"images": shown})
    figure = pictures.plot_attention(Sources([tmp_path / "a.json"], ["net"], tmp_path, []))
    rows = np.array(figure.axes).reshape(3, 2)
    for column, image in enumerate(shown):
        pixels = images[str(image["modality"])][image["row"]]
        assert np.array_equal(rows[0, column].get_images()[0].get_array(), pixels)
        for row, key in ((1, "grad_cam"), (2, "attention")):
            below, heat = (layer.get_array() for layer in rows[row, column].get_images())
            assert np.allclose(below, pixels.mean(axis=2), atol=1), json.dumps(key)
            expected = np.array(image[key])
            corners = np.asarray(heat)[[0, 0, -1, -1], [0, -1, 0, -1]]
            assert np.argmax(corners) == np.argmax(expected.ravel())
