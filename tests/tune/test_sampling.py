"""Proposals: never a value twice, the same ones from the same seed, and whatever can be covered is."""

from __future__ import annotations

from itertools import pairwise

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from casl.spec.search import SAMPLERS, Value
from casl.tune.sampling import distribution, propose
from casl.tune.space import Space

TWELVE = Space(low=0.15, high=0.7, step=0.05)


def hill(value: Value) -> float:
    return -abs(float(value) - 0.4)


def walk(sampler: str, space: Space, seed: int = 0, limit: int = 20) -> list[Value]:
    """Values proposed one after the other, each done before the next."""
    trials: list[FrozenTrial] = []
    values: list[Value] = []
    while len(values) < limit and (value := propose("delta", sampler, seed, space, trials)) is not None:
        score = 0.0 if space.choices else hill(value)
        values.append(value)
        trials.append(
            create_trial(values=[score], params={"delta": value}, distributions={"delta": distribution(space)})
        )
    return values


# a Gaussian process takes a second a proposal on a busy core
EVERY = [pytest.param(s, marks=pytest.mark.slow) if s == "gp" else s for s in sorted(SAMPLERS)]


@pytest.mark.parametrize("sampler", EVERY)
@pytest.mark.parametrize("space", [TWELVE, Space(low=1, high=5, whole=True), Space(choices=("a", "b", "c"))])
def test_every_sampler_tries_every_value_of_a_finite_space_once(sampler: str, space: Space) -> None:
    values = walk(sampler, space)
    assert len(values) == len(set(values))
    assert set(values) == set(space.grid())


@pytest.mark.parametrize("sampler", EVERY)
def test_twelve_trials_are_twelve_different_thresholds(sampler: str) -> None:
    values = walk(sampler, Space(low=0.05, high=0.95, step=0.05), limit=12)
    assert len(set(values)) == 12
    assert all(round(float(v) * 20, 9).is_integer() for v in values)


def test_the_same_seed_proposes_the_same_and_another_one_does_not() -> None:
    assert walk("tpe", TWELVE, seed=3) == walk("tpe", TWELVE, seed=3)
    assert walk("tpe", TWELVE, seed=3) != walk("tpe", TWELVE, seed=4)


def test_a_grid_cut_short_leaves_no_large_hole() -> None:
    values = sorted(walk("grid", Space(low=0, high=16, whole=True), limit=9))
    assert max(float(b) - float(a) for a, b in pairwise(values)) <= 3


def test_running_and_failed_trials_are_not_proposed_again() -> None:
    kept = {"delta": distribution(TWELVE)}
    trials = [
        create_trial(state=TrialState.RUNNING, params={"delta": 0.4}, distributions=kept),
        create_trial(state=TrialState.FAIL, params={"delta": 0.45}, distributions=kept),
    ]
    for seed in range(5):
        assert propose("delta", "tpe", seed, TWELVE, trials) not in (0.4, 0.45)


def test_a_value_is_free_of_what_binary_fractions_add() -> None:
    assert 0.35 in TWELVE.grid() and len(str(max(walk("random", TWELVE), key=lambda v: len(str(v))))) <= 4
