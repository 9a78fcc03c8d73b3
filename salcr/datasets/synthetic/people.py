"""Synthetic people: sample the cues of an identity and render them in either modality.

Body, shape of the clothing and prints are visible in both modalities. Only visible images have
color (three hues and a tint, because with more of them color alone would identify people); only
infrared images have temperatures and heat spots.

`hardness` in [0, 1] determines the difference between the modalities; difficulty.py can also hide
cues from one of them. It is the share of a person's surfaces (top, trousers, hat, ...) and prints
whose visible brightness is independent of the infrared one: at 0 the infrared image has the order
of dark and bright and the polarity of prints of the gray visible image, at 1 the two are
independent. The infrared image does not depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salcr.datasets.synthetic.body import (
    Frame,
    Part,
    Shape,
    draw_parts,
    place_body,
    sample_pose,
    sample_shape,
)
from salcr.datasets.synthetic.scene import (
    DEFAULT_OCCLUSION,
    PRINTS,
    FloatArray,
    expose,
    misalign,
    occlude,
    print_mask,
    reduce_image,
    render_background,
)

DEFAULT_HARDNESS = 0.25
OVERSAMPLING = 3  # rendered this much larger, then averaged, for smooth edges
PRINT_CONTRAST = 0.34
TROUSER_PRINTS = ("plain", "horizontal", "vertical", "checks")
LUMINANCE = np.array([0.299, 0.587, 0.114])
HUES = np.array([[0.75, 0.25, 0.2], [0.2, 0.6, 0.25], [0.2, 0.3, 0.85]])
SKIN_COLOR = np.array([0.75, 0.5, 0.38])

# Ranges of brightness of each surface. In infrared, skin is warm and clothes are between it and
# the cool background; a visible brightness that is independent is from the second range.
INFRARED_RANGE = {
    "skin": (0.9, 1.0),
    "hair": (0.3, 0.7),
    "hat": (0.25, 0.7),
    "top": (0.32, 0.75),
    "trousers": (0.32, 0.75),
    "shoes": (0.2, 0.5),
    "bag": (0.2, 0.6),
}
FREE_VISIBLE_RANGE = dict.fromkeys(INFRARED_RANGE, (0.2, 0.8)) | {"skin": (0.4, 0.8)}
# The background is independent of the person: its brightness is random in every image.
BACKGROUND_RANGE = {"visible": (0.37, 0.43), "infrared": (0.08, 0.12)}
SURFACE_OF_PART = {
    Part.SKIN: "skin",
    Part.HAIR: "hair",
    Part.HAT: "hat",
    Part.TOP: "top",
    Part.SLEEVE: "top",
    Part.TROUSERS: "trousers",
    Part.FAR_TROUSERS: "trousers",
    Part.SHOES: "shoes",
    Part.BAG: "bag",
}
# Limbs are slightly darker than the body, so that they remain visible in front of it.
SHADE_OF_PART = {Part.SLEEVE: 0.85, Part.FAR_TROUSERS: 0.82}


@dataclass(frozen=True)
class Surface:
    """Brightness and color of one surface of a person."""

    infrared_tone: float
    free_visible_tone: float
    freedom: float  # above this hardness the visible tone is independent of the infrared one
    color_shift: tuple[float, float, float]  # added to a visible gray; keeps its luminance

    def tone(self, modality: str, hardness: float) -> float:
        """Return the brightness in [0, 1]."""
        is_free = modality == "visible" and self.freedom < hardness
        return self.free_visible_tone if is_free else self.infrared_tone


@dataclass(frozen=True)
class Print:
    """Pattern on a garment."""

    kind: str  # one of scene.PRINTS, or "plain"
    period: float  # in body heights
    infrared_sign: int  # +1: the printed half is the bright one; -1: the dark one
    free_visible_sign: int
    freedom: float  # as for `Surface`

    def sign(self, modality: str, hardness: float) -> int:
        """Return the print's polarity, +1 or -1."""
        is_free = modality == "visible" and self.freedom < hardness
        return self.free_visible_sign if is_free else self.infrared_sign


@dataclass(frozen=True)
class HeatSpot:
    """A warm or cool spot on the body, in infrared images only."""

    x: float
    y: float
    radius: float
    strength: float


@dataclass(frozen=True)
class Person:
    """All cues of one identity."""

    shape: Shape
    surfaces: Mapping[str, Surface]
    top_print: Print
    trouser_print: Print
    heat_spots: tuple[HeatSpot, ...]


def sample_person(rng: np.random.Generator) -> Person:
    """Return a random identity."""
    return Person(
        shape=sample_shape(rng),
        surfaces={name: _sample_surface(name, rng) for name in INFRARED_RANGE},
        top_print=_sample_print(PRINTS, rng),
        trouser_print=_sample_print(TROUSER_PRINTS, rng),
        heat_spots=tuple(_sample_heat_spot(rng) for _ in range(3)),
    )


