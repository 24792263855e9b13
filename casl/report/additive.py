"""The additive model of a table: value[cell, seed] = cell + seed + error, fitted by least squares.

Numbers of one kind (a metric's figure, as AP^det) have seed effects and an error variance of their own: a seed moves
panoptic quality otherwise than box AP, and their spreads differ several times. All cells of a kind estimate that one
variance together, so a difference of two cells of 25 with three seeds is tested with 48 degrees of freedom, not two.
Any contrast of cells has its covariance from the same fit: two gains over one baseline share that baseline's error.

Cells that share a stage (a warmup, or a shorter state of the same training) err alike, which the model does not know:
their differences are told less sharply than they could be, never more.

Images are a second, independent source of error, with the covariance that the bootstrap over images gives:

    estimate = truth + error of seeds + error of images,  variance = of seeds + of images,

and t with Satterthwaite's degrees of freedom, rounded down. The errors of seeds were measured on one set of images, so
they hold the interaction of both already, and the bootstrap holds it again: intervals are a little wide, never narrow.

Source: Scheffe, The Analysis of Variance (1959), ch. 4, for incomplete layouts too; Satterthwaite, An approximate
    distribution of estimates of variance components, Biometrics Bulletin 2 (1946).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, TypeAlias

from casl.report.significance import LEVEL, NO_SPREAD, critical, two_sided

if TYPE_CHECKING:  # numpy is imported when a table is fitted, not whenever a report is imported
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"
Weights: TypeAlias = Mapping[Any, float]  # cells by any hashable name
IMAGE_FREEDOM = 399  # of a variance that 400 draws estimate
_DIGITS = 9  # of a percent; what is beyond depends on the processor's order of sums
_WIDE = NormalDist().inv_cdf(1 - LEVEL / 2)


@dataclass(frozen=True)
class Numbers:
    """A cell: its kind, and a value for each seed, in percent."""

    kind: Hashable
    by_seed: Mapping[int, float]


@dataclass(frozen=True)
class Estimate:
    """A contrast of cells, in percent.

    of_seeds: standard error from seeds, None where no residual is left to tell it. of_images: from the images measured
    on, None where an evaluation left no draws. freedom: of the two together, 0 without of_seeds. seeds: of the cell
    with the fewest.
    """

    value: float
    of_seeds: float | None
    of_images: float | None
    freedom: int
    seeds: int

    @property
    def error(self) -> float | None:
        """Standard error of both sources; None where seeds cannot be told, or show no spread at all."""
        if self.of_seeds is None:
            return None
        both = math.hypot(self.of_seeds, self.of_images or 0.0)
        return both if both > NO_SPREAD else None

    @property
    def half_width(self) -> float | None:
        """Of the 95 % interval; None as `error`."""
        return None if self.error is None else critical(self.freedom) * self.error

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval that holds seeds and images; None as `error`."""
        half = self.half_width
        return None if half is None else (self.value - half, self.value + half)

    @property
    def over_images(self) -> tuple[float, float] | None:
        """The 95 % interval over images alone, for a number without a spread of seeds; None without draws."""
        if self.of_images is None:
            return None
        return self.value - _WIDE * self.of_images, self.value + _WIDE * self.of_images

    @property
    def p(self) -> float | None:
        """Two-sided, against no difference; None as `error`."""
        return None if self.error is None else two_sided(self.value / self.error, self.freedom)

    def above(self, bound: float) -> float | None:
        """One-sided p against a true value of at most `bound`; None as `error`."""
        if self.error is None:
            return None
        t = (self.value - bound) / self.error
        half = two_sided(t, self.freedom) / 2
        return half if t > 0 else 1 - half

    def within(self, margin: float) -> float | None:
        """Of two one-sided tests: p against a true value beyond +-margin; None as `error`."""
        low, high = self.above(-margin), self.above(margin)
        return None if low is None or high is None else max(low, 1 - high)

    def beyond(self, margin: float) -> float | None:
        """Two-sided p against a true value within +-margin; None as `error`."""
        low, high = self.above(-margin), self.above(margin)
        return None if low is None or high is None else min(1.0, 2 * min(high, 1 - low))


@dataclass(frozen=True)
class _Fit:
    """One kind. cells: in the order of `means` and of both sides of `spread`, covariance in units of the variance.

    holds: projector on what the layout can tell. variance: of an error, None without residuals; freedom: its own.
    """

    cells: Mapping[Any, int]
    means: Array
    spread: Array
    holds: Array
    variance: float | None
    freedom: int


