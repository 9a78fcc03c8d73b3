"""Open-set identification: queries of people whom the gallery may lack (METHOD 7.3)."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salcr.datasets.protocol import Setting, sample_gallery
from salcr.evaluation.retrieval import TestSet
from salcr.types import MODALITIES, Integers

RATES = (0.1, 0.01, 0.001)
"""False-alarm rates that have a threshold."""
MIN_FALSE_ALARMS = 10
"""Absent queries above a threshold that its rate needs: with fewer, the rate is mostly chance."""


def evaluate_open_set(setting: Setting, test: TestSet) -> list[dict[str, Any]]:
    """Return the scores in every random gallery, without the images of half of the people.

    Args:
        setting: the protocol, whose exclusions count here, too.
        test: all test images.

    Returns:
        what `identification_rates` returns, of each gallery.
    """
    query, images = test.annotations[setting.query], test.annotations[setting.gallery]
    removed = half_of_people(*(test.annotations[m].identity for m in MODALITIES))
    scores = []
    for draw in range(setting.draws):
        positions = sample_gallery(setting, images, draw)
        gallery = images.at(positions)
        scores.append(
            identification_rates(
                test.features[setting.query] @ test.features[setting.gallery][positions].T,
                query.identity,
                gallery.identity,
                removed=removed,
                excluded=None if setting.excludes is None else setting.excludes(query, gallery),
            )
        )
    return scores


def half_of_people(visible: Integers, infrared: Integers) -> Integers:
    """Return half of the people of both modalities, rounded down, by a hash of their numbers.

    The same people whatever the order of the images, so that networks are compared in pairs.

    Args:
        visible: identities of the visible images, [N].
        infrared: identities of the infrared images, [M].
    """
    people: list[int] = np.intersect1d(visible, infrared).tolist()
    people.sort(key=lambda person: hashlib.sha256(f"open set {person}".encode()).digest())
    return np.array(people[: len(people) // 2], dtype=np.int64)


def identification_rates(
    cosine: NDArray[np.floating],
    query_identity: Integers,
    gallery_identity: Integers,
    *,
    removed: Integers,
    excluded: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Return the detection-and-identification rate at rank 1 for each false-alarm rate.

    The score of a query is the largest cosine in its gallery; of equal ones the smaller gallery
    index comes first. Scores above a threshold are alarms: one that equals it is not. Queries are
    "absent" if their person has no image in the gallery, and "present" if theirs has one that is
    not excluded. Others are left out, and so are those all of whose gallery is excluded.

    Args:
        cosine: [Q, G].
        query_identity: [Q].
        gallery_identity: [G].
        removed: people whose images do not belong to the gallery.
        excluded: [Q, G], True for gallery images that are excluded for a query (camera rules).

    Returns:
        plain values: the numbers of `present` and `absent` queries, and `rates`, one for each of
        RATES: its `threshold`, the smallest score that at most this share of the absent queries
        exceed, and the `identification_rate`, the share of the present queries whose score exceeds
        it and is that of their person. Both are None where there are fewer than 10 / rate absent
        queries, or no present one.
    """
    is_removed = np.isin(gallery_identity, removed)
    hidden = np.broadcast_to(is_removed, cosine.shape)
    hidden = hidden if excluded is None else hidden | excluded
    matches = query_identity[:, None] == gallery_identity
    present = (matches & ~hidden).any(axis=1)
    absent = ~(matches & ~is_removed).any(axis=1) & ~hidden.all(axis=1)
    shown = np.where(hidden, -np.inf, cosine)
    best, score = shown.argmax(axis=1), shown.max(axis=1)
    is_right = gallery_identity[best] == query_identity
    descending = np.sort(score[absent])[::-1]
    rates = []
    for rate in RATES:
        allowed = int(rate * len(descending) + 1e-6)  # 0.1 * 30 may be just below 3
        threshold = share = None
        if allowed >= MIN_FALSE_ALARMS and present.any():
            threshold = float(descending[allowed])
            share = float(np.mean(is_right[present] & (score[present] > threshold)))
        rates.append(
            {"false_alarm_rate": rate, "threshold": threshold, "identification_rate": share}
        )
    return {"present": int(present.sum()), "absent": len(descending), "rates": rates}


def format_open_set(galleries: list[dict[str, Any]]) -> str:
    """Return the scores, averaged over galleries, as text, for a log."""
    texts = []
    for rates in zip(*(gallery["rates"] for gallery in galleries), strict=True):
        shares = [one["identification_rate"] for one in rates]
        mean = "too few queries" if None in shares else f"rank-1 {np.mean(shares):.2%}"
        texts.append(f"{mean} at FAR {rates[0]['false_alarm_rate']}")
    sides = [f"{min(one[side] for one in galleries)} {side}" for side in ("present", "absent")]
    return f"{' and '.join(sides)} queries, {', '.join(texts)}"
