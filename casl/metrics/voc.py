"""Average precision as PASCAL VOC defines it, of one class: the area under the curve, and the mean over eleven recalls.

casl's own metrics are COCO's, the mean over 101 recalls (casl.metrics.ap); these are for numbers that were published
in VOC's terms. Both take precision at a recall as the best one at that recall or more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
NEAR = 1e-12  # what a recall may lack of a point: 0.6000000000000001, the sixth of eleven, asks for .6


def recall_precision(hits: Sequence[bool], objects: int) -> tuple[Curve, Curve]:
    """Recall and precision after each prediction of one class, fractions.

    Args:
        hits: (N,) by falling score, whether a prediction finds an object that none before it found; N = 0 is legal.
        objects: that are to be found, at least 1.

    Raises:
        ValueError: there is no object, or there are more hits than objects.
    """
    if objects < 1 or sum(map(bool, hits)) > objects:
        raise ValueError(f"{sum(map(bool, hits))} hits of {objects} objects: at least one object, found once at most")
    right = np.cumsum(np.asarray(hits, dtype=np.float64))
    return right / objects, right / np.arange(1, len(right) + 1)


def area(recall: Curve, precision: Curve) -> float:
    """Area under the falling envelope of precision over recall, a fraction; VOC's from 2010 on.

    Args:
        recall, precision: (N,) as `recall_precision` gives them.
    """
    steps = np.diff(recall, prepend=0.0)
    return float(steps @ _envelope(precision))


def at_points(recall: Curve, precision: Curve, points: int = 11) -> float:
    """Mean over `points` recalls from 0 to 1 of the best precision there or beyond, a fraction; 11 is VOC's until 2009.

    A recall that lacks less than NEAR of a point reaches it, as it would in exact arithmetic.

    Raises:
        ValueError: fewer than two points.
    """
    if points < 2:
        raise ValueError(f"recalls from 0 to 1 are at least 2 points, got {points}")
    first = np.searchsorted(recall, np.linspace(0.0, 1.0, points) - NEAR, side="left")
    return float(np.append(_envelope(precision), 0.0)[first].mean())


def _envelope(precision: Curve) -> Curve:
    """The best precision at each prediction or after it."""
    best: Curve = np.maximum.accumulate(precision[::-1])[::-1]
    return best
