"""Figures: planned where results exist, plotted from small files alone, in both formats."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from salcr.config.loading import DEFAULT_CONFIG, merge, swept, validate
from salcr.errors import SalcrError
from salcr.files import read_yaml
from salcr.reporting.figures import curves, style
from salcr.reporting.figures.style import Sources
from tests.support import tiny
from tests.support.plans import planned, snakemake

ROOT = Path("results/tiny")
NETWORKS = ("salcr/trial01/round00", "salcr/trial01/round01")
SWEEP = {
    "variants": {
        "salcr": {}, "lambda_0": {"gpcr": {"weight": 0.0}}, "lambda_2": {"gpcr": {"weight": 2.0}},
        "same": {"gpcr": {"weight": 2.0}}, "k_4": {"gpcr": {"k": 4}},
        "both": {"gpcr": {"k": 5, "weight": 1.0}}, "other": {"associate": {"cmfp_k": 5}},
    }
}  # fmt: skip


def sources_of(figure: str, root: Path) -> list[object]:
    """Return the arguments that name the files of a figure of the finished workflow."""
    table = {"map": "trials"}.get(figure, figure)
    if figure in ("cmc", "map", "losses", "label_quality"):
        return ["--sources", root / f"{table}.csv"]
    if figure == "cluster_centers":
        return ["--sources", root / NETWORKS[1] / "cluster_centers.csv"]
    name = {"ranking": "rankings.json", "tsne": "tsne.csv"}.get(figure, f"{figure}.json")
    names = ["stage one", "salcr", "dagl"] if figure == "distances" else ["stage one", "salcr"]
    networks = [*NETWORKS, "dagl/trial01/round01"][: len(names)]
    return ["--sources", *(root / one / name for one in networks), "--names", *names]


def plot(figure: str, sources: list[object], data: Path, to: Path, *extra: object) -> int:
    """Plot a figure as png and pdf into a folder and return the exit status."""
    words = ["--data", data, "--png", to / f"{figure}.png", "--pdf", to / f"{figure}.pdf"]
    return tiny.run("plot", "--figure", figure, *sources, *words, *extra)


@pytest.mark.parametrize(
    "figure",
    ["losses", "label_quality", "cmc", "map", "ranking", "distances", "tsne", "cluster_centers",
     "attention"],
)  # fmt: skip
def test_images_have_print_size_and_equal_bytes(
    finished_run: Path, tmp_path: Path, figure: str
) -> None:
    """One or two columns wide, fonts embedded, not blank; the same bytes as from the workflow."""
    root = finished_run / ROOT
    assert plot(figure, sources_of(figure, root), root / "preprocess", tmp_path) == 0
    for form in ("png", "pdf"):
        name = f"{figure}.{form}"
        assert (tmp_path / name).read_bytes() == (root / "figures" / name).read_bytes()
    picture = Image.open(tmp_path / f"{figure}.png")
    assert picture.width in (680, 1360) and picture.height <= 1800  # 3.4 or 6.8 inches, at most 9
    assert np.asarray(picture.convert("L")).std() > 5
    pdf = (tmp_path / f"{figure}.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and b"/FontFile2" in pdf and b"/Type3" not in pdf


def test_plotting_needs_no_torch() -> None:
    """Restyling starts without torch, whose import takes seconds."""
    code = "import sys, salcr.stages.plot; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_lines_differ_in_gray() -> None:
    """The first four lines differ in dashes and markers, so that they are readable in gray."""
    styles = [style.line_style(number) for number in range(6)]
    assert len({(one["linestyle"], one["marker"]) for one in styles}) == 6
    assert len({one["color"] for one in styles}) == 6


def test_a_sweep_is_what_differs_in_one_key() -> None:
    """The plain method and variants that override only this key; equal values occur once."""
    values = merge(read_yaml(DEFAULT_CONFIG), SWEEP)
    config = validate(values)
    assert swept(config, "gpcr", "weight") == {"salcr": 0.5, "lambda_0": 0.0, "lambda_2": 2.0}
    assert swept(config, "gpcr", "k") == {"salcr": 30, "k_4": 4}
    assert swept(config, "fgsal", "parts") == {"salcr": 3}


def test_a_sweep_shows_means_deviations_and_published_values(tmp_path: Path) -> None:
    """The points are the summary's last rows; published figures are matched by their value."""
    key = ["variant", "stage", "setting", "rerank"]
    rows = [
        (name, stage, "visible-to-thermal", "none", rank1, 1.0, rank1 - 5, 0.5)
        for name, final in (("plain", 60.0), ("high", 70.0), ("unused", 99.0))
        for stage, rank1 in (("pretrain", 10.0), ("salcr", final))
    ]
    columns = [*key, "rank1_mean", "rank1_std", "map_mean", "map_std"]
    scores = [f"{s}_{kind}" for s in ("rank10", "rank20", "minp") for kind in ("mean", "std")]
    table = pd.DataFrame(rows, columns=columns).assign(num_trials=2, **dict.fromkeys(scores, 0.0))
    table.to_csv(tmp_path / "summary.csv", index=False)
    given = [
        ("lambda=0.5", "visible-to-thermal", 90.6, 83.9), ("k=30", "visible-to-thermal", 1, 1),
        ("lambda=1.0", "visible-to-thermal", 90.3, 83.8), ("lambda=0.5", "all", 64.4, 60.4),
    ]  # fmt: skip
    published = pd.DataFrame(given, columns=["variant", "setting", "rank1", "map"])
    others = {"source": "fig6", "dataset": "RegDB", "minp": 50.0}
    published.assign(**others).to_csv(tmp_path / "published.csv", index=False)
    files = [tmp_path / "summary.csv", tmp_path / "published.csv"]
    sources = Sources(files, ["high=1.0", "plain=0.5"], tmp_path, [])
    with plt.rc_context(style.rc_settings(9)):
        figure = curves.plot_sweep(sources, "weight")
    (axes,) = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    assert lines["rank-1, published"] == [[0.5, 90.6], [1.0, 90.3]]
    assert lines["mAP, published"] == [[0.5, 83.9], [1.0, 83.8]]
    means = {bars.get_label(): bars.lines[0].get_xydata().tolist() for bars in axes.containers}
    assert means == {"rank-1": [[0.5, 60.0], [1.0, 70.0]], "mAP": [[0.5, 55.0], [1.0, 65.0]]}
    ends = {bars.get_label(): bars.lines[2][0].get_segments()[1][:, 1] for bars in axes.containers}
    assert ends["rank-1"].tolist() == [69.0, 71.0] and ends["mAP"].tolist() == [64.5, 65.5]
    plt.close(figure)
    words = ["--sources", *files, "--names", *sources.names]
    assert plot("refinement_weight", words, tmp_path / "data", tmp_path) == 0
    assert plot("refinement_k", [*words[:2], *words[3:]], tmp_path / "data", tmp_path) == 0


