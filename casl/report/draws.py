"""The paired bootstrap over images, from the draws that evaluations leave beside their figures.

Draw r is the same images for every model measured on a split (casl.metrics.bootstrap), so differences are taken draw by
draw. With several seeds a draw's difference is the mean over seeds: the interval is about the images, the t-test beside
it about the seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from casl.spec.run import DRAWS

COVERAGE = 0.95
UNDEFINED = -1.0  # a draw without any object to find


def read_draws(folder: Path) -> tuple[float, ...]:
    """The draws of an evaluation, percent; none where it left none, as metrics without a bootstrap do."""
    try:
        values = json.loads((folder / DRAWS).read_bytes())
        return tuple(float(value) for value in values)
    except (OSError, ValueError, TypeError):  # absent, or damaged, which `casl store verify` names
        return ()


def interval(signed: Sequence[tuple[float, Mapping[int, Sequence[float]]]]) -> tuple[float, float] | None:
    """The middle 95 % of a difference over draws of the images.

    Args:
        signed: (sign, seed -> draws) of each cell that enters the difference, +1 or -1.

    Returns:
        (low, high) in percent over the seeds that all have; None where a side has no draws, or other ones.
    """
    seeds = sorted(set.intersection(*(set(draws) for _, draws in signed)))
    sides = [(sign, draws[seed]) for sign, draws in signed for seed in seeds]
    lengths = {len(draws) for _, draws in sides}
    if len(lengths) != 1 or 0 in lengths:
        return None
    drawn = zip(*(draws for _, draws in sides), strict=True)
    signs = [sign for sign, _ in sides]
    values = sorted(
        sum(sign * value for sign, value in zip(signs, row, strict=True)) / len(seeds)
        for row in drawn
        if UNDEFINED not in row
    )
    return (_quantile(values, (1 - COVERAGE) / 2), _quantile(values, (1 + COVERAGE) / 2)) if values else None


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two nearest values, as numpy.quantile."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
