"""Plans and paints one built-in scene: stuff regions, things in painter's order, light, sensor noise.

A scene is planned in unit coordinates before any pixel exists, so the same seed gives the same composition at every
image size; only which nearly hidden things are dropped, and the noise, depend on the size.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from casl.data.scene_shapes import THINGS, Drawing, Points, ThingClass
from casl.data.scene_stuff import STUFF, Ground, paint_ground, plan_ground

SUPERSAMPLING = 8  # drawn this much larger and averaged down; Pillow's polygons are half a pixel fat at the drawn size


@dataclass(frozen=True)
class Difficulty:
    """Everything that makes the scenes easier or harder. Lengths are shares of the image side.

    Attributes:
        num_things: fewest and most things planned an image, both included.
        zipf: class k (from 1) is planned with probability proportional to k ** -zipf.
        diameter: smallest and largest usual diameter.
        small_diameter, small_share: the same for the share of things that are small.
        crowding: how near two centres may be, as a share of the sum of their radii; 1 forbids most overlap.
        hue_spread: standard deviation of a thing's hue around its class's, in turns.
        hue_free: share of things with any hue, which no colour rule gets right.
        saturation, value: range of a thing's colour.
        ground_saturation, ground_value: range of a stuff region's colour.
        texture: amplitude of stuff textures, as a share of full white.
        light: largest relative change of brightness, over the image and from scene to scene.
        noise: range of the standard deviation of sensor noise, as a share of full white.
        min_visible: things and stuff with less than this share of the image visible are not annotated; never less
            than 12 pixels.
    """

    num_things: tuple[int, int] = (2, 7)
    zipf: float = 0.8
    diameter: tuple[float, float] = (0.24, 0.48)
    small_diameter: tuple[float, float] = (0.14, 0.24)
    small_share: float = 0.12
    crowding: float = 0.75
    hue_spread: float = 0.03
    hue_free: float = 0.05
    saturation: tuple[float, float] = (0.40, 0.90)
    value: tuple[float, float] = (0.35, 0.95)
    ground_saturation: tuple[float, float] = (0.08, 0.30)
    ground_value: tuple[float, float] = (0.35, 0.65)
    texture: float = 0.05
    light: float = 0.15
    noise: tuple[float, float] = (0.01, 0.025)
    min_visible: float = 0.003


DIFFICULTY = Difficulty()


@dataclass(frozen=True, eq=False)
class Thing:
    """One planned thing: position of its class in the plan's, drawing in unit coordinates, colour (3,) in [0, 1],
    shading slope."""

    label: int
    drawing: Drawing
    colour: NDArray[np.float32]
    shading: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Plan:
    """A scene before it has pixels. `things` are in painter's order, the last is in front; they are of `classes`."""

    classes: tuple[ThingClass, ...]
    ground: Ground
    things: tuple[Thing, ...]
    light: NDArray[np.float32]
    cast: NDArray[np.float32]
    noise: float


@dataclass(frozen=True, eq=False)
class Scene:
    """A painted scene and its truth.

    Attributes:
        image: (S, S, 3) uint8, RGB.
        segments: (S, S) int32, 0 = void, k = the k-th entry of `categories`.
        categories: class of segment k at position k - 1: thing classes are 1..len(classes), stuff follows.
        keypoints: by segment, (K, 3) int: x, y (pixel indices) and COCO visibility; things with keypoints only.
        classes: the thing classes of the plan.
        full_areas: pixels that each thing would have in the image if nothing hid it; things are the first segments.
    """

    image: NDArray[np.uint8]
    segments: NDArray[np.int32]
    categories: tuple[int, ...]
    keypoints: dict[int, NDArray[np.int64]]
    classes: tuple[ThingClass, ...]
    full_areas: tuple[int, ...]


def plan_scene(
    rng: np.random.Generator, difficulty: Difficulty = DIFFICULTY, classes: tuple[ThingClass, ...] = THINGS
) -> Plan:
    """Draws everything random about a scene but its noise, in unit coordinates.

    classes: of its things, from frequent to rare.
    """
    ground = plan_ground(rng, difficulty.ground_saturation, difficulty.ground_value, difficulty.texture)
    shares = np.arange(1, len(classes) + 1) ** -difficulty.zipf
    count = int(rng.integers(difficulty.num_things[0], difficulty.num_things[1] + 1))
    labels = rng.choice(len(classes), size=count, p=shares / shares.sum())
    circles: list[tuple[float, float, float]] = []
    things = tuple(_plan_thing(rng, int(label), classes[label], circles, difficulty) for label in labels)
    slopes = rng.uniform(-1, 1, 3) * difficulty.light
    cast = 1 + rng.uniform(-0.05, 0.05, 3)
    light = slopes.astype(np.float32)
    return Plan(classes, ground, things, light, cast.astype(np.float32), rng.uniform(*difficulty.noise))


