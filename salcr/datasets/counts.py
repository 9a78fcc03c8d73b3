"""Numbers of identities and images in the published data sets, to detect an incomplete copy.

RegDB: Nguyen et al., Sensors 2017, with the ten splits in common use: 412 people with ten
    images in each modality, halved.
SYSU-MM01: Wu et al., ICCV 2017, and the protocol of the SALCR paper. Of the visible test images
    only the size of the single-shot gallery is published: one image for each identity and camera
    that saw it, 301.
LLCM: Zhang and Wang, CVPR 2023, section 4: 46,767 images of 1,064 people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from salcr.datasets.records import UNKNOWN, Record


class Count(NamedTuple):
    """Content of one modality in one split; None is not checked."""

    identities: int
    images: int | None = None
    views: int | None = None
    """Pairs of an identity and a camera that saw it."""


# layout -> (split, modality) -> count, in every trial
PUBLISHED: dict[str, dict[tuple[str, str], Count]] = {
    "regdb": {
        ("train", "visible"): Count(206, 2060),
        ("train", "infrared"): Count(206, 2060),
        ("test", "visible"): Count(206, 2060),
        ("test", "infrared"): Count(206, 2060),
    },
    "sysu": {
        ("train", "visible"): Count(395, 22258),
        ("train", "infrared"): Count(395, 11909),
        ("test", "visible"): Count(96, views=301),
        ("test", "infrared"): Count(96, 3803),
    },
    "llcm": {
        ("train", "visible"): Count(713, 16946),
        ("train", "infrared"): Count(713, 13975),
        ("test", "visible"): Count(351, 8680),
        ("test", "infrared"): Count(351, 7166),
    },
}
TRIALS = {"regdb": 10, "sysu": 1, "llcm": 1}
# Distinct images of a modality in all trials together: RegDB's trials share 412 people.
DISTINCT_IMAGES = {"regdb": 4120}


def deviations(layout: str, records: Sequence[Record]) -> list[str]:
    """Return messages about differences from the published data set; empty if there are none.

    Args:
        layout: "regdb", "sysu" or "llcm".
        records: the images of all trials.
    """
    trials = sorted({record.trial for record in records})
    messages = []
    if trials != list(range(1, TRIALS[layout] + 1)):
        messages.append(f"trials {trials}, published: 1 to {TRIALS[layout]}")
    grouped: dict[tuple[int, str, str], list[Record]] = {}
    for record in records:
        grouped.setdefault((record.trial, record.split, record.modality), []).append(record)
    for trial in trials:
        for (split, modality), published in PUBLISHED[layout].items():
            group = grouped.get((trial, split, modality), [])
            messages += [
                f"trial {trial}, {split}, {modality}: {difference}"
                for difference in _differences(_count(group), published)
            ]
    if (wanted := DISTINCT_IMAGES.get(layout)) is not None:
        for modality in ("visible", "infrared"):
            number = len({record.file for record in records if record.modality == modality})
            if number != wanted:
                messages.append(f"all trials, {modality}: {number} images, published: {wanted}")
    return messages


def _count(records: Sequence[Record]) -> Count:
    return Count(
        identities=len({record.identity for record in records} - {UNKNOWN}),
        images=len(records),
        views=len({(record.identity, record.camera) for record in records}),
    )


def _differences(count: Count, published: Count) -> list[str]:
    units = ("identities", "images", "pairs of identity and camera")
    return [
        f"{number} {unit}, published: {wanted}"
        for number, wanted, unit in zip(count, published, units, strict=True)
        if wanted is not None and number != wanted
    ]
