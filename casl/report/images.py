"""What other images of val would have changed: covariance of a table's numbers over the bootstrap's draws.

Draw r is the same images for every model measured on a split (casl.metrics.bootstrap), so numbers that rise and fall
together over the draws have a covariance, and their difference varies less than either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from casl.tracking.text import UNDEFINED

_DIGITS = 6  # as written in a table's JSON

Covariance = tuple[tuple[float | None, ...], ...]


def covariance(draws: Sequence[Mapping[int, Sequence[float]]]) -> Covariance:
    """Covariances of all pairs of cells, each cell's draws averaged over its seeds first.

    Args:
        draws: seed -> percent of each draw, one mapping a cell; empty for a cell without draws.

    Returns:
        A square, percent squared; None where a cell has no draws, or another number of them than most cells. Draws in
        which a cell is undefined are left out. No rows at all where no cell has draws.
    """
    import numpy as np

    lengths = Counter(len(values) for cell in draws for values in cell.values())
    if not lengths:
        return ()
    length = lengths.most_common(1)[0][0]
    fits = [bool(cell) and all(len(values) == length for values in cell.values()) for cell in draws]
    rows = [list(cell.values()) for cell, fit in zip(draws, fits, strict=True) if fit]
    defined = np.all([np.all(np.array(seeds) != UNDEFINED, axis=0) for seeds in rows], axis=0)
    if defined.sum() < 2:
        return ()
    means = np.array([np.mean(seeds, axis=0)[defined] for seeds in rows])
    known = np.cov(means).reshape(len(rows), len(rows))
    place = {i: n for n, i in enumerate(i for i, fit in enumerate(fits) if fit)}
    return tuple(
        tuple(
            round(float(known[place[i], place[j]]), _DIGITS) if i in place and j in place else None
            for j in range(len(draws))
        )
        for i in range(len(draws))
    )
