"""How many identities and images the published data sets have, to notice an incomplete copy.

RegDB: Nguyen et al., Sensors 2017, with the ten splits in common use: 412 people with ten
    images in each modality, halved.
SYSU-MM01: Wu et al., ICCV 2017, and the protocol of the SALCR paper. The test images of the
    visible cameras are published as places in the single-shot gallery only: one for each
    identity and camera that saw it, 301.
LLCM: Zhang and Wang, CVPR 2023, section 4: 46,767 images of 1,064 people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from salcr.datasets.records import Record


class Count(NamedTuple):
    """What one modality of one split holds; None is not checked."""

    identities: int
    images: int | None = None
    places: int | None = None
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
        ("test", "visible"): Count(96, places=301),
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
# Different images of a modality in all trials together: RegDB's trials share 412 people.
DIFFERENT_IMAGES = {"regdb": 4120}


def deviations(layout: str, records: Sequence[Record]) -> list[str]:
    """Return in words where a data set differs from the published one; empty if nowhere."""
    trials = sorted({record.trial for record in records})
    found = []
    if trials != list(range(1, TRIALS[layout] + 1)):
        found.append(f"trials {trials}, published: 1 to {TRIALS[layout]}")
    grouped: dict[tuple[int, str, str], list[Record]] = {}
    for record in records:
        grouped.setdefault((record.trial, record.split, record.modality), []).append(record)
    for trial in trials:
        for (split, modality), published in PUBLISHED[layout].items():
            group = grouped.get((trial, split, modality), [])
            found += [
                f"trial {trial}, {split}, {modality}: {words}"
                for words in _differences(_count(group), published)
            ]
    if (wanted := DIFFERENT_IMAGES.get(layout)) is not None:
        for modality in ("visible", "infrared"):
            number = len({record.file for record in records if record.modality == modality})
            if number != wanted:
                found.append(f"all trials, {modality}: {number} images, published: {wanted}")
    return found


def _count(records: Sequence[Record]) -> Count:
    return Count(
        identities=len({record.identity for record in records}),
        images=len(records),
        places=len({(record.identity, record.camera) for record in records}),
    )


def _differences(count: Count, published: Count) -> list[str]:
    words = ("identities", "images", "pairs of identity and camera")
    return [
        f"{number} {word}, published: {wanted}"
        for number, wanted, word in zip(count, published, words, strict=True)
        if wanted is not None and number != wanted
    ]