def _plan_thing(
    rng: np.random.Generator,
    label: int,
    of: ThingClass,
    circles: list[tuple[float, float, float]],
    difficulty: Difficulty,
) -> Thing:
    small = rng.random() < difficulty.small_share
    radius = rng.uniform(*(difficulty.small_diameter if small else difficulty.diameter)) / 2
    x, y = _place(rng, radius, circles, difficulty.crowding)
    circles.append((x, y, radius))
    angle = rng.uniform(-np.pi / 9, np.pi / 9)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    squeeze = np.diag([rng.uniform(0.8, 1.0), rng.uniform(0.9, 1.0)])
    drawing = of.draw(rng).moved(radius * turn @ squeeze, np.array([x, y]))
    hue = rng.random() if rng.random() < difficulty.hue_free else rng.normal(of.hue, difficulty.hue_spread)
    rgb = colorsys.hsv_to_rgb(hue % 1.0, rng.uniform(*difficulty.saturation), rng.uniform(*difficulty.value))
    shading = rng.uniform(-0.25, 0.25, 2) / radius
    return Thing(label, drawing, np.array(rgb, np.float32), shading.astype(np.float32))


def _place(
    rng: np.random.Generator, radius: float, circles: list[tuple[float, float, float]], crowding: float
) -> tuple[float, float]:
    margin = 0.7 * radius  # up to about a sixth of a thing may leave the image
    for x, y in rng.uniform(margin, 1 - margin, (12, 2)):
        if all(np.hypot(x - a, y - b) > crowding * (radius + r) for a, b, r in circles):
            break
    return float(x), float(y)


@dataclass(frozen=True, eq=False)
class _Stamp:
    """A thing as pixels: its coverage in [0, 1] within the rows and columns it touches."""

    thing: Thing
    rows: slice
    columns: slice
    alpha: NDArray[np.float32]

    @property
    def solid(self) -> NDArray[np.bool_]:
        return self.alpha >= 0.5


def _stamp(thing: Thing, size: int) -> _Stamp:
    everything = np.concatenate([points for points, _ in thing.drawing.parts]) * size
    low = np.clip(np.floor(everything.min(axis=0)).astype(int) - 1, 0, size - 1)
    high = np.clip(np.ceil(everything.max(axis=0)).astype(int) + 1, low + 1, size)
    width, height = (high - low) * SUPERSAMPLING
    canvas = Image.new("L", (int(width), int(height)))
    pen = ImageDraw.Draw(canvas)
    for points, ink in thing.drawing.parts:
        corners = (points * size - low) * SUPERSAMPLING - 0.5  # pen positions are pixel centres
        pen.polygon(corners.ravel().tolist(), fill=255 if ink else 0)
    alpha = np.asarray(canvas.reduce(SUPERSAMPLING), np.float32) / np.float32(255)
    return _Stamp(thing, slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])), alpha)


def _overlay(stamps: list[_Stamp], size: int) -> NDArray[np.int32]:
    """(S, S), 0 where no thing is, else 1 + position of the front-most thing."""
    top = np.zeros((size, size), np.int32)
    for number, stamp in enumerate(stamps, start=1):
        top[stamp.rows, stamp.columns][stamp.solid] = number
    return top


def _drop_hidden(stamps: list[_Stamp], size: int, least: float) -> tuple[list[_Stamp], NDArray[np.int32]]:
    """Leaves out, one at a time, the most hidden thing while it shows less than `least` pixels.

    Dropped things are not painted either: an unannotated thing in plain sight would be a wrong label.
    """
    while True:
        top = _overlay(stamps, size)
        visible = np.bincount(top.ravel(), minlength=len(stamps) + 1)[1:]
        if not stamps or visible.min() >= least:
            return stamps, top
        worst = int(visible.argmin())
        stamps = stamps[:worst] + stamps[worst + 1 :]


