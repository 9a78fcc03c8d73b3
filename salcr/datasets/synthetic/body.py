"""The shape of a synthetic person: cues of body and clothing, pose, and the map of parts.

A person is drawn as a map of parts (skin, top, trousers, ...) and not as colors, because the
visible and the infrared images of one person have the shape in common; `people.py` colors the
map for each modality.

Body coordinates: x runs forward from the body's axis, y runs down from the crown (0) to the
soles (1); both are in units of the body's height.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Point = tuple[float, float]

BAGS = ("none", "backpack", "shoulder bag", "handbag", "suitcase")
HATS = ("none", "cap", "brim", "beanie")
HAIRS = ("bald", "short", "long", "bun")
SLEEVE_SHARES = (0.3, 0.6, 1.0)  # share of the arm that the sleeve covers
TROUSER_SHARES = (0.4, 0.68, 1.0)  # share of the leg that the trousers cover
HEMS = (0.49, 0.58, 0.69)  # y where the top ends: jumper, jacket, coat


class Part(IntEnum):
    """Values of the map of parts."""

    BACKGROUND = 0
    SKIN = 1
    HAIR = 2
    HAT = 3
    TOP = 4
    SLEEVE = 5
    TROUSERS = 6
    FAR_TROUSERS = 7
    SHOES = 8
    BAG = 9


@dataclass(frozen=True)
class Shape:
    """Cues of body and clothing that are visible in both modalities."""

    height: float  # share of the image's height
    build: float  # width relative to the average person
    sleeve_share: float
    trouser_share: float
    hem: float
    skirt: bool
    bag: str
    hat: str
    hair: str


@dataclass(frozen=True)
class Pose:
    """Properties that vary between the images of a person and do not identify them."""

    facing: int  # +1 walks to the right, -1 to the left
    stride: float  # angle of the near leg in radians; the far leg mirrors it
    knee_bend: float
    arm_swing: float
    elbow_bend: float
    scale: float
    shift: Point  # in shares of the image's width and height


@dataclass(frozen=True)
class Frame:
    """The position of the body in the image: maps body coordinates to pixels and back."""

    axis: float
    crown: float
    size: float
    facing: int

    def to_pixels(self, points: Sequence[Point]) -> list[Point]:
        """Return the points as (column, row) in pixels."""
        step = self.facing * self.size
        return [(self.axis + step * x, self.crown + self.size * y) for x, y in points]

    def grid(self, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return body x as [1, width] and body y as [height, 1] of all pixel columns and rows."""
        columns = np.arange(width, dtype=np.float32)[None, :]
        rows = np.arange(height, dtype=np.float32)[:, None]
        x = (columns - np.float32(self.axis)) / np.float32(self.facing * self.size)
        return x, (rows - np.float32(self.crown)) / np.float32(self.size)


def sample_shape(rng: np.random.Generator) -> Shape:
    """Return random body and clothing of one identity."""
    return Shape(
        height=float(rng.uniform(0.74, 0.93)),
        build=float(rng.uniform(0.8, 1.3)),
        sleeve_share=float(rng.choice(SLEEVE_SHARES)),
        trouser_share=float(rng.choice(TROUSER_SHARES)),
        hem=float(rng.choice(HEMS)),
        skirt=bool(rng.random() < 0.25),
        bag=str(rng.choice(BAGS)),
        hat=str(rng.choice(HATS)),
        hair=str(rng.choice(HAIRS)),
    )


def sample_pose(rng: np.random.Generator) -> Pose:
    """Return random pose and position of one image."""
    return Pose(
        facing=1 if rng.random() < 0.5 else -1,
        stride=float(rng.uniform(-0.25, 0.25)),
        knee_bend=float(rng.uniform(0.0, 0.35)),
        arm_swing=float(rng.uniform(-0.2, 0.2)),
        elbow_bend=float(rng.uniform(0.05, 0.3)),
        scale=float(rng.uniform(0.97, 1.03)),
        shift=(float(rng.uniform(-0.04, 0.04)), float(rng.uniform(-0.01, 0.01))),
    )


def place_body(shape: Shape, pose: Pose, height: int, width: int) -> Frame:
    """Return the frame of a body in an image of height x width pixels."""
    size = shape.height * pose.scale * height
    soles = (0.97 + pose.shift[1]) * height
    return Frame((0.5 + pose.shift[0]) * width, soles - size, size, pose.facing)


