"""How a data set is evaluated: who asks, what the gallery is, what is left out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from salcr.types import Integers


class Setting(NamedTuple):
    """One row of a results table, such as RegDB's visible to thermal or SYSU-MM01's all search."""

    name: str
    query: str
    """Modality of the queries."""
    gallery: str
    """Modality of the gallery."""
    cameras: tuple[int, ...] | None = None
    """Cameras of the gallery, None for all."""
    shots: int | None = None
    """SearchIndex images of each identity in each camera, drawn at random; None for all images."""
    draws: int = 1
    """Random galleries to average over."""
    identity_once: bool = False
    """The CMC counts an identity of the gallery once, not each of its images."""
    excludes: Callable[[Annotations, Annotations], NDArray[np.bool_]] | None = None
    """Tells which gallery images, [Q, G], a query must not see."""


class Annotations(NamedTuple):
    """Who is on the images and which camera took them, [N] each."""

    identity: Integers
    camera: Integers

    def at(self, positions: Integers) -> Annotations:
        """Return those of some images."""
        return Annotations(self.identity[positions], self.camera[positions])


def sample_gallery(setting: Setting, images: Annotations, draw: int) -> Integers:
    """Return the positions of one random gallery, ascending; the same for equal arguments.

    Of each identity in each of the setting's cameras `shots` images are drawn, all where there
    are fewer.

    Args:
        setting: cameras and shots.
        images: of the gallery's modality.
        draw: number of the draw, which seeds it.
    """
    allowed = np.ones(len(images.camera), dtype=bool)
    if setting.cameras is not None:
        allowed = np.isin(images.camera, setting.cameras)
    positions = np.flatnonzero(allowed)
    if setting.shots is None:
        return positions
    places = np.stack([images.identity[positions], images.camera[positions]])
    _, place = np.unique(places, axis=1, return_inverse=True)
    # In a random order, the first `shots` images of each place.
    order = np.random.default_rng(draw).permutation(len(positions))
    by_place = order[np.argsort(place[order], kind="stable")]
    ordered = place[by_place]
    turn = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    return np.sort(positions[by_place[turn < setting.shots]])
