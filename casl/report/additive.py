"""The additive model of a table: value[cell, seed] = cell + seed + error, fitted by least squares.

Numbers of one kind (a metric's figure, as AP^det) have seed effects and an error variance of their own: a seed moves
panoptic quality otherwise than box AP, and their spreads differ several times. All cells of a kind estimate that one
variance together, so a difference of two cells of 25 with three seeds is tested with 48 degrees of freedom, not two.
Any contrast of cells has its covariance from the same fit: two gains over one baseline share that baseline's error.

Cells that share a training (a labeler, a warmup, a shorter state of the same one) or a draw of the data err alike. The
variance has a part for each kind of what they share (casl.report.components): cells of one warmup are told apart as
sharply as their own errors allow, groups of them only as sharply as there are groups and seeds. Means stay those of
least squares.

Images are a second, independent source of error, with the covariance that the bootstrap over images gives:

    estimate = truth + error of seeds + error of images,  variance = of seeds + of images,

and t with Satterthwaite's degrees of freedom, rounded down. The errors of seeds were measured on one set of images, so
they hold the interaction of both already, and the bootstrap holds it again: intervals are a little wide, never narrow.

Source: Scheffe, The Analysis of Variance (1959), ch. 4, for incomplete layouts too; Satterthwaite, An approximate
    distribution of estimates of variance components, Biometrics Bulletin 2 (1946).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, TypeAlias

from casl.report.components import Array, Components, components
from casl.report.significance import LEVEL, NO_SPREAD, critical, two_sided

Weights: TypeAlias = Mapping[Any, float]  # cells by any hashable name
IMAGE_FREEDOM = 399  # of a variance that 400 draws estimate
_WHOLE = 1e-6  # what a number of degrees of freedom may lack of a whole one by rounding
_DIGITS = 9  # of a percent; what is beyond depends on the processor's order of sums
_WIDE = NormalDist().inv_cdf(1 - LEVEL / 2)


@dataclass(frozen=True)
class Numbers:
    """A cell: its kind, and a value for each seed, in percent.

    shares: for each seed what its value depends on that other cells' may depend on too, each with its kind in front:
    "warmup-0123".
    """

    kind: Hashable
    by_seed: Mapping[int, float]
    shares: Mapping[int, Sequence[str]] = field(default_factory=dict)


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
    """One kind. cells: in the order of `means` and of both sides of `spreads`, the covariances that one unit of each of
    the components gives.

    holds: projector on what the layout can tell. components: None without residuals.
    """

    cells: Mapping[Any, int]
    means: Array
    spreads: tuple[Array, ...]
    holds: Array
    components: Components | None

    def variance(self, row: Sequence[float]) -> tuple[float, float] | None:
        """Of a weighted sum of means, with its degrees of freedom; None without residuals."""
        import numpy as np

        if self.components is None:
            return None
        return self.components.variance(np.array([float(spread @ row @ row) for spread in self.spreads]))


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
        variances = [fit.variance(row) for fit, row in used]
        of_images = self._of_images(weights, weights)
        of_images = None if of_images is None else round(math.sqrt(max(0.0, of_images)), _DIGITS)
        seeds = min((len(self.cells[name].by_seed) for name in weights), default=0)
        known = [variance for variance in variances if variance is not None]
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
            for size, spread in zip(fit.components.sizes if fit.components else (), fit.spreads, strict=True):
                total += size * rows @ spread @ rows.T
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
    names = [(name, seed) for name, cell in cells.items() for seed in cell.by_seed]
    seen = [(places[name], seeds[seed], cells[name].by_seed[seed]) for name, seed in names]
    design = np.zeros((len(seen), len(places) + len(seeds)))
    for line, (cell, seed, _) in enumerate(seen):
        design[line, cell] = design[line, len(places) + seed] = 1.0
    values = np.array([value for _, _, value in seen])
    normal = design.T @ design
    inverse: Array = np.asarray(np.linalg.pinv(normal, hermitian=True), dtype=np.float64)
    effects: Array = np.asarray(inverse @ design.T @ values, dtype=np.float64)
    own = len(places)
    found = components(values, design, _shared([cells[name].shares.get(seed, ()) for name, seed in names]))
    to_means = (inverse @ design.T)[:own]
    spreads = tuple(to_means @ kernel @ to_means.T for kernel in found.kernels) if found else ()
    return _Fit(places, effects[:own], spreads, inverse @ normal, found)


def _shared(of_values: Sequence[Sequence[str]]) -> list[Array]:
    """Which values have which unit, (N, units) for each kind of which two values have the same."""
    import numpy as np

    counts = Counter(unit for units in of_values for unit in set(units))
    kinds: dict[str, list[str]] = {}
    for unit in sorted(counts):
        kinds.setdefault(unit.rpartition("-")[0], []).append(unit)
    of_several = [units for units in kinds.values() if any(counts[unit] > 1 for unit in units)]
    return [np.array([[float(unit in has) for unit in units] for has in of_values]) for units in of_several]


def _row(fit: _Fit, weights: Weights) -> list[float]:
    return [weights.get(name, 0.0) for name in fit.cells]


def _holds(fit: _Fit, row: Sequence[float]) -> bool:
    """Whether the layout tells a contrast: projected on what it tells, it stays what it is."""
    told = (fit.holds[:, : len(row)] @ row).tolist()
    return all(abs(a - b) < 1e-8 for a, b in zip(told, [*row, *[0.0] * (len(told) - len(row))], strict=True))


def _freedom(of_seeds: Sequence[tuple[float, float]], of_images: float) -> int:
    """Satterthwaite's, rounded down. of_seeds: variance and its own freedom, of each kind in the contrast."""
    parts = [*of_seeds, (of_images**2, IMAGE_FREEDOM)]
    divisor = sum(variance**2 / freedom for variance, freedom in parts)
    total = sum(variance for variance, _ in parts)
    least = math.floor(min(freedom for _, freedom in of_seeds) + _WHOLE)
    return max(least, math.floor(total**2 / divisor + _WHOLE)) if divisor > 0 else least
