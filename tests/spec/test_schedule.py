"""Schedules against the figures of detectron2's rules and of Tables 3 and 4 (method reference sec. 8)."""

from __future__ import annotations

import pytest

from casl.errors import SpecError
from casl.spec.schedule import Schedule, common_length, cut, factor_at, is_beginning, is_trunk, times

COCO_1X = 90_000


@pytest.mark.parametrize(
    ("length", "rule", "drops"),
    [
        (1, "A", (60_000, 80_000)),
        (2, "A", (120_000, 160_000)),
        (3, "A", (210_000, 250_000)),
        (5, "A", (390_000, 430_000)),
        (1, "B", (60_000, 80_000)),
        (2, "B", (120_000, 160_000)),
        (3, "B", (180_000, 250_000)),
        (4, "B", (240_000, 333_333)),
        (1, "C", (60_000, 82_500)),
        (3, "C", (202_500, 247_500)),
    ],
)
def test_drops_fall_where_the_published_recipes_have_them(length: int, rule: str, drops: tuple[int, int]) -> None:
    total = length * COCO_1X
    assert times(length, COCO_1X, rule) == ((drops[0], 1.0), (drops[1], 0.1), (total, 0.01))


def test_rates_of_rule_b_are_those_of_entityseg() -> None:
    """Its Swin 1x at iterations behind the ramp, rates as detectron2's solver gave them (method reference sec. 9)."""
    rates = [1e-4 * factor_at(times(1, COCO_1X, "B"), i) for i in (1_500, 60_000, 80_000)]
    assert rates == pytest.approx([1e-4, 1e-5, 1e-6])


def test_a_schedule_too_short_for_its_drops_leaves_them_out() -> None:
    assert times(1, 1) == ((1, 1.0),)
    assert times(1, 2) == ((1, 1.0), (2, 0.1))


@pytest.mark.parametrize(("length", "iters"), [(0, 90), (1, 0), (-1, 90)])
def test_no_iterations_are_refused(length: int, iters: int) -> None:
    with pytest.raises(SpecError, match="no iteration"):
        times(length, iters)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown schedule rule 'D'"):
        times(1, 90, "D")


def test_the_factor_holds_up_to_but_not_including_its_end() -> None:
    schedule = times(1, 90)
    assert [factor_at(schedule, i) for i in (0, 59, 60, 79, 80, 89)] == [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    with pytest.raises(ValueError, match="behind the schedule's end 90"):
        factor_at(schedule, 90)


@pytest.mark.parametrize(
    ("a", "b", "shared"),
    [
        (times(1, 90), times(1, 90), 90),
        (times(1, 90), times(3, 90), 60),
        (times(2, 90), times(3, 90), 120),
        (((10, 1.0),), ((10, 0.5),), 0),
        (((10, 1.0), (20, 0.1)), ((10, 1.0), (15, 0.1), (30, 0.01)), 15),
    ],
)
def test_two_schedules_share_iterations_up_to_the_first_difference(a: Schedule, b: Schedule, shared: int) -> None:
    # oracle: compare the factors one iteration at a time
    ends = min(a[-1][0], b[-1][0])
    by_hand = next((i for i in range(ends) if factor_at(a, i) != factor_at(b, i)), ends)
    assert common_length(a, b) == common_length(b, a) == shared == by_hand


def test_a_beginning_is_the_same_training_stopped_earlier() -> None:
    whole = times(3, 90)
    assert cut(whole, 100) == ((100, 1.0),)
    assert cut(whole, 270) == whole
    assert is_beginning(cut(whole, 215), whole)
    assert not is_beginning(times(1, 90), whole)
    assert is_trunk(cut(whole, 210)) and not is_trunk(cut(whole, 211))