def paint_scene(plan: Plan, rng: np.random.Generator, size: int, difficulty: Difficulty = DIFFICULTY) -> Scene:
    """Paints a plan.

    Args:
        plan: what to paint.
        rng: drawn from for the sensor noise only.
        size: side of the image in pixels.
        difficulty: the one the plan was made with; decides what is too hidden to annotate.

    Returns:
        The scene; its segments cover every pixel but those of stuff with too few pixels left, which are void.
    """
    least = max(12.0, difficulty.min_visible * size * size)
    image, region = paint_ground(plan.ground, size)
    stamps, top = _drop_hidden([_stamp(thing, size) for thing in plan.things], size, least)
    for stamp in stamps:
        _blend(image, stamp, size)
    segments = np.where(top > 0, top, len(stamps) + 1 + region).astype(np.int32)
    categories = [stamp.thing.label + 1 for stamp in stamps]
    categories += [len(plan.classes) + 1 + kind for kind in plan.ground.kinds]
    segments, kept = _renumber(segments, categories, least)
    keypoints = {
        number: _visible_keypoints(stamp.thing.drawing.keypoints * size, segments == number)
        for number, stamp in enumerate(stamps, start=1)
        if stamp.thing.drawing.keypoints is not None
    }
    full_areas = tuple(int(stamp.solid.sum()) for stamp in stamps)
    return Scene(_expose(image, plan, rng), segments, kept, keypoints, plan.classes, full_areas)


def _blend(image: NDArray[np.float32], stamp: _Stamp, size: int) -> None:
    patch = image[stamp.rows, stamp.columns]
    y = (np.arange(stamp.rows.start, stamp.rows.stop, dtype=np.float32) + 0.5) / size
    x = (np.arange(stamp.columns.start, stamp.columns.stop, dtype=np.float32) + 0.5) / size
    slope_x, slope_y = stamp.thing.shading
    shade = 1 + slope_x * (x - x.mean())[None, :] + slope_y * (y - y.mean())[:, None]
    patch += stamp.alpha[..., None] * (shade[..., None] * stamp.thing.colour - patch)


def _renumber(
    segments: NDArray[np.int32], categories: list[int], least: float
) -> tuple[NDArray[np.int32], tuple[int, ...]]:
    """Closes the gaps that stuff with fewer than `least` visible pixels leaves; those pixels become void."""
    visible = np.bincount(segments.ravel(), minlength=len(categories) + 1)[1:]
    kept = visible >= least
    number = np.zeros(len(categories) + 1, np.int32)
    number[1:][kept] = np.arange(1, kept.sum() + 1)
    return number[segments], tuple(category for category, keep in zip(categories, kept, strict=True) if keep)


def _visible_keypoints(points: Points, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(K, 3): COCO rules, 0 0 0 outside the image, 1 where something hides the point, 2 where it shows."""
    size = len(mask)
    result = np.zeros((len(points), 3), np.int64)
    for row, (x, y) in zip(result, np.floor(points).astype(int), strict=True):
        if 0 <= x < size and 0 <= y < size:
            row[:] = x, y, 2 if mask[y, x] else 1
    return result


def _expose(image: NDArray[np.float32], plan: Plan, rng: np.random.Generator) -> NDArray[np.uint8]:
    size = len(image)
    ramp = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / size - np.float32(0.5)
    gain, slope_x, slope_y = plan.light
    light = 1 + gain + slope_x * ramp[None, :] + slope_y * ramp[:, None]
    exposed = image * (light[..., None] * plan.cast)
    exposed += np.float32(plan.noise) * rng.standard_normal(image.shape, dtype=np.float32)
    levels: NDArray[np.uint8] = np.clip(np.rint(exposed * 255), 0, 255).astype(np.uint8)
    return levels


def categories_of(classes: Sequence[ThingClass]) -> list[dict[str, Any]]:
    """COCO records of things and stuff: ids count from 1, stuff after things."""
    things = [{"id": k, "name": c.name, "supercategory": "thing", "isthing": 1} for k, c in enumerate(classes, 1)]
    stuff = enumerate(STUFF, len(classes) + 1)
    return [*things, *({"id": k, "name": s, "supercategory": "stuff", "isthing": 0} for k, s in stuff)]
