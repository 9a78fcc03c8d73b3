"""How a data set is evaluated: queries, gallery, and the gallery images that are excluded."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from salcr.types import Integers


class Setting(NamedTuple):
    """One evaluation setting, such as RegDB's visible to thermal or SYSU-MM01's all search."""

    name: str
    query: str
    """Modality of the queries."""
    gallery: str
    """Modality of the gallery."""
    cameras: tuple[int, ...] | None = None
    """Cameras of the gallery, None for all."""
    shots: int | None = None
    """Gallery images of each identity in each camera, sampled at random; None for all images."""
    draws: int = 1
    """Number of random galleries to average over."""
    identity_once: bool = False
    """Whether the CMC counts each identity of the gallery once instead of each image."""
    excludes: Callable[[Annotations, Annotations], NDArray[np.bool_]] | None = None
    """Returns which gallery images, [Q, G], are excluded for each query."""


class Annotations(NamedTuple):
    """Identity and camera of each image."""

    identity: Integers
    """[N]."""
    camera: Integers
    """[N]."""

    def at(self, positions: Integers) -> Annotations:
        """Return the annotations of the images at some positions."""
        return Annotations(self.identity[positions], self.camera[positions])


def sample_gallery(setting: Setting, images: Annotations, draw: int) -> Integers:
    """Return the positions of one random gallery, ascending; the same for equal arguments.

    `shots` images of each identity in each of the setting's cameras are sampled, or all if there
    are fewer. Single-shot galleries are those of the field's code (METHOD 4.2), if the images of
    an identity and camera have the order of their names.

    Args:
        setting: cameras and shots.
        images: annotations of all images of the gallery's modality.
        draw: number of the gallery, which is its seed.

    Returns:
        [G], positions in `images`.
    """
    allowed = np.ones(len(images.camera), dtype=bool)
    if setting.cameras is not None:
        allowed = np.isin(images.camera, setting.cameras)
    positions = np.flatnonzero(allowed)
    if setting.shots is None:
        return positions
    views: dict[tuple[int, int], list[int]] = defaultdict(list)
    for position in positions.tolist():
        views[images.identity[position], images.camera[position]].append(position)
    # A generator of its own has the stream of random.seed(draw) and leaves the global one alone;
    # its samples of one image are those of random.choice.
    generator = random.Random(draw)
    sampled: list[int] = []
    for _, members in sorted(views.items()):
        sampled += generator.sample(members, min(setting.shots, len(members)))
    return np.array(sorted(sampled), dtype=np.int64)
