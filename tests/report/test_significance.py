"""Tests, intervals and ranks. Oracles: printed tables of Student's t, scipy, hand calculation."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from casl.report.significance import critical, paired, ranks, roughness, spearman, two_sided

# two-sided 5 % points as printed in any textbook
CRITICAL = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 10: 2.228, 30: 2.042}


@pytest.mark.parametrize(("freedom", "t"), CRITICAL.items())
def test_five_percent_points_are_those_of_the_printed_table(freedom: int, t: float) -> None:
    assert two_sided(t, freedom) == pytest.approx(0.05, abs=1e-4)
    assert two_sided(-t, freedom) == two_sided(t, freedom)


def test_one_and_two_degrees_of_freedom_by_their_own_formulas() -> None:
    for t in (0.0, 0.3, 1.0, 7.0, 1000.0):
        assert two_sided(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), abs=1e-12)
        assert two_sided(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-12)


def test_differences_of_three_seeds_by_hand() -> None:
    found = paired([1.0, 2.0, 3.0])
    assert (found.mean, found.std, found.n) == (2.0, 1.0, 3)
    assert found.p == pytest.approx(1 - math.sqrt(12 / 14))


def test_one_seed_has_a_difference_and_no_test() -> None:
    assert (paired([1.5]).mean, paired([1.5]).std, paired([1.5]).p) == (1.5, None, None)


def test_equal_differences_have_no_spread_to_test_against() -> None:
    assert paired([0.1 + 0.2, 0.3, 0.3]).p is None


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 2.7, 10, 48, 399.3])
@pytest.mark.parametrize("t", [1e-6, 0.3, 2.0, 8.0, 60.0])
def test_degrees_of_freedom_need_not_be_whole(freedom: float, t: float) -> None:
    assert two_sided(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-8, abs=1e-14)


@pytest.mark.parametrize("n", [5, 9, 20])
def test_rank_correlation_is_scipys(n: int) -> None:
    generator = random.Random(n)
    a = [float(generator.randrange(8)) for _ in range(n)]  # with ties
    b = [x + generator.gauss(0, 3) for x in a]
    found = spearman(a, b)
    assert found is not None and found.rho == pytest.approx(stats.spearmanr(a, b).statistic)
    assert ranks(a) == list(stats.rankdata(a))
    assert found.p == pytest.approx(stats.spearmanr(a, b).pvalue, abs=0.08), "two-sided; t is rough for five"
    assert found.low is not None and found.high is not None and found.low < found.rho < found.high


def test_rank_correlation_of_too_little_is_none_and_of_equal_orders_has_no_interval() -> None:
    assert spearman([1, 2], [1, 2]) is None
    assert spearman([1, 2, 3], [5, 5, 5]) is None
    found = spearman([1, 2, 3, 4, 5], [2, 3, 5, 7, 11])
    assert found is not None and (found.rho, found.low, found.high) == (1.0, None, None)
    assert found.p == pytest.approx(2 / math.factorial(5)), "the equal order and its reverse"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_rank_test_of_few_things_is_exact_and_two_sided(sign: int) -> None:
    """Against scipy's permutation test over all orders."""
    a, b = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [sign * v for v in (2.0, 1.0, 4.0, 3.0, 6.0, 5.5)]
    found = spearman(a, b)
    exact = stats.permutation_test((a,), lambda x: stats.spearmanr(x, b).statistic, permutation_type="pairings")
    assert found is not None and found.p == pytest.approx(exact.pvalue)


def test_the_critical_t_is_the_tables() -> None:
    assert [critical(n) for n in (1, 4, 10)] == pytest.approx([12.706, 2.776, 2.228], abs=1e-3)


def test_noise_about_a_smooth_curve_is_found_and_the_curve_is_not_taken_for_noise() -> None:
    generator = random.Random(0)
    places = sorted(generator.random() for _ in range(4000))
    noisy = [(x, math.sin(3 * x) + generator.gauss(0, 0.2)) for x in places]
    assert roughness(noisy) == pytest.approx(0.2, rel=0.05)
    assert roughness([(x, 3 * x - 1) for x in places]) == pytest.approx(0, abs=1e-9)
