"""A teacher whose boxes never pass is noticed, once, and the threshold that would let some pass is named."""

from __future__ import annotations

import pytest

from casl.train.watch import Watch, below


def test_it_is_said_once_after_so_many_iterations_in_a_row_with_the_best_score_among_them() -> None:
    watch = Watch(0.9, patience=3)
    said = [watch.saw(boxes, best) for boxes, best in ((0, 0.3), (0, 0.4), (1, 0.95), (0, 0.2), (0, 0.62), (0, 0.5))]
    assert said[:-1] == [""] * 5
    assert "no pseudo box scored above 0.9 for 3 iterations" in said[-1]
    assert "the best score among them was 0.62: a threshold of 0.61 would have let some pass" in said[-1]
    assert [watch.saw(0, 0.1) for _ in range(9)] == [""] * 9


def test_a_teacher_that_finds_nothing_is_told_from_one_below_the_threshold() -> None:
    watch = Watch(0.5, patience=1)
    assert "found nothing at all" in watch.saw(0, 0.0)


def test_a_training_that_was_stopped_says_it_when_one_straight_through_would() -> None:
    first, second = Watch(0.5, patience=2), Watch(0.5, patience=2)
    first.saw(0, 0.25)
    second.load_state_dict(first.state_dict())
    assert "a threshold of 0.24" in second.saw(0, 0.0)
    third = Watch(0.5, patience=2)
    third.load_state_dict(second.state_dict())
    assert third.saw(0, 0.0) == ""


@pytest.mark.parametrize(("score", "number"), [(0.62, 0.61), (0.625, 0.62), (1.0, 0.99), (0.05, 0.04), (0.004, 0.002)])
def test_the_threshold_named_is_below_the_score(score: float, number: float) -> None:
    assert below(score) == pytest.approx(number) and below(score) < score
