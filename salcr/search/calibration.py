"""The calibration beside an index: `calibrate` writes it and `search` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from salcr import files
from salcr.config.index_kinds import Calibration
from salcr.errors import SalcrError
from salcr.search import index

_HINT = "run calibrate again"


def write_calibration(folder: Path, summary: dict[str, Any], content: dict[str, Any]) -> None:
    """Write the calibration of an index, with the checksum of what the index was made of.

    Args:
        folder: of the index.
        summary: content of its embed.json.
        content: the rest of the calibration.
    """
    files.write_json(folder / index.CALIBRATION, {"index": summary["key"], **content})


class Limits(NamedTuple):
    """The smallest scores of hits."""

    scores: dict[str, float]
    """Of hits "across" and "within" modalities, as far as they are searched; empty: any score."""

    def keep(self, hits: list[dict[str, Any]], modality: str) -> list[dict[str, Any]]:
        """Return the hits of a query of this modality whose scores are large enough."""
        if not self.scores:
            return hits
        kinds = ["within" if hit["modality"] == modality else "across" for hit in hits]
        return [
            hit for hit, kind in zip(hits, kinds, strict=True) if hit["score"] >= self.scores[kind]
        ]

    @property
    def no_hit(self) -> str:
        """Return the answer to a query without hits."""
        least = " or ".join(f"{score:.4f}" for score in sorted(set(self.scores.values())))
        return f"nobody: no image has a score of at least {least}"

    @property
    def sentence(self) -> str:
        """Return the end of a sentence about hits; empty without limits."""
        listed = [f"{score:.4f} {kind} modalities" for kind, score in self.scores.items()]
        return f"; images are left out if it is below {' and '.join(listed)}" if listed else ""


def limits_of(
    folder: Path,
    summary: dict[str, Any],
    among: str,
    *,
    min_score: float | None,
    rate: float | None,
) -> Limits:
    """Return the limits of a search.

    Args:
        folder: of the index.
        summary: content of its embed.json.
        among: "other" modality or "all" images.
        min_score: the smallest score, or None.
        rate: calibrated false-match rate whose thresholds are the smallest scores, or None.

    Raises:
        SalcrError: the index is not calibrated for such hits.
    """
    kinds = ["across", "within"] if among == "all" else ["across"]
    if min_score is not None:
        return Limits(dict.fromkeys(kinds, min_score))
    if rate is None:
        return Limits({})
    thresholds = read_thresholds(folder, summary, rate)
    if missing := [kind for kind in kinds if kind not in thresholds]:
        raise SalcrError(
            f"--at-fmr {rate:g}: {folder} has too few pairs {missing[0]} modalities for this rate; "
            "calibrate with more images, or give a larger rate, another --among, or --min-score"
        )
    return Limits({kind: thresholds[kind] for kind in kinds})


def read_thresholds(folder: Path, summary: dict[str, Any], rate: float) -> dict[str, float]:
    """Return the thresholds of a false-match rate: "across" and "within" modalities.

    Args:
        folder: of the index.
        summary: content of its embed.json.
        rate: one of the calibrated rates.

    Returns:
        kind of pair -> cosine; a kind without a threshold is left out.

    Raises:
        SalcrError: there is no calibration of this index, or none at this rate.
    """
    content = read_calibration(folder, summary)
    if content is None:
        raise SalcrError(
            f"--at-fmr {rate:g}: {folder} has no calibration; run `python -m salcr calibrate "
            f"--index {folder}`, or give --min-score"
        )
    thresholds = thresholds_of(content)
    if rate not in thresholds:
        listed = ", ".join(f"{one:g}" for one in sorted(thresholds))
        raise SalcrError(f"--at-fmr {rate:g}: must be one of {listed}; or give --min-score")
    return thresholds[rate]


def read_calibration(folder: Path, summary: dict[str, Any]) -> dict[str, Any] | None:
    """Return the calibration of an index, None if there is none.

    Args:
        folder: of the index.
        summary: content of its embed.json.

    Raises:
        SalcrError: the file is damaged or of another index.
    """
    path = folder / index.CALIBRATION
    if not path.exists():
        return None
    content = files.read_json(path, Calibration, hint=_HINT)
    if content["index"] != summary["key"]:
        raise SalcrError(f"{path}: is the calibration of another index; {_HINT}")
    return content


def thresholds_of(content: dict[str, Any]) -> dict[float, dict[str, float]]:
    """Return the thresholds of a calibration: false-match rate -> kind of pair -> cosine.

    A kind of pair without a threshold at a rate is left out there.
    """
    thresholds: dict[float, dict[str, float]] = {}
    for kind, pairs in content["pairs"].items():
        for entry in pairs["thresholds"]:
            of_rate = thresholds.setdefault(entry["false_match_rate"], {})
            if entry["threshold"] is not None:
                of_rate[kind] = float(entry["threshold"])
    return thresholds