def draw_parts(
    shape: Shape, pose: Pose, frame: Frame, height: int, width: int
) -> NDArray[np.uint8]:
    """Draw the body from its far side to its near side.

    Returns:
        Map of parts [height, width], values of `Part`.
    """
    sketch = _Sketch(frame, height, width)
    _draw_far_bag(sketch, shape)
    _draw_arm(sketch, shape, 1.0, -pose.arm_swing, pose.elbow_bend)
    _draw_leg(sketch, shape, Part.FAR_TROUSERS, -pose.stride, pose.knee_bend)
    _draw_leg(sketch, shape, Part.TROUSERS, pose.stride, 0.4 * pose.knee_bend)
    _draw_torso(sketch, shape)
    _draw_head(sketch, shape)
    hand = _draw_arm(sketch, shape, -1.0, pose.arm_swing, pose.elbow_bend)
    _draw_near_bag(sketch, shape, hand)
    return np.asarray(sketch.image)


class _Sketch:
    """A map of parts to draw on, in body coordinates."""

    def __init__(self, frame: Frame, height: int, width: int) -> None:
        self.image = Image.new("L", (width, height), int(Part.BACKGROUND))
        self._frame = frame
        self._draw = ImageDraw.Draw(self.image)

    def polygon(self, part: Part, points: Sequence[Point]) -> None:
        """Fill a polygon."""
        self._draw.polygon(self._frame.to_pixels(points), fill=int(part))

    def ellipse(self, part: Part, center: Point, radii: Point) -> None:
        """Fill an upright ellipse."""
        ((column, row),) = self._frame.to_pixels([center])
        across, down = radii[0] * self._frame.size, radii[1] * self._frame.size
        box = (column - across, row - down, column + across, row + down)
        self._draw.ellipse(box, fill=int(part))

    def box(self, part: Part, left: float, top: float, right: float, bottom: float) -> None:
        """Fill an upright rectangle."""
        self.polygon(part, [(left, top), (right, top), (right, bottom), (left, bottom)])

    def limb(self, part: Part, points: Sequence[Point], thickness: float) -> None:
        """Draw a thick line with round joints and ends."""
        pixels = self._frame.to_pixels(points)
        self._draw.line(pixels, fill=int(part), width=max(1, round(thickness * self._frame.size)))
        for point in points:
            self.ellipse(part, point, (thickness / 2, thickness / 2))


def _step(start: Point, angle: float, length: float) -> Point:
    """Return the point at a distance; angle 0 points down, positive angles point forward."""
    return start[0] + length * math.sin(angle), start[1] + length * math.cos(angle)


def _first_share(points: Sequence[Point], share: float) -> list[Point]:
    """Return the beginning of a line through three points that are equally far apart."""
    start, joint, end = points
    if share <= 0.5:
        part = 2 * share
        return [
            start,
            (start[0] + part * (joint[0] - start[0]), start[1] + part * (joint[1] - start[1])),
        ]
    part = 2 * share - 1
    return [
        start,
        joint,
        (joint[0] + part * (end[0] - joint[0]), joint[1] + part * (end[1] - joint[1])),
    ]


def _draw_arm(sketch: _Sketch, shape: Shape, side: float, swing: float, bend: float) -> Point:
    """Draw one arm (side +1: in front of the body's axis, -1: behind) and return its hand."""
    shoulder = (side * 0.118 * shape.build, 0.195)
    # The arms point slightly outwards, so that they do not cover the print on the chest.
    elbow = _step(shoulder, swing + side * 0.14, 0.155)
    hand = _step(elbow, swing + side * 0.14 + bend, 0.155)
    points = [shoulder, elbow, hand]
    sketch.limb(Part.SKIN, points, 0.044 * shape.build)
    sketch.ellipse(Part.SKIN, hand, (0.026, 0.028))
    sketch.limb(Part.SLEEVE, _first_share(points, shape.sleeve_share), 0.062 * shape.build)
    return hand


def _draw_leg(sketch: _Sketch, shape: Shape, part: Part, stride: float, bend: float) -> None:
    """Draw one leg with its trousers (none below a skirt) and shoe."""
    side = 0.04 if part == Part.TROUSERS else -0.04
    hip = (side * shape.build, 0.5)
    knee = _step(hip, stride, 0.23)
    # The knee bends backwards only.
    ankle = _step(knee, stride - bend, 0.23)
    sketch.limb(Part.SKIN, [hip, knee, ankle], 0.058 * shape.build)
    sketch.ellipse(Part.SHOES, (ankle[0] + 0.022, ankle[1] + 0.018), (0.052, 0.026))
    if not shape.skirt:
        covered = _first_share([hip, knee, ankle], shape.trouser_share)
        sketch.limb(part, covered, 0.086 * shape.build)


