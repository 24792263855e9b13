"""Outlines of the shapes that annotation tools draw."""

from __future__ import annotations

import math

from casl.data.importing.source import Points

CORNERS = 64  # of the polygon that stands for a circle; its area is 0.2 % less


def rectangle(x: float, y: float, width: float, height: float) -> Points:
    """The four corners of a box."""
    return (x, y, x + width, y, x + width, y + height, x, y + height)


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Points:
    """A polygon inside an ellipse. x, y: centre. rx, ry: half axes. turn: of the first axis, in radians."""
    points: list[float] = []
    for n in range(CORNERS):
        angle = 2 * math.pi * n / CORNERS
        a, b = rx * math.cos(angle), ry * math.sin(angle)
        points += [x + a * math.cos(turn) - b * math.sin(turn), y + a * math.sin(turn) + b * math.cos(turn)]
    return tuple(points)
