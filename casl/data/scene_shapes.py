"""Outlines of the things in the built-in scenes, in unit coordinates.

Every drawing fits in about [-1, 1] x [-1, 1], x right and y down, so that one radius in pixels sets its size. Pairs of
classes share a silhouette on purpose (disc and ring, square and pillow, triangle and pentagon): they are easy to find
and hard to tell apart, which is what makes labels worth something.

THINGS are what detectors learn. OTHERS are in scenes that no detector sees: the classifier of crops that stands for
ImageNet learns them, so that no start has been taught the classes that a finetune is about. LOOKALIKES take the place
of THINGS where classes are to be hard to tell apart: pairs of one outline and one hue, with a small hole that is high
in one and low in the other, so that boxes, areas and colours say nothing about which of the two a thing is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

KEYPOINTS = ("head", "neck", "hip", "left_hand", "right_hand", "left_foot", "right_foot")
SKELETON = ((1, 2), (2, 3), (2, 4), (2, 5), (3, 6), (3, 7))  # 1-based, as COCO writes it
FLIP_PAIRS = ((3, 4), (5, 6))  # 0-based: which keypoints trade places in a mirror image


@dataclass(frozen=True, eq=False)
class Drawing:
    """One shape: polygons to fill in order, and its keypoints.

    Attributes:
        parts: pairs of (V, 2) float vertices, XY, and whether the polygon is ink (True) or a hole (False).
        keypoints: (K, 2) float, XY, K = len(KEYPOINTS), or None for shapes without.
    """

    parts: tuple[tuple[Points, bool], ...]
    keypoints: Points | None = None

    def moved(self, matrix: Points, offset: Points) -> Drawing:
        """The drawing under x -> matrix x + offset; `matrix` (2, 2), `offset` (2,)."""
        parts = tuple((points @ matrix.T + offset, ink) for points, ink in self.parts)
        return Drawing(parts, None if self.keypoints is None else self.keypoints @ matrix.T + offset)


def _polygon(corners: int, radius: float = 1.0) -> Points:
    turns = np.arange(corners) * (2 * np.pi / corners) - np.pi / 2  # first corner on top
    return radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)


def disc(rng: np.random.Generator) -> Drawing:
    """A filled circle."""
    return Drawing(((_polygon(32), True),))


def ring(rng: np.random.Generator) -> Drawing:
    """A circle with a round hole of 40 to 60 % of its diameter; what shows through the hole is not the ring."""
    return Drawing(((_polygon(32), True), (_polygon(24, rng.uniform(0.4, 0.6)), False)))


def square(rng: np.random.Generator) -> Drawing:
    """A square with sharp corners."""
    return Drawing(((np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]) * 0.85, True),))


def pillow(rng: np.random.Generator) -> Drawing:
    """A superellipse of exponent 2.8 to 3.6: between the disc and the square."""
    circle = _polygon(40)
    power = 2.0 / rng.uniform(2.8, 3.6)
    return Drawing(((0.9 * np.sign(circle) * np.abs(circle) ** power, True),))


def triangle(rng: np.random.Generator) -> Drawing:
    """A triangle, point up."""
    return Drawing(((_polygon(3) + np.array([0.0, 0.2]), True),))


def pentagon(rng: np.random.Generator) -> Drawing:
    """A regular pentagon, point up."""
    return Drawing(((_polygon(5), True),))


def cross(rng: np.random.Generator) -> Drawing:
    """A plus sign with arms 56 to 72 % of the radius wide."""
    return _cross(rng.uniform(0.28, 0.36))


def _cross(half: float) -> Drawing:
    """A plus sign with arms twice `half` wide."""
    quarter = np.array([[half, -1.0], [half, -half], [1.0, -half]])
    turns = [np.array([[c, -s], [s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    return Drawing(((np.concatenate([quarter @ turn.T for turn in turns]), True),))


def _capsule(start: Points, end: Points, radius: float) -> Points:
    direction = np.arctan2(end[1] - start[1], end[0] - start[0])
    turns = direction + np.linspace(-np.pi / 2, np.pi / 2, 6)
    cap = radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return np.concatenate([end + cap, start - cap])


def _limb(root: Points, length: float, angle: float, side: int) -> Points:
    return root + length * np.array([side * np.sin(angle), np.cos(angle)])


def figure(rng: np.random.Generator) -> Drawing:
    """A person of head, torso, two arms and two legs in a random pose, facing the viewer: its left is on our right."""
    head, neck, hip = np.array([0.0, -0.7]), np.array([0.0, -0.36]), np.array([0.0, 0.2])
    arms = rng.uniform(np.deg2rad(25), np.deg2rad(130), 2)
    legs = rng.uniform(np.deg2rad(8), np.deg2rad(40), 2)
    hands = [_limb(neck, 0.62, angle, side) for angle, side in zip(arms, (1, -1), strict=True)]
    feet = [_limb(hip, 0.72, angle, side) for angle, side in zip(legs, (1, -1), strict=True)]
    parts = [head + _polygon(14, 0.27), _capsule(neck, hip, 0.21)]
    parts += [_capsule(neck, hand, 0.12) for hand in hands]
    parts += [_capsule(hip, foot, 0.14) for foot in feet]
    return Drawing(tuple((part, True) for part in parts), np.stack([head, neck, hip, *hands, *feet]))


def gear(rng: np.random.Generator) -> Drawing:
    """A disc with eight teeth, 13 to 25 % of the radius deep."""
    tip, root = 1.0, rng.uniform(0.75, 0.87)
    return Drawing(((_polygon(32) * np.tile([tip, tip, root, root], 8)[:, None], True),))


def heart(rng: np.random.Generator) -> Drawing:
    """A heart, point down."""
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return Drawing(((np.stack([16 * np.sin(t) ** 3, -height - 2.5], axis=1) / 15, True),))


def bolt(rng: np.random.Generator) -> Drawing:
    """A flash of lightning, its kink 40 to 70 % of the radius wide."""
    kink = rng.uniform(0.4, 0.7)
    upper = np.array([[0.5, -1.0], [-0.8, 0.2], [-kink / 2, 0.2]])
    return Drawing(((np.concatenate([upper, -upper]), True),))


def hourglass(rng: np.random.Generator) -> Drawing:
    """Two trapezoids, one on its head, that meet in a waist of 25 to 45 % of the width."""
    waist = rng.uniform(0.25, 0.45)
    right = np.array([[0.95, -1.0], [waist, 0.0], [0.95, 1.0]])
    return Drawing(((np.concatenate([right, -right]), True),))


def crescent(rng: np.random.Generator) -> Drawing:
    """A disc from the right of which another is taken, 50 to 65 % as wide."""
    bite = _polygon(32, rng.uniform(0.5, 0.65)) + np.array([0.55, 0.0])
    return Drawing(((_polygon(32), True), (bite, False)))


def drop(rng: np.random.Generator) -> Drawing:
    """A drop, tip up."""
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    width = np.sin(t) * np.sin(t / 2) ** rng.uniform(0.8, 1.2)
    return Drawing(((np.stack([width, -np.cos(t)], axis=1), True),))


def arrow(rng: np.random.Generator) -> Drawing:
    """An arrow, point up, with a shaft of 70 to 90 % of the radius."""
    half = rng.uniform(0.35, 0.45)
    right = np.array([[0.0, -1.0], [0.9, 0.1], [half, 0.1], [half, 1.0]])
    return Drawing(((np.concatenate([right, right[:0:-1] * np.array([-1.0, 1.0])]), True),))


def star(rng: np.random.Generator) -> Drawing:
    """A star of five corners, point up; what is between them reaches 50 to 65 % of the radius."""
    between = rng.uniform(0.5, 0.65)
    return Drawing(((_polygon(10) * np.tile([1.0, between], 5)[:, None], True),))


@dataclass(frozen=True)
class ThingClass:
    """A class of things: how it is drawn and the hue it prefers (turns of the colour wheel, [0, 1))."""

    name: str
    hue: float
    draw: Callable[[np.random.Generator], Drawing]


# From frequent to rare. Members of a confusable pair have nearly one hue, so only the outline tells them apart.
THINGS = (
    ThingClass("disc", 0.58, disc),
    ThingClass("square", 0.06, square),
    ThingClass("figure", 0.92, figure),
    ThingClass("triangle", 0.30, triangle),
    ThingClass("ring", 0.62, ring),
    ThingClass("pillow", 0.10, pillow),
    ThingClass("cross", 0.76, cross),
    ThingClass("pentagon", 0.36, pentagon),
)
# As many, with the colours of THINGS, rank for rank, and about their areas: only the outlines are others.
OTHERS = (
    ThingClass("gear", 0.58, gear),
    ThingClass("heart", 0.06, heart),
    ThingClass("bolt", 0.92, bolt),
    ThingClass("hourglass", 0.30, hourglass),
    ThingClass("crescent", 0.62, crescent),
    ThingClass("drop", 0.10, drop),
    ThingClass("arrow", 0.76, arrow),
    ThingClass("star", 0.36, star),
)


HOLE = 0.12  # radius of the hole of a lookalike, in that of the thing


@dataclass(frozen=True)
class Pierced:
    """Draws an outline with a small round hole, and uses up the random numbers of the class in whose place it stands.

    So scenes of either are alike in all but outlines and hues: in ground, places, sizes, poses, light and noise.

    Attributes:
        outline: without the hole.
        height: Y of the hole's centre; its X is 0.
        instead_of: the class that has this rank in THINGS.
    """

    outline: Drawing
    height: float
    instead_of: ThingClass

    def __call__(self, rng: np.random.Generator) -> Drawing:
        self.instead_of.draw(rng)
        hole = _polygon(16, HOLE) + np.array([0.0, self.height])
        return Drawing((*self.outline.parts, (hole, False)))


def _lookalikes() -> tuple[ThingClass, ...]:
    """As many as THINGS, rank for rank. Both of a pair have the hue of the first's rank."""
    nothing = np.random.default_rng(0)  # the outlines draw no number from it
    pairs = (  # outline, height of the hole in the first and in the second, ranks
        ("disc", disc(nothing), (-0.5, 0.5), (0, 4)),
        ("square", square(nothing), (-0.5, 0.5), (1, 5)),
        ("cross", _cross(0.32), (-0.5, 0.5), (2, 6)),
        ("triangle", triangle(nothing), (-0.1, 0.4), (3, 7)),
    )
    found: dict[int, ThingClass] = {}
    for name, outline, heights, ranks in pairs:
        for word, height, rank in zip(("high", "low"), heights, ranks, strict=True):
            draw = Pierced(outline, height, THINGS[rank])
            found[rank] = ThingClass(f"{name} {word}", THINGS[ranks[0]].hue, draw)
    return tuple(found[rank] for rank in sorted(found))


LOOKALIKES = _lookalikes()
SHAPES: Mapping[str, tuple[ThingClass, ...]] = {"things": THINGS, "others": OTHERS, "lookalikes": LOOKALIKES}
FIGURE = next(index for index, thing in enumerate(THINGS) if thing.name == "figure")
