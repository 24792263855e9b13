"""Paired t-test over seeds, in the standard library.

The same seed gives both sides of a comparison the same data order and, where they share stages, the same models, so
their difference varies less than either side: it is the differences that are tested.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05
TEST = f"paired t-test over seeds, two-sided, level {LEVEL}"
NO_SPREAD = 1e-9  # percent; below it seeds agree to rounding, and a test would divide by nothing


@dataclass(frozen=True)
class Paired:
    """Differences of two sides, one a seed, in percent.

    std: sample standard deviation, None below two seeds. p: two-sided, of a t-test with n - 1 degrees of freedom
    against no difference; None below two seeds, or where every seed gives the same difference.
    """

    mean: float
    std: float | None
    n: int
    p: float | None

    def p_within(self, margin: float) -> float | None:
        """Of two one-sided t-tests: how likely such differences are if the true one is beyond +-margin; None as p."""
        sides = [self._above(-margin), self._below(margin)]
        return None if None in sides else max(p for p in sides if p is not None)

    def p_beyond(self, margin: float) -> float | None:
        """How likely such differences are if the true one is within +-margin, two-sided; None as p."""
        sides = [self._above(margin), self._below(-margin)]
        return None if None in sides else min(1.0, 2 * min(p for p in sides if p is not None))

    def _above(self, bound: float) -> float | None:
        """One-sided p against a true difference of at most `bound`."""
        if self.p is None or self.std is None:
            return None
        t = (self.mean - bound) * math.sqrt(self.n) / self.std
        half = two_sided(t, self.n - 1) / 2
        return half if t > 0 else 1 - half

    def _below(self, bound: float) -> float | None:
        above = self._above(bound)
        return None if above is None else 1 - above


def paired(differences: Sequence[float]) -> Paired:
    """Mean, spread and test of differences, at least one."""
    mean, n = statistics.fmean(differences), len(differences)
    if n < 2:
        return Paired(mean, None, n, None)
    std = statistics.stdev(differences)
    p = two_sided(mean * math.sqrt(n) / std, n - 1) if std > NO_SPREAD else None
    return Paired(mean, std, n, p)


def two_sided(t: float, freedom: int) -> float:
    """P(|T| >= |t|) of Student's t distribution, in closed form for a whole number of degrees of freedom.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    angle = math.atan2(abs(t), math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, freedom, 2):  # k: 1, 3, 5 ... or 2, 4, 6 ...
        total += term
        term *= cosine * cosine * k / (k + 1)
    inside = math.sin(angle) * total
    if odd:
        inside = 2 / math.pi * (angle + inside)
    return max(0.0, 1 - inside)
