"""The paired test, against printed tables of Student's t and hand calculation."""

from __future__ import annotations

import math

import pytest

from casl.report.paired import paired, two_sided

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
    found = paired([0.1 + 0.2, 0.3, 0.3])
    assert found.p is None
    assert (found.p_within(1.0), found.p_beyond(0.1)) == (None, None)


def test_equality_within_a_margin_by_two_one_sided_tests() -> None:
    """Mean 0.1, deviation 0.1, n 3: t = (0.5 - 0.1) sqrt 3 / 0.1 against the nearer bound."""
    t = 0.4 * math.sqrt(3) / 0.1
    found = paired([0.0, 0.1, 0.2])
    assert found.p_within(0.5) == pytest.approx((1 - t / math.sqrt(2 + t * t)) / 2)
    beyond = paired([1.0, 1.1, 1.2])
    t = 0.6 * math.sqrt(3) / 0.1
    assert beyond.p_beyond(0.5) == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert beyond.p_within(0.5) == pytest.approx(1 - (1 - t / math.sqrt(2 + t * t)) / 2)
    assert paired([-1.2, -1.1, -1.0]).p_beyond(0.5) == pytest.approx(beyond.p_beyond(0.5) or 0)