def render(
    person: Person,
    *,
    modality: str,
    rng: np.random.Generator,
    height: int = 96,
    width: int = 48,
    hardness: float = DEFAULT_HARDNESS,
    occlusion: float = DEFAULT_OCCLUSION,
    misalignment: float = 0.0,
) -> NDArray[np.uint8]:
    """Render one image of a person.

    Args:
        person: cues of the identity.
        modality: "visible" or "infrared".
        rng: source of pose, background and noise.
        height: image height in pixels.
        width: image width in pixels.
        hardness: difference between the modalities, in [0, 1].
        occlusion: probability that an object covers part of the person.
        misalignment: largest error of position and size of the detector box; see `misalign`.

    Returns:
        Image [height, width, 3], values 0 .. 255; infrared images have three equal channels.

    Raises:
        ValueError: the modality is unknown or `hardness` is not in [0, 1].
    """
    if modality not in ("visible", "infrared"):
        raise ValueError(f"modality must be 'visible' or 'infrared', got {modality!r}")
    if not 0 <= hardness <= 1:
        raise ValueError(f"hardness must be in [0, 1], got {hardness}")
    large_height, large_width = height * OVERSAMPLING, width * OVERSAMPLING
    pose = sample_pose(rng)
    frame = place_body(person.shape, pose, large_height, large_width)
    # Of a stream of its own: whatever the box is, pose, background and noise are the same.
    (box_rng,) = rng.spawn(1)
    frame = misalign(frame, misalignment, large_height, large_width, box_rng)
    parts = draw_parts(person.shape, pose, frame, large_height, large_width)
    palette = _palette(person, modality, hardness)
    figure = palette[parts] + _relief(person, parts, frame, modality, hardness)[:, :, None]
    is_body = (parts != Part.BACKGROUND)[:, :, None]
    coverage = reduce_image(is_body.astype(np.float32), OVERSAMPLING)
    tone = np.float32(rng.uniform(*BACKGROUND_RANGE[modality])) * np.ones_like(palette[0])
    background = render_background(tone, height, width, rng)
    image = reduce_image(figure * is_body, OVERSAMPLING) + (1 - coverage) * background
    exposed = expose(occlude(image, occlusion, rng), rng)
    return np.repeat(exposed, 3, axis=2) if modality == "infrared" else exposed


def _sample_surface(name: str, rng: np.random.Generator) -> Surface:
    """Return a surface with tones from the ranges of its name."""
    if name == "skin":
        color, strength, tint = SKIN_COLOR, 0.6, rng.normal(0.0, 0.02, size=3)
    else:
        color = HUES[rng.integers(len(HUES))]
        strength, tint = 0.6, rng.normal(0.0, 0.05, size=3)
    shift = strength * color + tint
    shift = shift - LUMINANCE @ shift
    return Surface(
        infrared_tone=float(rng.uniform(*INFRARED_RANGE[name])),
        free_visible_tone=float(rng.uniform(*FREE_VISIBLE_RANGE[name])),
        freedom=float(rng.random()),
        color_shift=(float(shift[0]), float(shift[1]), float(shift[2])),
    )


def _sample_print(kinds: tuple[str, ...], rng: np.random.Generator) -> Print:
    """Return a print of one of the kinds."""
    return Print(
        kind=str(rng.choice(kinds)),
        # From the finest pattern that 96 rows can resolve to three stripes on a top.
        period=float(np.exp(rng.uniform(np.log(0.06), np.log(0.125)))),
        infrared_sign=1 if rng.random() < 0.5 else -1,
        free_visible_sign=1 if rng.random() < 0.5 else -1,
        freedom=float(rng.random()),
    )


def _sample_heat_spot(rng: np.random.Generator) -> HeatSpot:
    """Return a random spot between shoulders and thighs."""
    return HeatSpot(
        x=float(rng.uniform(-0.1, 0.1)),
        y=float(rng.uniform(0.2, 0.7)),
        radius=float(rng.uniform(0.03, 0.07)),
        strength=float(rng.uniform(-0.15, 0.2)),
    )


def _palette(person: Person, modality: str, hardness: float) -> FloatArray:
    """Return the flat color of each part, [parts, channels]; the background stays black."""
    colors = [[0.0, 0.0, 0.0] if modality == "visible" else [0.0]]
    for part in list(Part)[1:]:
        surface = person.surfaces[SURFACE_OF_PART[part]]
        tone = surface.tone(modality, hardness) * SHADE_OF_PART.get(part, 1.0)
        if modality == "visible":
            colors.append([tone + shift for shift in surface.color_shift])
        else:
            colors.append([tone])
    return np.array(colors, dtype=np.float32)


def _relief(
    person: Person, parts: NDArray[np.uint8], frame: Frame, modality: str, hardness: float
) -> FloatArray:
    """Return the brightness that prints and heat spots add, [height, width]."""
    x, y = frame.grid(*parts.shape)
    relief = np.zeros(parts.shape, dtype=np.float32)
    garments = (
        (person.top_print, Part.TOP, Part.SLEEVE),
        (person.trouser_print, Part.TROUSERS, Part.FAR_TROUSERS),
    )
    for garment_print, part, other_part in garments:
        if garment_print.kind == "plain":
            continue
        contrast = np.float32(PRINT_CONTRAST * garment_print.sign(modality, hardness))
        mask = print_mask(garment_print.kind, garment_print.period, x, y)
        is_garment = (parts == part) | (parts == other_part)
        relief += is_garment * (mask - np.float32(0.5)) * contrast
    if modality == "infrared":
        for spot in person.heat_spots:
            width = np.float32(2 * spot.radius**2)
            across, down = (
                np.exp(-((x - spot.x) ** 2) / width),
                np.exp(-((y - spot.y) ** 2) / width),
            )
            relief += np.float32(spot.strength) * across * down
    return relief
