"""Several tests at once: Holm across claims, the largest of joint contrasts, and the set of cells that may be best.

Contrasts of one claim share cells, as a baseline that all gains are measured against. Their joint covariance comes from
the additive model, and the largest of their t statistics is compared with the largest of a multivariate t of that
covariance. Its distribution is simulated with a fixed seed, so that one table always has one answer.

Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979);
    Dunnett, A multiple comparison procedure for comparing several treatments with a control, JASA 50 (1955);
    Hsu, Constrained simultaneous confidence intervals for multiple comparisons with the best, Annals of Statistics 12
    (1984).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from casl.report.additive import Additive, Weights
from casl.report.components import Array
from casl.report.significance import LEVEL, NO_SPREAD, two_sided

DRAWS = 20_000


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted so that comparing each with a level keeps the chance of any false finding below it."""
    order = sorted(range(len(p)), key=p.__getitem__)
    adjusted, least = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = least
    return adjusted


def p_of_largest(t: Sequence[float], covariance: Array, freedom: int) -> float:
    """One-sided p of the largest of several t statistics, if no true contrast is above zero.

    Args:
        covariance: (N, N) of the contrasts, with positive diagonal. freedom: of all, the least where they differ.
    """
    if len(t) == 1:
        half = two_sided(t[0], freedom) / 2
        return half if t[0] > 0 else 1 - half
    import numpy as np

    errors = np.sqrt(np.diag(covariance))
    generator = np.random.default_rng(0)
    sizes, directions = np.linalg.eigh(covariance / np.outer(errors, errors))
    drawn = generator.standard_normal((DRAWS, len(t))) @ (directions * np.sqrt(np.maximum(sizes, 0.0))).T
    scale = np.sqrt(generator.chisquare(freedom, DRAWS) / freedom)
    reached = int(np.count_nonzero(drawn.max(axis=1) >= max(t) * scale))
    return (reached + 1) / (DRAWS + 1)


def p_of_all(model: Additive, contrasts: Sequence[Weights], sign: float = 1.0) -> float | None:
    """One-sided p that some of the contrasts is above zero, below zero with sign -1, by their joint covariance.

    Returns:
        None where a contrast has no estimate, or none has a spread.
    """
    found = [model.estimate(weights) for weights in contrasts]
    known = [(e, w) for e, w in zip(found, contrasts, strict=True) if e and e.error and e.error > NO_SPREAD]
    if None in found or not known:
        return None
    t = [sign * e.value / (e.error or 1.0) for e, _ in known]
    return p_of_largest(t, model.covariance([w for _, w in known]), min(e.freedom for e, _ in known))


def best_set(model: Additive, terms: Mapping[str, Weights]) -> tuple[str, ...]:
    """Names of the terms that no other one is significantly above, in their order: multiple comparisons with the best.

    With 95 % confidence the truly best term is among them. Terms that cannot be compared are left out.
    """
    return tuple(name for name in terms if _may_be_best(model, terms, name))


def _may_be_best(model: Additive, terms: Mapping[str, Weights], name: str) -> bool:
    others = [_minus(other, terms[name]) for n, other in terms.items() if n != name]
    found = [(w, e) for w in others if w and (e := model.estimate(w)) and e.error]
    if not found:
        return False
    largest = min(p for _, e in found if (p := e.above(0.0)) is not None)
    if largest >= LEVEL or len(found) * largest < LEVEL:  # the joint p lies between the two: no need to simulate
        return largest >= LEVEL
    joint = p_of_all(model, [w for w, _ in found])
    return joint is not None and joint >= LEVEL


def _minus(one: Weights, other: Weights) -> Weights:
    left = {name: one.get(name, 0.0) - other.get(name, 0.0) for name in (*one, *other)}
    return {name: weight for name, weight in left.items() if weight}