class Additive:
    """The model fitted to cells.

    Args:
        cells: by any name; cells without a value are left out.
        images: covariance over draws of the images, by pairs of names in either order; absent where unknown.
    """

    def __init__(self, cells: Mapping[Any, Numbers], images: Mapping[tuple[Any, Any], float] | None = None) -> None:
        self.cells = {name: cell for name, cell in cells.items() if cell.by_seed}
        kinds = dict.fromkeys(cell.kind for cell in self.cells.values())
        self._fits = [_fit({n: c for n, c in self.cells.items() if c.kind == kind}) for kind in kinds]
        self._images = images or {}

    def estimate(self, weights: Weights) -> Estimate | None:
        """A weighted sum of cells, as {"ours": 1, "baseline": -1}.

        Returns:
            None where a cell has no value, or no chain of cells and seeds links what is compared.
        """
        weights = {name: w for name, w in weights.items() if w}
        if not self._can_tell(weights):
            return None
        parts = [(fit, _row(fit, weights)) for fit in self._fits]
        used = [(fit, row) for fit, row in parts if any(row)]
        value = round(float(sum(fit.means @ row for fit, row in parts)), _DIGITS) + 0.0
        variances = [
            (None if fit.variance is None else fit.variance * float(fit.spread @ row @ row), fit) for fit, row in used
        ]
        of_images = self._of_images(weights, weights)
        of_images = None if of_images is None else round(math.sqrt(max(0.0, of_images)), _DIGITS)
        seeds = min((len(self.cells[name].by_seed) for name in weights), default=0)
        known = [(v, fit.freedom) for v, fit in variances if v is not None]
        if len(known) < len(variances) or not known:
            return Estimate(value, None, of_images, 0, seeds)
        of_seeds = round(math.sqrt(max(0.0, sum(v for v, _ in known))), _DIGITS)
        return Estimate(value, of_seeds, of_images, _freedom(known, of_images or 0.0), seeds)

    def covariance(self, contrasts: Sequence[Weights]) -> Array:
        """(N, N) covariance of contrasts that all have an estimate with a spread, both sources together."""
        import numpy as np

        total = np.zeros((len(contrasts), len(contrasts)))
        for fit in self._fits:
            rows = np.array([_row(fit, weights) for weights in contrasts])
            total += (fit.variance or 0.0) * rows @ fit.spread @ rows.T
        for i, one in enumerate(contrasts):
            for j, other in enumerate(contrasts):
                total[i, j] += self._of_images(one, other) or 0.0
        return total

    def _can_tell(self, weights: Weights) -> bool:
        if any(name not in self.cells for name in weights):
            return False
        return all(_holds(fit, _row(fit, weights)) for fit in self._fits)

    def _of_images(self, one: Weights, other: Weights) -> float | None:
        """Covariance over images of two contrasts; None where a pair of their cells has none."""
        total = 0.0
        for a, weight in one.items():
            for b, other_weight in other.items():
                known = self._images.get((a, b), self._images.get((b, a)))
                if known is None:
                    return None
                total += weight * other_weight * known
        return total


def _fit(cells: Mapping[Any, Numbers]) -> _Fit:
    import numpy as np

    seeds = {seed: n for n, seed in enumerate(sorted({seed for cell in cells.values() for seed in cell.by_seed}))}
    places = {name: n for n, name in enumerate(cells)}
    seen = [(places[name], seeds[seed], value) for name, cell in cells.items() for seed, value in cell.by_seed.items()]
    design = np.zeros((len(seen), len(places) + len(seeds)))
    for line, (cell, seed, _) in enumerate(seen):
        design[line, cell] = design[line, len(places) + seed] = 1.0
    values = np.array([value for _, _, value in seen])
    normal = design.T @ design
    inverse: Array = np.asarray(np.linalg.pinv(normal, hermitian=True), dtype=np.float64)
    effects: Array = np.asarray(inverse @ design.T @ values, dtype=np.float64)
    freedom = len(seen) - int(np.linalg.matrix_rank(normal, hermitian=True))
    residual = values - design @ effects
    variance = float(residual @ residual) / freedom if freedom else None
    own = len(places)
    return _Fit(places, effects[:own], inverse[:own, :own], inverse @ normal, variance, freedom)


def _row(fit: _Fit, weights: Weights) -> list[float]:
    return [weights.get(name, 0.0) for name in fit.cells]


def _holds(fit: _Fit, row: Sequence[float]) -> bool:
    """Whether the layout tells a contrast: projected on what it tells, it stays what it is."""
    told = (fit.holds[:, : len(row)] @ row).tolist()
    return all(abs(a - b) < 1e-8 for a, b in zip(told, [*row, *[0.0] * (len(told) - len(row))], strict=True))


def _freedom(of_seeds: Sequence[tuple[float, int]], of_images: float) -> int:
    """Satterthwaite's, rounded down. of_seeds: variance and its own freedom, of each kind in the contrast."""
    parts = [*of_seeds, (of_images**2, IMAGE_FREEDOM)]
    divisor = sum(variance**2 / freedom for variance, freedom in parts)
    total = sum(variance for variance, _ in parts)
    least = min(freedom for _, freedom in of_seeds)
    return max(least, math.floor(total**2 / divisor + 1e-6)) if divisor > 0 else least
