"""Do two measures put things in the same order? Spearman's rank correlation, with how far it can be trusted."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import NormalDist, fmean

EXACT = 7  # things of which all orders are tried; of more, so many random ones
SHUFFLES = 5000
ENOUGH = 4  # an interval needs more things than this


@dataclass(frozen=True)
class Rank:
    """rho in [-1, 1]; low, high: 95 % interval, None where n is small or the orders are equal; p: one-sided, how often
    a random order agrees at least as well."""

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
        spread = math.sqrt((1 + rho**2 / 2) / (len(a) - 3)) * NormalDist().inv_cdf(0.975)
        low, high = math.tanh(math.atanh(rho) - spread), math.tanh(math.atanh(rho) + spread)
    return Rank(rho, len(a), low, high, _p(x, y, rho))


def ranks(values: Sequence[float]) -> list[float]:
    """1 for the smallest; equal values share the mean of their ranks."""
    order = sorted(values)
    return [order.index(v) + (order.count(v) + 1) / 2 for v in values]


def _correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    if not x:
        return None
    mx, my = fmean(x), fmean(y)
    xx, yy = sum((v - mx) ** 2 for v in x), sum((v - my) ** 2 for v in y)
    if xx == 0 or yy == 0:
        return None
    r = sum((v - mx) * (w - my) for v, w in zip(x, y, strict=True)) / math.sqrt(xx * yy)
    return max(-1.0, min(1.0, r))


def _p(x: Sequence[float], y: Sequence[float], rho: float) -> float:
    """Share of orders of y that agree with x at least as well."""
    reached = rho - 1e-9
    if len(x) <= EXACT:
        results = [_correlation(x, order) or 0.0 for order in permutations(y)]
        return sum(r >= reached for r in results) / len(results)
    source, order, hits = random.Random(0), list(y), 0
    for _ in range(SHUFFLES):
        source.shuffle(order)
        hits += (_correlation(x, order) or 0.0) >= reached
    return (hits + 1) / (SHUFFLES + 1)
