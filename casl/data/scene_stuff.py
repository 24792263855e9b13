"""The ground of the built-in scenes: two to four stuff regions, each with the texture of its class."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STUFF = ("sand", "water", "grass", "paving")
# Prefers, never decides: the hues overlap, so that only texture identifies a region.
_HUES = (0.10, 0.55, 0.28, 0.05)
_HUE_SPREAD = 0.08

Field = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ground:
    """Planned ground of one scene, in unit coordinates.

    Attributes:
        kinds: class of each region, index into STUFF, all different.
        cuts: (R - 1, 4) wavy horizons: height, amplitude, frequency, phase; or None.
        seeds: (R, 2) centres XY of cells; or None. One of `cuts` and `seeds` is None.
        colours: (R, 3) in [0, 1].
        waves: (R, 3) frequency, tilt and phase of each texture.
        lattice: (32, 32) standard normal numbers that textures are made of.
        amplitude: of the textures, in [0, 1].
    """

    kinds: tuple[int, ...]
    cuts: NDArray[np.float64] | None
    seeds: NDArray[np.float64] | None
    colours: Field
    waves: NDArray[np.float64]
    lattice: Field
    amplitude: float


def plan_ground(
    rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float], amplitude: float
) -> Ground:
    """Draws a ground: half of them layers under wavy horizons, half cells around random centres."""
    count = int(rng.integers(2, len(STUFF) + 1))
    kinds = tuple(int(kind) for kind in rng.permutation(len(STUFF))[:count])
    cuts = seeds = None
    if rng.random() < 0.5:
        heights = (np.arange(1, count) + rng.uniform(-0.25, 0.25, count - 1)) / count
        shapes = [rng.uniform(low, high, count - 1) for low, high in ((0.01, 0.06), (0.5, 2.0), (0.0, 1.0))]
        cuts = np.stack([heights, *shapes], axis=1)
    else:
        seeds = rng.uniform(0.1, 0.9, (count, 2))
    colours = [
        colorsys.hsv_to_rgb(rng.normal(_HUES[k], _HUE_SPREAD) % 1, rng.uniform(*saturation), rng.uniform(*value))
        for k in kinds
    ]
    waves = np.stack([rng.uniform(0.8, 1.25, count), rng.uniform(-0.2, 0.2, count), rng.random(count)], axis=1)
    lattice = rng.standard_normal((32, 32), dtype=np.float32)
    return Ground(kinds, cuts, seeds, np.array(colours, np.float32), waves, lattice, amplitude)


def paint_ground(ground: Ground, size: int) -> tuple[Field, NDArray[np.int64]]:
    """Paints the ground.

    Returns:
        image: (size, size, 3) float32 RGB around [0, 1].
        region: (size, size) int, position of each pixel's region in `ground.kinds`.
    """
    axis: Field = ((np.arange(size) + 0.5) / size).astype(np.float32)
    x, y = axis[None, :], axis[:, None]
    region = _regions(ground, x, y)
    texture = np.zeros((size, size), np.float32)
    for number, kind in enumerate(ground.kinds):
        inside = region == number
        texture[inside] = _texture(kind, ground.waves[number], ground.lattice, x, y)[inside]
    return ground.colours[region] + np.float32(ground.amplitude) * texture[..., None], region


def _regions(ground: Ground, x: Field, y: Field) -> NDArray[np.int64]:
    if ground.cuts is not None:
        below = [y > h + a * np.sin(2 * np.pi * (f * x + p)) for h, a, f, p in ground.cuts.astype(np.float32)]
        return np.asarray(np.sum(below, axis=0, dtype=np.int64))
    assert ground.seeds is not None
    bent_x = x + np.float32(0.04) * np.sin(np.float32(9) * y)
    bent_y = y + np.float32(0.04) * np.sin(np.float32(9) * x)
    distances = [(bent_x - a) ** 2 + (bent_y - b) ** 2 for a, b in ground.seeds.astype(np.float32)]
    return np.asarray(np.argmin(np.stack(distances), axis=0))


def _texture(kind: int, wave: NDArray[np.float64], lattice: Field, x: Field, y: Field) -> Field:
    """(S, S) field of about unit amplitude. x is (1, S) and y (S, 1), in [0, 1]."""
    frequency, tilt, phase = wave.astype(np.float32)
    size = x.shape[1]
    if STUFF[kind] == "sand":
        return _smooth(lattice, size)
    if STUFF[kind] == "grass":
        return _smooth(lattice[:8], size)  # 8 rows stretched over the height: upright strokes
    if STUFF[kind] == "water":
        bend = np.float32(0.03) * np.sin(2 * np.pi * (2 * x + phase))
        return np.asarray(np.sin(2 * np.pi * (9 * frequency * (y + tilt * x + bend) + phase)))
    rows = np.floor(7 * frequency * y + phase)
    columns = np.floor(5 * frequency * (x + tilt * y) + 0.5 * (rows % 2) + phase)
    return np.where((rows + columns) % 2 == 0, np.float32(0.8), np.float32(-0.8))


def _smooth(lattice: Field, size: int) -> Field:
    return np.asarray(Image.fromarray(lattice).resize((size, size), Image.Resampling.BILINEAR))