def _draw_torso(sketch: _Sketch, shape: Shape) -> None:
    """Draw the hips or the skirt, the top down to its hem, and the neck."""
    build = shape.build
    if shape.skirt:
        bottom = 0.5 + 0.33 * shape.trouser_share
        flare = (0.11 + 0.09 * shape.trouser_share) * build
        waist = 0.09 * build
        sketch.polygon(
            Part.TROUSERS, [(-waist, 0.44), (waist, 0.44), (flare, bottom), (-flare, bottom)]
        )
    else:
        sketch.box(Part.TROUSERS, -0.088 * build, 0.42, 0.088 * build, 0.53)
    sketch.limb(Part.SKIN, [(0.0, 0.12), (0.0, 0.175)], 0.055)
    shoulder, waist, hem = 0.125 * build, 0.1 * build, (0.1 + 0.13 * (shape.hem - 0.42)) * build
    half = [(0.035, 0.16), (shoulder, 0.178), (waist, 0.4), (hem, shape.hem)]
    sketch.polygon(Part.TOP, half + [(-x, y) for x, y in reversed(half)])


def _draw_head(sketch: _Sketch, shape: Shape) -> None:
    """Draw hair, face and hat."""
    if shape.hair == "long":
        sketch.box(Part.HAIR, -0.068, 0.07, 0.02, 0.225)
    if shape.hair == "bun":
        sketch.ellipse(Part.HAIR, (-0.075, 0.05), (0.035, 0.035))
    sketch.ellipse(Part.SKIN if shape.hair == "bald" else Part.HAIR, (-0.008, 0.07), (0.062, 0.07))
    sketch.ellipse(Part.SKIN, (0.014, 0.088), (0.046, 0.06))
    if shape.hat == "cap":
        sketch.box(Part.HAT, 0.0, 0.038, 0.125, 0.056)
    if shape.hat == "brim":
        sketch.ellipse(Part.HAT, (0.0, 0.05), (0.13, 0.018))
        sketch.box(Part.HAT, -0.052, -0.035, 0.052, 0.05)
    if shape.hat in ("cap", "beanie"):
        sketch.polygon(Part.HAT, _dome(0.068, 0.058, 0.075))
    if shape.hat == "beanie":
        sketch.ellipse(Part.HAT, (0.0, -0.028), (0.03, 0.03))


def _dome(radius: float, bottom: float, rise: float) -> list[Point]:
    """Return the outline of the upper half of an ellipse."""
    angles = [math.pi * step / 12 for step in range(13)]
    return [(radius * math.cos(angle), bottom - rise * math.sin(angle)) for angle in angles]


def _draw_far_bag(sketch: _Sketch, shape: Shape) -> None:
    """Draw the bags behind the body."""
    if shape.bag == "backpack":
        sketch.ellipse(Part.BAG, (-0.135 * shape.build - 0.02, 0.31), (0.085, 0.135))
    if shape.bag == "suitcase":
        sketch.limb(Part.BAG, [(-0.16, 0.5), (-0.21, 0.72)], 0.016)
        sketch.box(Part.BAG, -0.29, 0.7, -0.12, 0.985)


def _draw_near_bag(sketch: _Sketch, shape: Shape, hand: Point) -> None:
    """Draw the bags and straps in front of the body; `hand` is the near hand."""
    shoulder = 0.09 * shape.build
    if shape.bag == "backpack":
        sketch.limb(Part.BAG, [(-0.5 * shoulder, 0.175), (-0.6 * shoulder, 0.36)], 0.024)
    if shape.bag == "shoulder bag":
        sketch.limb(Part.BAG, [(-shoulder, 0.175), (shoulder, 0.47)], 0.022)
        sketch.box(Part.BAG, shoulder - 0.05, 0.44, shoulder + 0.085, 0.57)
    if shape.bag == "handbag":
        sketch.limb(Part.BAG, [hand, (hand[0], hand[1] + 0.06)], 0.02)
        sketch.box(Part.BAG, hand[0] - 0.075, hand[1] + 0.05, hand[0] + 0.075, hand[1] + 0.18)
