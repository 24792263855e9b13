"""Affine maps of pixel coordinates: resize, mirror, translation, rotation, shear, their products and inverses.

A map is a (2, 3) float64 matrix from old XY coordinates to new ones, continuous as in casl.data.augment. Products and
inverses are computed in plain doubles, so they are the same bits on every processor; BLAS and LAPACK round the last
place as their kernels for the processor do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def scaling(x: float, y: float) -> Matrix:
    """Map that multiplies coordinates by (x, y)."""
    return np.array([[x, 0, 0], [0, y, 0]], np.float64)


def mirroring(width: float) -> Matrix:
    """Map that exchanges left and right of an image `width` px wide."""
    return np.array([[-1, 0, width], [0, 1, 0]], np.float64)


def translation(x: float, y: float) -> Matrix:
    """Map that moves by (x, y) px."""
    return np.array([[1.0, 0, x], [0, 1, y]])


def rotation(degrees: float, width: int, height: int) -> Matrix:
    """Map that turns clockwise about the centre of a width x height image."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    x, y = width / 2, height / 2
    return np.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]])


def shear(degrees_x: float, degrees_y: float) -> Matrix:
    """Map: x += tanh(-degrees_x) y, then y += tanh(degrees_y) x, angles taken in radians."""
    slope_x, slope_y = np.tanh(-np.deg2rad(degrees_x)), np.tanh(np.deg2rad(degrees_y))
    return np.array([[1, slope_x, 0], [slope_y, 1 + slope_x * slope_y, 0]])


def slant(degrees: float, width: int, height: int) -> Matrix:
    """Map that shears both axes by one angle about the centre of a width x height image: x -= tan(degrees) y, then
    y += tan(degrees) x."""
    slope = np.tan(np.deg2rad(degrees))
    x, y, down = width / 2, height / 2, 1 - slope * slope
    return np.array([[1, -slope, slope * y], [slope, down, y - slope * x - down * y]])


def inverse_of(linear: Matrix) -> Matrix:
    """Inverse of a (2, 2) map, to the same bits on every processor; np.linalg.inv's last place depends on its kind.

    Elimination in plain doubles from the larger entry of the first column. Reciprocals, and no fused multiply-add, make
    it what OpenBLAS computes with its kernels for other than AVX-512.
    """
    (a, b), (c, d) = linear.tolist()
    if abs(c) > abs(a):
        return inverse_of(linear[::-1])[:, ::-1]
    factor = c * (1 / a)
    last = 1 / (d - factor * b)
    first = -factor * last
    return np.array([[(1 - b * first) * (1 / a), -b * last * (1 / a)], [first, last]])


def compose(second: Matrix, first: Matrix) -> Matrix:
    """The map `first` followed by the map `second`.

    Args:
        second: (2, 3).
        first: (3, 3), the last row (0, 0, 1), as Sample.matrix.

    Returns:
        (3, 3), the last row (0, 0, 1).
    """
    columns = list(zip(*first.tolist(), strict=True))
    rows = [[a * x + b * y + c * z for x, y, z in columns] for a, b, c in second.tolist()]
    return np.array([*rows, [0.0, 0.0, 1.0]])
