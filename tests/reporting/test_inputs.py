"""Which figures are planned and from which files, against expectations written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from salcr.config.loading import DEFAULT_CONFIG, merge
from salcr.config.plan import Plan
from salcr.files import read_yaml
from salcr.reporting.closing import LONGEST_TABLE, closing_lines
from salcr.reporting.inputs import Inputs, figure_inputs, timed_jobs

ROOT = "results/regdb"
ALWAYS = {"cmc", "map", "ranking", "tsne", "attention", "distances"}


def plan(**overlay: Any) -> Plan:
    """Return the plan of default.yaml with an overlay: trials 2 and 5, three rounds."""
    small = {"rounds": 3, "dataset": {"trials": [2, 5]}}
    return Plan.from_values(merge(merge(read_yaml(DEFAULT_CONFIG), small), overlay))


def test_single_networks_are_those_of_the_first_variant_and_trial() -> None:
    """Before stage two and at its end; distances also at the end of the other variants."""
    ours = plan(variants={"salcr": {}, "dagl": {"gpcr": {"mode": "none"}, "rounds": 2}})
    figures = figure_inputs(ours, {}, [])
    assert figures.keys() == ALWAYS | {"losses", "label_quality", "cluster_centers"}
    assert figures["tsne"] == Inputs(
        [f"{ROOT}/salcr/trial02/round00/tsne.csv", f"{ROOT}/salcr/trial02/round03/tsne.csv"],
        ["stage one", "salcr"],
    )
    assert figures["distances"] == Inputs(
        [
            f"{ROOT}/salcr/trial02/round00/distances.json",
            f"{ROOT}/salcr/trial02/round03/distances.json",
            f"{ROOT}/dagl/trial02/round02/distances.json",
        ],
        ["stage one", "salcr", "dagl"],
    )
    assert figures["cluster_centers"].files == [f"{ROOT}/salcr/trial02/round03/cluster_centers.csv"]


def test_stage_ones_of_several_variants_are_distinguished() -> None:
    """The second is named after its variant, which trained it with other settings."""
    variants = {"salcr": {}, "long": {"pretrain": {"epochs": 50}}}
    names = figure_inputs(plan(variants=variants), {}, [])["distances"].names
    assert names == ["stage one", "long, stage one", "salcr", "long"]


@pytest.mark.parametrize(
    ("overlay", "more"),
    [
        ({"rounds": 0}, {"losses"}),
        ({"rounds": 0, "pretrain": {"checkpoint": "given.pt"}}, set()),
        ({"associate": {"cmfp": False}}, {"losses", "label_quality"}),
        ({"associate": {"method": "pgm"}}, {"losses", "label_quality"}),
    ],
)
def test_figures_without_results_are_not_planned(overlay: dict[str, Any], more: set[str]) -> None:
    """No losses without training, no labels without rounds, no centers without CMFP."""
    figures = figure_inputs(plan(**overlay), {}, [])
    assert figures.keys() == ALWAYS | more


def test_a_given_network_is_shown_once_under_its_own_name() -> None:
    """If nothing is trained, the network before stage two is also the final one."""
    ours = plan(rounds=0, pretrain={"checkpoint": "given.pt"})
    assert figure_inputs(ours, {}, [])["tsne"] == Inputs(
        [f"{ROOT}/salcr/trial02/round00/tsne.csv"], ["as given"]
    )


def test_a_sweep_is_planned_for_two_values_of_a_key() -> None:
    """No refinement counts as weight 0; published figures are added if they are comparable."""
    variants = {"salcr": {}, "w": {"gpcr": {"weight": 2.0}}, "off": {"gpcr": {"mode": "none"}}}
    matches = {"fig6": {"lambda=0": ["off", "salcr"]}}
    figures = figure_inputs(plan(variants=variants), matches, ["published.csv"])
    assert "refinement_k" not in figures
    assert figures["refinement_weight"] == Inputs(
        [f"{ROOT}/summary.csv", "published.csv"], ["salcr=0.5", "w=2.0", "off=0.0"]
    )


def test_seconds_of_rerankings_are_those_of_the_last_round_of_every_trial() -> None:
    """For the variant in the row `none` of Table 6; none if it contains no variant."""
    assert timed_jobs(plan(), {"6": {"none": ["salcr", "salcr"]}}) == [
        f"{ROOT}/salcr/trial02/round03/jobs/evaluate.json",
        f"{ROOT}/salcr/trial05/round03/jobs/evaluate.json",
    ]
    assert timed_jobs(plan(), {"5": {"none": ["salcr", "salcr"]}}) == []


def test_closing_lines_list_what_exists(tmp_path: Path) -> None:
    """A table and the locations of what exists; a table that would fill the screen is omitted."""
    results = tmp_path / "demo"
    assert list(closing_lines(results)) == []
    (results / "figures").mkdir(parents=True)
    (results / "summary.txt").write_text("the table\n")
    title, table, location = closing_lines(results)
    assert "demo" in title and table == "the table\n" and location == f"figures: {results}/figures"
    (results / "summary.txt").write_text("line\n" * (LONGEST_TABLE + 1))
    assert list(closing_lines(results)) == [location]
