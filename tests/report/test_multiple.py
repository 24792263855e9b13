"""Several tests at once. Oracles: statsmodels' Holm, scipy's Dunnett, and simulated truths."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from casl.report.additive import Additive, Numbers
from casl.report.multiple import best_set, holm, p_of_all, p_of_largest


@pytest.mark.parametrize("seed", range(5))
def test_adjusted_p_values_are_those_of_statsmodels(seed: int) -> None:
    generator = random.Random(seed)
    p = [round(generator.random() ** 3, 3) for _ in range(12)]  # with ties
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())
    assert holm([]) == []


def test_the_largest_of_several_gains_over_one_baseline_is_dunnetts() -> None:
    generator = np.random.default_rng(3)
    control = generator.normal(10, 1, size=8)
    treated = [generator.normal(10 + shift, 1, size=8) for shift in (0.2, 0.9, 1.3)]
    dunnett = stats.dunnett(*treated, control=control, alternative="greater", rng=np.random.default_rng(0))
    pooled = sum(x.var(ddof=1) for x in (control, *treated)) / 4
    covariance = pooled / 8 * (np.eye(3) + 1)
    t = [(x.mean() - control.mean()) / np.sqrt(2 * pooled / 8) for x in treated]
    assert p_of_largest(t, covariance, 28) == pytest.approx(dunnett.pvalue.min(), abs=0.002)


def test_one_contrast_alone_is_the_t_test() -> None:
    assert p_of_largest([2.0], np.array([[4.0]]), 7) == pytest.approx(stats.t.sf(2.0, 7))
    assert p_of_largest([-2.0], np.array([[4.0]]), 7) == pytest.approx(stats.t.cdf(2.0, 7))


def test_the_same_contrast_twice_costs_nothing() -> None:
    """As Bonferroni would: two perfectly correlated contrasts are one."""
    assert p_of_largest([2.0, 2.0], np.ones((2, 2)), 20) == pytest.approx(stats.t.sf(2.0, 20), abs=0.002)


def drawn(generator: np.random.Generator, truth: list[float], seeds: int) -> Additive:
    values = (
        np.array(truth)[:, None] + generator.normal(size=(1, seeds)) * 2 + generator.normal(size=(len(truth), seeds))
    )
    return Additive({str(n): Numbers("AP", dict(enumerate(row.tolist()))) for n, row in enumerate(values)})


def test_the_best_set_holds_the_truly_best_cell_in_at_least_95_percent_of_studies() -> None:
    """Hardest where all others are hardly worse; and a cell far below is not in it."""
    generator = np.random.default_rng(1)
    held = far = 0
    for _ in range(150):
        model = drawn(generator, [10.0, 10.0, 9.99, 9.99, 2.0], 3)
        found = best_set(model, {str(n): {str(n): 1.0} for n in range(5)})
        held += "0" in found
        far += "4" in found
    assert 0.91 <= held / 150 <= 0.99
    assert far == 0


def test_a_claim_against_all_is_wrong_in_at_most_five_percent_of_studies_without_any_difference() -> None:
    generator = np.random.default_rng(2)
    gains = [{str(n): 1.0, "0": -1.0} for n in range(1, 6)]
    p = [p_of_all(drawn(generator, [10.0] * 6, 3), gains) or 1.0 for _ in range(300)]
    assert 0.02 <= sum(x < 0.05 for x in p) / 300 <= 0.08


def test_terms_that_cannot_be_compared_are_in_no_best_set() -> None:
    cells = {n: Numbers("AP", dict(enumerate(v))) for n, v in (("a", [1.0, 2.0, 3.5]), ("b", [9.0, 10.0, 11.0]))}
    model = Additive(cells | {"c": Numbers("PQ", {0: 50.0})})
    assert best_set(model, {n: {n: 1.0} for n in "abc"}) == ("b",)
    assert p_of_all(model, [{"a": 1.0, "c": -1.0}]) is None
