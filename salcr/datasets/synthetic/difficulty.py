"""People that are harder to recognize: look-alikes, and cues that only one modality shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from salcr.datasets.synthetic.people import Person, sample_person
from salcr.types import MODALITIES

STRIPES = ("head", "torso", "legs")
# Names of a stripe's cues: in the shape, among the surfaces, and its print.
_SHAPES = {"head": ("hair", "hat"), "torso": ("sleeve_share",), "legs": ("trouser_share", "skirt")}
_SURFACES = {"head": ("hair", "hat"), "torso": ("top",), "legs": ("trousers", "shoes")}
_PRINTS: dict[str, tuple[str, ...]] = {
    "head": (), "torso": ("top_print",), "legs": ("trouser_print",),
}  # fmt: skip


def resemble(person: Person, rng: np.random.Generator) -> Person:
    """Return a person who differs in the cues of one random horizontal stripe only.

    The stripes are the head with hair and hat; the torso with the top, whatever it covers, and
    the sleeves; the legs with trousers or skirt and shoes. Body, skin, bag and heat spots are the
    same. At least one cue differs that is visible in both modalities.

    Args:
        person: whom to resemble.
        rng: source of the stripe and of its cues.
    """
    stripe = STRIPES[rng.integers(len(STRIPES))]
    other = sample_person(rng)
    while _forms(other, stripe) == _forms(person, stripe):
        other = sample_person(rng)
    return replace(
        person,
        shape=replace(
            person.shape, **{name: getattr(other.shape, name) for name in _SHAPES[stripe]}
        ),
        surfaces={**person.surfaces, **{name: other.surfaces[name] for name in _SURFACES[stripe]}},
        **{name: getattr(other, name) for name in _PRINTS[stripe]},
    )


def hide_cues(person: Person, *, modality: str, share: float, rng: np.random.Generator) -> Person:
    """Return a person with the cues that one modality shows.

    Bag, hat, hair and the two prints are each in one random modality only with probability `share`.
    The other one shows no bag, no hat, short hair or a plain garment instead.

    Args:
        person: all cues.
        modality: "visible" or "infrared".
        share: probability of a cue to be in one modality only, in [0, 1].
        rng: of the person, with the same state for both modalities.
    """
    is_private, owner = rng.random(5) < share, rng.integers(2, size=5)
    bag, hat, hair, top, trousers = is_private & (owner != MODALITIES.index(modality))
    shape, plain = person.shape, "plain"
    return replace(
        person,
        shape=replace(
            shape,
            bag="none" if bag else shape.bag,
            hat="none" if hat else shape.hat,
            hair="short" if hair else shape.hair,
        ),
        top_print=replace(person.top_print, kind=plain) if top else person.top_print,
        trouser_print=replace(person.trouser_print, kind=plain)
        if trousers
        else person.trouser_print,
    )


def _forms(person: Person, stripe: str) -> list[object]:
    """Return the cues of a stripe that do not depend on the modality."""
    prints = [getattr(person, name).kind for name in _PRINTS[stripe]]
    return [*prints, *(getattr(person.shape, name) for name in _SHAPES[stripe])]
