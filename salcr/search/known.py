"""Features of an older index, so that pictures that it holds are not embedded again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from salcr import codehash
from salcr.errors import SalcrError
from salcr.search import index
from salcr.search.images import Picture
from salcr.types import Floats

AUTO = "auto"
"""Modality of a folder whose pictures are guessed one by one."""


class Embedded(NamedTuple):
    """A picture whose feature is known."""

    features: Floats
    """[N, C], memory-mapped: a million features would not fit into memory."""
    row: int
    """Its own among them."""
    modality: str
    guessed: bool

    @property
    def feature(self) -> Floats:
        """Return its feature, [C]."""
        return np.array(self.features[self.row])


Read = Picture | Embedded | str
"""A picture, decoded or known, or the reason why a file is not one."""


class Known(NamedTuple):
    """Features by the content of a file and the modality that it is said to have."""

    features: Floats
    """[N, C], memory-mapped."""
    rows: dict[tuple[bytes, str], int]
    """SHA-256 of a file and its modality, or "auto" where it was guessed -> row."""
    modality: list[str]
    """[N]."""

    def find(self, digest: str, modality: str) -> Embedded | None:
        """Return a picture, if its feature is known.

        Args:
            digest: of its file, in hexadecimal.
            modality: that it is said to have, or "auto".
        """
        row = self.rows.get((bytes.fromhex(digest), modality))
        if row is None:
            return None
        return Embedded(self.features, row, self.modality[row], modality == AUTO)


def origin_of(summary: dict[str, Any]) -> str:
    """Return a hash of all that features depend on beside the pictures."""
    kept = {key: summary[key] for key in ("checkpoint", "image_size", "numerics", "device")}
    origin = [kept, codehash.stage_hash("embed"), str(torch.__version__)]
    return hashlib.sha256(json.dumps(origin).encode()).hexdigest()


def read_known(folder: Path, origin: str) -> Known:
    """Return the features of an index; none if it is not there, damaged, or of another origin.

    Args:
        folder: of the index.
        origin: what `origin_of` returns for the features that are wanted.
    """
    nothing = Known(np.empty((0, 0), np.float32), {}, [])
    try:
        summary = index.read_summary(folder)
        if summary.get("origin") != origin:
            return nothing
        images = index.read_images(folder, summary)
        features = index.read_features(folder, summary)
        digests = index.read_digests(folder, summary)
    except SalcrError:
        return nothing
    if not len(features) == len(digests) == len(images):
        return nothing
    words = summary["modalities"]
    modality = images["modality"].tolist()
    rows: dict[tuple[bytes, str], int] = {}
    for row, (digest, number) in enumerate(zip(digests, images["folder"], strict=True)):
        content = digest.tobytes()
        rows.setdefault((content, modality[row]), row)
        if words[number] == AUTO:
            rows.setdefault((content, AUTO), row)
    return Known(features, rows, modality)
