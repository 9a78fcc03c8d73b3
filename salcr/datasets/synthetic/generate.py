"""Synthetic data sets: synthetic people in the folder layouts of real data sets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from salcr.atomic import follow_link, temporary_folder
from salcr.datasets.synthetic.difficulty import hide_cues, resemble
from salcr.datasets.synthetic.layouts import LAYOUTS, MARK, MARKER, SyntheticLayout
from salcr.datasets.synthetic.people import DEFAULT_HARDNESS, Person, render, sample_person
from salcr.datasets.synthetic.population import People
from salcr.datasets.synthetic.scene import DEFAULT_OCCLUSION
from salcr.errors import SalcrError
from salcr.log import progress
from salcr.types import MODALITIES

# Others: population.py and layouts.py.
_SEED_OF_PERSON, _SEED_OF_IMAGE, _SEED_OF_CAMERA = 0, 1, 4
_SEED_OF_LOOK_ALIKE, _SEED_OF_PRIVATE_CUES = 6, 7

Draw = Callable[..., NDArray[np.uint8]]


def synthesize(
    out: Path,
    *,
    layout: str = "regdb",
    num_identities: int,
    images_per_identity: int,
    num_trials: int,
    seed: int,
    own_people: bool = False,
    hardness: float = DEFAULT_HARDNESS,
    occlusion: float = DEFAULT_OCCLUSION,
    misalignment: float = 0.0,
    private_cues: float = 0.0,
    look_alikes: float = 0.0,
    unpaired: float = 0.0,
    height: int = 96,
    width: int = 48,
) -> None:
    """Write a data set of synthetic people that the reader of a layout accepts.

    A person and each image depend only on the seed and their number, not on how many there are.
    Half of the identities are for training and the others for the test; in RegDB's layout the
    halves are random in every trial, of the same people or of others. The folder appears when it
    is complete.

    Args:
        out: folder to write, or link to it; may exist if it is empty or a synthetic data set.
        layout: a key of `salcr.datasets.synthetic.layouts.LAYOUTS`.
        num_identities: people of a trial, at least 4.
        images_per_identity: images of a person in each modality, at least 2.
        num_trials: splits, at least 1; used in RegDB's layout only, the others have one.
        seed: of all random numbers.
        own_people: whether each trial has people of its own; otherwise all have the same.
        hardness: share of surfaces whose brightness is independent between the modalities.
        occlusion: share of images in which an object covers part of the person.
        misalignment: largest error of position and size of the detector box, in [0, 0.5].
        private_cues: share of bags, hats, hair and prints that one modality alone shows.
        look_alikes: share of people who equal another of their half but for one stripe.
        unpaired: share of a trial's training people with images in one modality only.
        height: image height in pixels.
        width: image width in pixels.

    Raises:
        SalcrError: the folder holds something else than a synthetic data set.
        ValueError: there are too few identities, images or trials.
    """
    if num_identities < 4 or images_per_identity < 2 or num_trials < 1:
        raise ValueError("there must be at least 4 identities, 2 images of each and 1 trial")
    out = follow_link(out)
    _check_replaceable(out)
    people = People(
        num_identities,
        images_per_identity,
        num_trials if layout == "regdb" else 1,
        seed,
        own_people=own_people,
        look_alikes=look_alikes,
        unpaired=unpaired,
    )
    draw = partial(
        render,
        height=height,
        width=width,
        hardness=hardness,
        occlusion=occlusion,
        misalignment=misalignment,
    )
    _write(out, LAYOUTS[layout], people, private_cues, draw)


def _write(
    out: Path, layout: SyntheticLayout, people: People, private_cues: float, draw: Draw
) -> None:
    """Write everything to a temporary folder, then put it in the place of `out`."""
    never_seen = people.never_seen()
    with temporary_folder(out) as folder:
        whole = folder / "new"
        number = len(people.identities)
        for identity in progress(people.identities, title="people", total=number):
            for modality in MODALITIES:
                if identity not in never_seen[modality]:
                    person = make_person(people, identity, modality, private_cues)
                    _write_images(whole, layout, people, identity, modality, partial(draw, person))
        layout.write_splits(whole, people)
        (whole / MARK).write_text(
            "by `salcr synthesize`, which may replace this folder\n", encoding="utf-8"
        )
        if out.exists():
            out.rename(folder / "old")  # where a kill does not leave a part of it
        whole.rename(out)


def _check_replaceable(out: Path) -> None:
    """Refuse a folder that holds anything but what `synthesize` wrote.

    A person's own files may have the same names, hence the mark; and files may have been added to
    a marked folder, hence the names.
    """
    if not out.exists() or not any(out.iterdir()):
        return
    if not any((out / mark).is_file() for mark in (MARK, MARKER)):
        reason = f"is not empty and not by synthesize (it holds no {MARK})"
    else:
        paths = (path for path in out.rglob("*") if path.is_symlink() or not path.is_dir())
        names = {path.relative_to(out).as_posix() for path in paths}
        # The second mark may have been left unfinished.
        names = {name for name in names - {MARK} if not name.lstrip(".").startswith(MARKER)}
        if any(all(map(layout.own_files.fullmatch, names)) for layout in LAYOUTS.values()):
            return
        reason = "is not empty and holds other files than those of synthesize"
    raise SalcrError(
        f"{out}: {reason}; name an empty folder with --out (dataset.root), or delete this one"
    )


def make_person(people: People, identity: int, modality: str, private_cues: float) -> Person:
    """Return the cues of an identity that a modality shows."""
    original = people.original(identity)
    person = sample_person(np.random.default_rng([people.seed, _SEED_OF_PERSON, original]))
    if identity != original:
        rng = np.random.default_rng([people.seed, _SEED_OF_LOOK_ALIKE, identity])
        person = resemble(person, rng)
    # Look-alikes have the same private cues, or else these would tell them apart.
    rng = np.random.default_rng([people.seed, _SEED_OF_PRIVATE_CUES, original])
    return hide_cues(person, modality=modality, share=private_cues, rng=rng)


def _write_images(
    root: Path, layout: SyntheticLayout, people: People, identity: int, modality: str, draw: Draw
) -> None:
    """Write the images of one person in one modality."""
    side = MODALITIES.index(modality)
    for index in range(people.images_per_identity):
        rng = np.random.default_rng([people.seed, _SEED_OF_IMAGE, identity, side, index])
        image = draw(modality=modality, rng=rng)
        camera = layout.camera(people, modality, identity, index)
        if camera is not None:
            image = _through_camera(image, camera, modality, people.seed)
        path = root / layout.image_name(people, modality, identity, index)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(image)
        if camera in layout.enlarged:
            picture = picture.resize((2 * picture.width, 2 * picture.height))
        # Of jpg only: high enough that the artifacts are smaller than the sensor noise.
        picture.save(path, quality=95)


def _through_camera(
    image: NDArray[np.uint8], camera: int, modality: str, seed: int
) -> NDArray[np.uint8]:
    """Return the image as one camera takes it: slightly brighter, darker or tinted."""
    rng = np.random.default_rng([seed, _SEED_OF_CAMERA, camera])
    gain, offset = rng.uniform(0.92, 1.08, size=3), rng.uniform(-8, 8)
    if modality == "infrared":
        gain = gain[:1]  # stays gray
    return np.clip(image * gain + offset + 0.5, 0, 255).astype(np.uint8)