def test_label_quality_shows_the_variants_side_by_side(tmp_path: Path) -> None:
    """Each panel has a line for each requested variant, the mean over trials, and no others."""
    rows = [
        (variant, round_, trial, space, *(score + round_ + trial,) * 4)
        for variant, score in (("salcr", 0.0), ("dagl", 0.1), ("third", 0.2))
        for round_ in (1, 2)
        for trial in (1, 2)
        for space in ("visible", "infrared")
    ]
    columns = ["variant", "round", "trial", "space", "ari", "ami", "fmi", "v_measure"]
    table = pd.DataFrame(rows, columns=columns).assign(num_clusters=3.0, outliers=0.1)
    table.to_csv(tmp_path / "label_quality.csv", index=False)
    sources = Sources([tmp_path / "label_quality.csv"], [], tmp_path, ["dagl", "salcr"])
    figure = curves.plot_label_quality(sources)
    for axes in figure.axes:
        salcr, dagl = axes.get_lines()
        assert [line.get_label() for line in (salcr, dagl)] == ["salcr", "dagl"]
        assert np.allclose(salcr.get_xydata(), [[1, 2.5], [2, 3.5]])
        assert np.allclose(dagl.get_xydata(), [[1, 2.6], [2, 3.6]])
    assert len(figure.axes) == 8
    plt.close(figure)


def figures_in(output: str) -> set[str]:
    """Return the figures that a dry run plans to plot."""
    return set(re.findall(r"figures/(\w+)\.pdf", output))


def test_only_figures_with_results_are_planned(tmp_path: Path) -> None:
    """No labels and centers without stage two; sweeps where variants sweep; CMFP where it is on."""
    common = {"cmc", "map", "ranking", "tsne", "attention", "distances", "losses"}
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(
        "variants:\n  lambda_0: {gpcr: {weight: 0.0}}\n  gpcr_k_4: {gpcr: {k: 4}}\n"
        "  gpcr_k_5: {gpcr: {k: 5}}\nassociate: {cmfp: false}\n"
    )
    for words, expected in (
        (["--config", "rounds=0"], common),
        (["--configfile", tiny.TINY_CONFIG, sweep],
         common | {"label_quality", "refinement_weight", "refinement_k"}),
    ):  # fmt: skip
        words = ["--configfile", tiny.TINY_CONFIG, *words] if "--config" in words else words
        done = snakemake(tmp_path, "figures", "--dry-run", *words)
        assert done.returncode == 0, done.stdout
        assert figures_in(done.stdout) == expected


def test_the_target_figures_plans_no_provenance(run_copy: Path) -> None:
    """`snakemake figures` produces only the figures."""
    for name in ("provenance.csv", "figures/cmc.png"):
        (run_copy / ROOT / name).unlink()
    assert planned(run_copy, repository=run_copy, target="figures") == {"plot": 1, "figures": 1}


def test_an_unknown_variant_is_one_message() -> None:
    """A name in plot.variants that is not a variant is named."""
    values = merge(read_yaml(DEFAULT_CONFIG), {"plot": {"variants": ["slacr"]}})
    with pytest.raises(SalcrError, match=r"plot.variants: 'slacr' is not one of the variants"):
        validate(values)
