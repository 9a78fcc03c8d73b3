"""What the report shows of labels without identities."""

from __future__ import annotations

from typing import Any

from salcr.reporting.label_statistics import label_statistics

NUMBERS = {
    "clusters_visible": 63.0,
    "clusters_infrared": 60.0,
    "outliers_visible": 0.125,
    "outliers_infrared": 0.0,
    "spread_visible": 0.5,
    "spread_infrared": 0.25,
    "agreement": 0.875,
}


def trial_of(variant: str, number: int, *warnings: list[str]) -> dict[str, Any]:
    """Return the record of a trial whose rounds have these warnings."""
    jobs: list[dict[str, Any]] = [{"stage": "pretrain"}]
    for messages in warnings:
        jobs.append({"stage": "associate", "labels": NUMBERS, "diagnosis": messages})
        jobs.append({"stage": "train"})
    return {"variant": variant, "trial": number, "jobs": jobs}


def test_a_line_a_round_of_the_first_trial() -> None:
    """Both modalities are in a cell, numbers that were not recorded leave it empty."""
    trials = [trial_of("salcr", 1, [], ["a", "b"]), trial_of("salcr", 2, []), trial_of("dagl", 1)]
    (one,) = label_statistics(trials)
    assert (one["variant"], one["trial"], one["warned"]) == ("salcr", 1, [2])
    assert one["diagnoses"] == ["a", "b"]
    cells = dict(zip(one["titles"], one["rows"][1], strict=True))
    assert cells == {
        "round": "2",
        "clusters": "63 / 60",
        "outliers": "12.5% / 0.0%",
        "largest cluster": "",
        "spread": "0.500 / 0.250",
        "agreement": "87.5%",
        "distance of centers": "",
    }


def test_results_that_are_older_than_the_numbers_have_no_table() -> None:
    """Their jobs recorded none."""
    assert label_statistics([{"variant": "v", "trial": 1, "jobs": [{"stage": "associate"}]}]) == []
