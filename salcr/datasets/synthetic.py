"""Synthetic data sets: drawn people in the folder layouts of real ones."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from salcr.datasets.people import DEFAULT_HARDNESS, Modality, draw_person, render
from salcr.errors import SalcrError
from salcr.logs import progress

_MODALITIES: tuple[Modality, Modality] = ("visible", "infrared")
# RegDB's words for the two modalities
_FOLDERS = {"visible": "Visible", "infrared": "Thermal"}
_WORDS = {"visible": "visible", "infrared": "thermal"}
_SEED_OF_PERSON, _SEED_OF_IMAGE, _SEED_OF_SPLIT = range(3)


def synthesize_regdb(
    out: Path,
    *,
    num_identities: int,
    images_per_identity: int,
    num_trials: int,
    seed: int,
    hardness: float = DEFAULT_HARDNESS,
    height: int = 96,
    width: int = 48,
) -> None:
    """Write a data set in RegDB's layout, see `salcr.datasets.regdb`.

    A person and each image depend on the seed and their number alone, not on how many there are.
    Every trial halves the identities anew into train and test. The folder appears when it is
    complete.

    Args:
        out: folder to make; may exist if it is empty.
        num_identities: people, at least 4.
        images_per_identity: images of a person in each modality, at least 2.
        num_trials: splits, at least 1.
        seed: of everything random.
        hardness: share of surfaces whose brightness the modalities do not share, in [0, 1].
        height: image height in pixels.
        width: image width in pixels.

    Raises:
        SalcrError: the folder holds something.
        ValueError: too few identities, images or trials.
    """
    if num_identities < 4 or images_per_identity < 2 or num_trials < 1:
        raise ValueError("wanted: at least 4 identities, 2 images of each and 1 trial")
    if out.exists() and any(out.iterdir()):
        raise SalcrError(f"{out}: is not empty; name a new folder with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        whole = Path(name) / out.name
        for identity in progress(range(num_identities), title="people", total=num_identities):
            for modality in _MODALITIES:
                images = _images(
                    seed, identity, modality, images_per_identity, hardness, (height, width)
                )
                for index, image in enumerate(images):
                    path = whole / _image_name(modality, identity, index)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(image).save(path)
        for trial in range(1, num_trials + 1):
            _write_split(whole / "idx", trial, num_identities, images_per_identity, seed)
        if out.exists():
            out.rmdir()
        shutil.move(whole, out)


def _images(
    seed: int,
    identity: int,
    modality: Modality,
    count: int,
    hardness: float,
    size: tuple[int, int],
) -> Iterator[NDArray[np.uint8]]:
    """Yield `count` images of one person in one modality."""
    person = draw_person(np.random.default_rng([seed, _SEED_OF_PERSON, identity]))
    side = _MODALITIES.index(modality)
    for index in range(count):
        rng = np.random.default_rng([seed, _SEED_OF_IMAGE, identity, side, index])
        yield render(
            person, modality=modality, rng=rng, height=size[0], width=size[1], hardness=hardness
        )


def _image_name(modality: str, identity: int, index: int) -> str:
    return f"{_FOLDERS[modality]}/{identity + 1}/{_WORDS[modality]}_{index + 1:05d}.bmp"


def _write_split(
    folder: Path, trial: int, num_identities: int, images_per_identity: int, seed: int
) -> None:
    folder.mkdir(exist_ok=True)
    order = np.random.default_rng([seed, _SEED_OF_SPLIT, trial]).permutation(num_identities)
    halves = {"train": order[: num_identities // 2], "test": order[num_identities // 2 :]}
    for split, identities in halves.items():
        for modality in _MODALITIES:
            lines = [
                f"{_image_name(modality, int(identity), index)} {label}\n"
                for label, identity in enumerate(identities)
                for index in range(images_per_identity)
            ]
            path = folder / f"{split}_{_WORDS[modality]}_{trial}.txt"
            path.write_text("".join(lines))
