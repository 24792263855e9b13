"""Student's t, orders and peaks, with the standard library alone. Tables are tested by casl.report.additive."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

LEVEL = 0.05
TEST = f"contrast of the additive model cell + seed, t-test over seeds and images, two-sided, level {LEVEL}"
NO_SPREAD = 1e-9  # percent; below it seeds agree to rounding, and a test would divide by nothing
EXACT = 7  # a rank test tries all orders of so many things; of more, so many random ones
SHUFFLES = 5000
ENOUGH = 4  # an interval of a rank correlation needs more things than this


@dataclass(frozen=True)
class Paired:
    """Differences between two sides, one for each seed, in percent.

    std: sample standard deviation, None below two seeds. p: two-sided, of a t-test with n - 1 degrees of freedom
    against no difference; None below two seeds, or where every seed gives the same difference.
    """

    mean: float
    std: float | None
    n: int
    p: float | None


def paired(differences: Sequence[float]) -> Paired:
    """Mean, spread and test of differences, at least one."""
    mean, n = statistics.fmean(differences), len(differences)
    if n < 2:
        return Paired(mean, None, n, None)
    std = statistics.stdev(differences)
    p = two_sided(mean * math.sqrt(n) / std, n - 1) if std > NO_SPREAD else None
    return Paired(mean, std, n, p)


def two_sided(t: float, freedom: float) -> float:
    """P(|T| >= |t|) of Student's t distribution; freedom: at least 1, not necessarily whole.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.5.27.
    """
    share = freedom / (freedom + t * t)
    return _beta_share(share, freedom / 2, 0.5)


def _beta_share(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), x in [0, 1].

    Source: NIST Digital Library of Mathematical Functions, 8.17.4 and 8.17.22, the fraction by Lentz's method.
    """
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):  # where the fraction would be slow
        return 1 - _beta_share(1 - x, b, a)
    scale = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    fraction, upper, lower = 1.0, 1.0, 0.0
    for n in range(1, 10_000):
        m = n // 2
        if n % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / (1 + term * lower)
        upper = 1 + term / upper
        fraction *= upper * lower
        if abs(upper * lower - 1) < 1e-15:
            break
    return scale / fraction


@dataclass(frozen=True)
class Rank:
    """rho in [-1, 1]; low, high: 95 % interval, None where n is small or the orders are equal; p: two-sided, how often
    a random order gives a rho at least as far from 0."""

    rho: float
    n: int
    low: float | None
    high: float | None
    p: float


def spearman(a: Sequence[float], b: Sequence[float]) -> Rank | None:
    """Rank correlation of two measures of the same things, ties sharing their ranks.

    Returns:
        None with fewer than three things, or where one measure says the same of all.

    Source: Bonett and Wright, Sample size requirements for estimating Pearson, Kendall and Spearman correlations,
        Psychometrika 65 (2000), for the interval; a permutation test for p.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} numbers: one of each for every thing")
    x, y = ranks(a), ranks(b)
    rho = _correlation(x, y)
    if len(a) < 3 or rho is None:
        return None
    low = high = None
    if len(a) > ENOUGH and abs(rho) < 1 - 1e-12:
        spread = math.sqrt((1 + rho**2 / 2) / (len(a) - 3)) * statistics.NormalDist().inv_cdf(0.975)
        low, high = math.tanh(math.atanh(rho) - spread), math.tanh(math.atanh(rho) + spread)
    return Rank(rho, len(a), low, high, _p(x, y, rho))


def ranks(values: Sequence[float]) -> list[float]:
    """Ranks of values, 1 for the smallest; equal values share the mean of their ranks."""
    order = sorted(values)
    return [order.index(v) + (order.count(v) + 1) / 2 for v in values]


def _correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    if not x:
        return None
    mx, my = statistics.fmean(x), statistics.fmean(y)
    xx, yy = sum((v - mx) ** 2 for v in x), sum((v - my) ** 2 for v in y)
    if xx == 0 or yy == 0:
        return None
    r = sum((v - mx) * (w - my) for v, w in zip(x, y, strict=True)) / math.sqrt(xx * yy)
    return max(-1.0, min(1.0, r))


def _p(x: Sequence[float], y: Sequence[float], rho: float) -> float:
    """Share of orders of y whose correlation with x is at least as far from 0."""
    reached = abs(rho) - 1e-9
    if len(x) <= EXACT:
        results = [_correlation(x, order) or 0.0 for order in permutations(y)]
        return sum(abs(r) >= reached for r in results) / len(results)
    generator, order, hits = random.Random(0), list(y), 0
    for _ in range(SHUFFLES):
        generator.shuffle(order)
        hits += abs(_correlation(x, order) or 0.0) >= reached
    return (hits + 1) / (SHUFFLES + 1)


def roughness(points: Sequence[tuple[float, float]]) -> float:
    """Standard deviation of a point about a smooth curve, from each point's distance to the line of its neighbours.

    Args:
        points: (place, height), places rising, three or more.

    Source: Gasser, Sroka and Jennen-Steinmetz, Residual variance and residual pattern in nonlinear regression,
        Biometrika 73 (1986).
    """
    total = 0.0
    for (x0, y0), (x1, y1), (x2, y2) in zip(points, points[1:], points[2:], strict=False):
        a, b = (x2 - x1) / (x2 - x0), (x1 - x0) / (x2 - x0)
        total += (a * y0 + b * y2 - y1) ** 2 / (a * a + b * b + 1)
    return math.sqrt(total / (len(points) - 2))


def critical(freedom: float) -> float:
    """The t that |T| exceeds with probability LEVEL, by bisection."""
    low, high = 0.0, 1000.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > LEVEL else (low, middle)
    return high
