"""How a data set is evaluated: queries, gallery, excluded gallery images, and whether it can be."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from salcr.errors import SalcrError
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


def check_evaluation(
    settings: Iterable[Setting], test: Mapping[str, Annotations], place: str
) -> None:
    """Refuse test images that cannot be evaluated by a protocol.

    Args:
        settings: of the protocol.
        test: modality -> annotations of all test images.
        place: data set and trial, for the message.

    Raises:
        SalcrError: fewer than two people are in both modalities, or in a random gallery of a
            setting, no query has an image of its person that is not excluded.
    """
    if len(np.intersect1d(test["visible"].identity, test["infrared"].identity)) < 2:
        raise SalcrError(
            f"{place}: fewer than two people are in the test images of both modalities, so that "
            "there is nothing to evaluate; add test images"
        )
    for setting in settings:
        query, images = _views(test[setting.query]), test[setting.gallery]
        for draw in range(setting.draws):
            gallery = _views(images.at(sample_gallery(setting, images, draw)))
            matches = query.identity[:, None] == gallery.identity
            if setting.excludes is not None:
                matches &= ~setting.excludes(query, gallery)
            if not matches.any():
                cameras = ", ".join(map(str, setting.cameras or ()))
                images_of = f"{setting.gallery} images{cameras and f' of cameras {cameras}'}"
                raise SalcrError(
                    f"{place}: {setting.name}, draw {draw}, cannot be evaluated: the {images_of} "
                    f"have no match for any {setting.query} test image, apart from matches that "
                    "the protocol excludes; add test images of more cameras or people"
                )


def _views(images: Annotations) -> Annotations:
    """Return the distinct pairs of identity and camera, on which exclusions depend."""
    return Annotations(*np.unique(np.stack(images), axis=1))
