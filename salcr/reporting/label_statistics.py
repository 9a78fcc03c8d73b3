"""What a report shows without identities: numbers of each round, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from salcr.types import MODALITIES

_PERCENT = "{:.1%}".format
_THREE = "{:.3f}".format
# name of a number, for both modalities where it ends with "_": title, and how it is written
_COLUMNS = {
    "clusters_": ("clusters", "{:.0f}".format),
    "outliers_": ("outliers", _PERCENT),
    "largest_": ("largest cluster", _PERCENT),
    "spread_": ("spread", _THREE),
    "agreement": ("agreement", _PERCENT),
    "center_distance": ("distance of centers", _THREE),
}


def label_statistics(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a table for the first trial of each variant whose associations recorded numbers.

    Args:
        trials: what made each trial of each variant, with its jobs.

    Returns:
        for each, `variant`, `trial`, `titles`, `rows` (a line a round, both modalities as
        "visible / infrared"), `diagnoses` of the last round, and `warned`, the rounds with any.
    """
    found: dict[str, dict[str, Any]] = {}
    for trial in trials:
        jobs = [job for job in trial["jobs"] if job["stage"] == "associate" and job.get("labels")]
        if not jobs or trial["variant"] in found:
            continue
        found[trial["variant"]] = {
            "variant": trial["variant"],
            "trial": trial["trial"],
            "titles": ["round", *(title for title, _ in _COLUMNS.values())],
            "rows": [[str(n), *_row(job["labels"])] for n, job in enumerate(jobs, start=1)],
            "warned": [n for n, job in enumerate(jobs, start=1) if job.get("diagnosis")],
            "diagnoses": jobs[-1].get("diagnosis", []),
        }
    return list(found.values())


def _row(numbers: Mapping[str, float]) -> list[str]:
    """Return the cells of a round; empty for numbers that are not there."""
    cells = []
    for name, (_, write) in _COLUMNS.items():
        names = [name + m for m in MODALITIES] if name.endswith("_") else [name]
        cells.append(" / ".join(write(numbers[one]) for one in names if one in numbers))
    return cells
