"""Stage trees: no iteration is trained twice.

A training on a schedule passes through earlier states, each the same training on the beginning of that schedule. Two
trainings of one family (equal in all but the schedule) share every state up to where their schedules part. `branch`
finds the states worth committing, `beginnings` picks for each the longest one to continue from.

Exact because the learning rate, the data order and all randomness are functions of the integer iteration (method
reference sec. 8): a state does not depend on where it was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cmp_to_key
from itertools import pairwise

from casl.spec.kinds import Train
from casl.spec.schedule import Schedule, common_length, cut, is_beginning, iterations


def branch(finals: Iterable[Train]) -> list[Train]:
    """The states to commit for trainings of one family.

    Args:
        finals: trainings that stages ask for, all of one family.

    Returns:
        The finals; for each the state before its first rate drop, where longer trainings can start; and every state at
        which two of them part. Shorter first, without repetition.
    """
    known = {t.schedule: t for t in finals}
    wanted = sorted(known, key=cmp_to_key(_in_tree_order))
    first = known[wanted[0]]
    states = set(wanted)
    states.update((s[0],) for s in wanted)
    for a, b in pairwise(wanted):  # neighbours in tree order part last
        if shared := common_length(a, b):
            states.add(cut(a, shared))
    return [known.get(s) or first.until(s) for s in sorted(states, key=lambda s: (iterations(s), s))]


def beginnings(states: Iterable[Train], stored: Mapping[str, Schedule]) -> dict[str, Train | None]:
    """For each state, the longest other one it can continue from.

    Args:
        states: the result of `branch`.
        stored: states of the same family that the store already has and that can be continued: name -> schedule.

    Returns:
        name -> state to start from, or None to start at iteration 0.
    """
    known = {s.schedule: s for s in states}
    longest_first = sorted(known.keys() | set(stored.values()), key=iterations, reverse=True)
    result: dict[str, Train | None] = {}
    for schedule, state in known.items():
        earlier = (s for s in longest_first if iterations(s) < state.iters and is_beginning(s, schedule))
        longest = next(earlier, None)
        result[state.name] = (known.get(longest) or state.until(longest)) if longest else None
    return result


def _in_tree_order(a: Schedule, b: Schedule) -> int:
    """Compare two schedules as sequences of one factor an iteration; the end of a sequence comes first."""
    shared = common_length(a, b)
    rest_a, rest_b = (next((f for until, f in s if until > shared), None) for s in (a, b))
    if rest_a is None or rest_b is None:
        return (rest_a is not None) - (rest_b is not None)
    return (rest_a > rest_b) - (rest_a < rest_b)
