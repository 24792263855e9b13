"""Learning-rate schedules as exact integer histories, and the paper's lengths 1x..5x.

A schedule is a tuple of (until, factor): the rate is base x factor up to, not including, iteration `until`. Neighbours
of equal factor are merged, so two trainings with the same beginning have literally the same beginning.
"""

from __future__ import annotations

import math
from fractions import Fraction

from casl.errors import SpecError, unknown

Schedule = tuple[tuple[int, float], ...]

RULES = ("A", "B", "C")
MOST_ITERS = 1_000_000_000


def iterations(schedule: Schedule) -> int:
    """Length in iterations."""
    return schedule[-1][0]


def check_schedule(schedule: Schedule) -> None:
    """Raise SpecError unless iterations rise from 1, factors are positive and neighbours differ."""
    last_until, last_factor = 0, 0.0
    if not schedule:
        raise SpecError("a schedule needs at least one iteration, got none")
    for until, factor in schedule:
        if until <= last_until or factor <= 0 or factor == last_factor:
            raise SpecError(
                f"schedule {schedule}: iterations must rise from 1, factors be positive and neighbours differ"
            )
        if until > MOST_ITERS:
            raise SpecError(f"a schedule of more than {MOST_ITERS:,} iterations ends in no lifetime")
        last_until, last_factor = until, factor


def factor_at(schedule: Schedule, iteration: int) -> float:
    """Factor in force at an iteration (0-based)."""
    for until, factor in schedule:
        if iteration < until:
            return factor
    raise ValueError(f"iteration {iteration} lies behind the schedule's end {iterations(schedule)}")


def cosine(iteration: int, length: int) -> float:
    """Factor at an iteration (0-based) of a training whose rate falls from 1 at its first to 0 behind its last one.

    It depends on the length, so trainings of two lengths have no rate in common but the first, and share no beginning.

    Source: SGDR (ICLR 2017) eq. 5 without restarts and with a lowest rate of 0: (1 + cos(pi iteration / length)) / 2.
    """
    if not 0 <= iteration < length:
        raise ValueError(f"iteration {iteration} lies outside of a schedule of {length}")
    return 0.5 * (1.0 + math.cos(math.pi * iteration / length))


def cut(schedule: Schedule, stop: int) -> Schedule:
    """The beginning of a schedule, up to iteration `stop`, 1 <= stop <= its length."""
    pieces: list[tuple[int, float]] = []
    for until, factor in schedule:
        pieces.append((min(until, stop), factor))
        if until >= stop:
            return tuple(pieces)
    raise ValueError(f"stop {stop} lies behind the schedule's end {iterations(schedule)}")


def common_length(a: Schedule, b: Schedule) -> int:
    """Number of first iterations that two schedules share exactly."""
    shared = 0
    for (until_a, factor_a), (until_b, factor_b) in zip(a, b, strict=False):
        if factor_a != factor_b:
            return shared
        shared = min(until_a, until_b)
        if until_a != until_b:
            return shared
    return shared


def is_beginning(short: Schedule, long: Schedule) -> bool:
    """Whether a training on `long` passes through the state that `short` ends in."""
    return iterations(short) <= iterations(long) and common_length(short, long) == iterations(short)


def is_trunk(schedule: Schedule) -> bool:
    """Whether longer trainings may continue from the end of this one by the paper's rules: the rate never dropped.

    Such states keep the optimiser; others keep the weights only, a third of the size.
    """
    return len(schedule) == 1


def times(length: int, iters_1x: int, rule: str = "A") -> Schedule:
    """The paper's schedule `length` x: two drops by 10.

    Args:
        length: 1..n, in units of 12 epochs.
        iters_1x: iterations of 1x; 90,000 at batch 16 on COCO.
        rule: where the drops are. "A", detectron2's default_X_scheduler: at 2/3 and 8/9 up to 2x, then 60k/90k and
            20k/90k of 1x before the end. "B", EntitySeg: 60/90 and 80/90 as its 1x up to 2x, then 180/270 and 250/270
            as its 3x. "C", mmdetection: 8/12 and 11/12, 16/24 and 22/24, then 3/4 and 11/12.

    Returns:
        Schedule of length x iters_1x iterations; a drop that rounds onto another or the end is left out.

    Raises:
        SpecError: unknown rule, or not even one iteration.

    Source: method reference sec. 3, 8 and 9.
    """
    if rule not in RULES:
        raise SpecError(unknown("schedule rule", rule, RULES))
    if length < 1 or iters_1x < 1:
        raise SpecError(f"a schedule of {length} x {iters_1x} iterations has no iteration; both must be at least 1")
    total = length * iters_1x
    first, second = _drops(length, rule)
    stops = ((round(first * iters_1x), 1.0), (round(second * iters_1x), 0.1), (total, 0.01))
    return tuple((until, factor) for i, (until, factor) in enumerate(stops) if until > (stops[i - 1][0] if i else 0))


def _drops(length: int, rule: str) -> tuple[Fraction, Fraction]:
    """Both drops, in units of 1x."""
    if rule == "A" and length > 2:
        return length - Fraction(2, 3), length - Fraction(2, 9)
    if rule == "A":
        return length * Fraction(2, 3), length * Fraction(8, 9)
    if rule == "B":  # EntitySeg has no 2x: a 1x drawn out, as by both other rules
        return length * Fraction(2, 3), length * (Fraction(8, 9) if length < 3 else Fraction(25, 27))
    return length * (Fraction(2, 3) if length < 3 else Fraction(3, 4)), length * Fraction(11, 12)
