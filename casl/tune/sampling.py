"""Which value to try next. Every proposal is a function of the seed, the trial's number and the trials before it.

So a search that was killed goes on as if it had not been: no sampler's state has to survive. Samplers propose in a copy
of the study in memory; a value that is taken already is answered there and another one asked for.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from casl.spec.search import Value
from casl.tune.space import Space

STARTUP = 5  # random trials before a model is trusted; Optuna's ten would be most of a short search
ATTEMPTS = 50
SAMPLERS: dict[str, Callable[[int], BaseSampler] | None] = {
    "gp": lambda seed: GPSampler(seed=seed, n_startup_trials=STARTUP),
    "grid": None,  # our own order, from coarse to fine: Optuna's is random, and a grid that is cut short has holes
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed, n_startup_trials=STARTUP),
}


def distribution(space: Space) -> BaseDistribution:
    """A space in Optuna's terms; a choice is its text."""
    if space.choices:
        return CategoricalDistribution(space.choices)
    if space.whole:
        step = 1 if space.log else int(space.step or 1)
        return IntDistribution(int(space.low), int(space.grid()[-1]), log=space.log, step=step)
    high = space.grid()[-1] if space.step else space.high
    return FloatDistribution(space.low, float(high), log=space.log, step=space.step or None)


def propose(name: str, sampler: str, seed: int, space: Space, trials: Sequence[FrozenTrial]) -> Value | None:
    """A value that no trial has; None if all are taken, or the sampler finds no other one.

    Args:
        name: of the parameter. sampler: one of SAMPLERS. trials: of the study so far, in any state.
    """
    taken = {space.snap(t.params[name]) for t in trials if name in t.params}
    free = [v for v in space.grid() if v not in taken]
    make = SAMPLERS[sampler]
    if make is None:
        return _spread(space.grid(), taken)
    if space.finite and not free:
        return None
    copy = optuna.create_study(direction="maximize", sampler=make(_mixed(seed, len(trials))))
    copy.add_trials([_copied(t) for t in trials if t.state != TrialState.FAIL and name in t.params])
    for _ in range(ATTEMPTS):
        trial = copy.ask({name: distribution(space)})
        value = space.snap(trial.params[name])
        if value not in taken:
            return value
        copy.tell(trial, *_known(value, name, space, trials))
    return min(free, key=lambda v: _distance(space, v, value)) if space.finite else None


def _copied(trial: FrozenTrial) -> FrozenTrial:
    return create_trial(
        state=trial.state,
        values=trial.values,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=trial.intermediate_values,
    )


def _known(value: Value, name: str, space: Space, trials: Sequence[FrozenTrial]) -> tuple[Any, TrialState]:
    """What the study knows of a value that was proposed again."""
    same = next(t for t in trials if name in t.params and space.snap(t.params[name]) == value)
    return (same.values, TrialState.COMPLETE) if same.state == TrialState.COMPLETE else (None, TrialState.FAIL)


def _spread(grid: Sequence[Value], taken: set[Value]) -> Value | None:
    """The free value farthest from any taken one: a grid from coarse to fine."""
    used = [i for i, v in enumerate(grid) if v in taken]
    free = [i for i, v in enumerate(grid) if v not in taken]
    if not free:
        return None
    if not used:
        return grid[len(grid) // 2]
    return grid[max(free, key=lambda i: (min(abs(i - j) for j in used), -i))]


def _distance(space: Space, a: Value, b: Value) -> float:
    grid = space.grid()
    return abs(grid.index(a) - grid.index(b))


def _mixed(seed: int, number: int) -> int:
    """Unrelated seeds for the trials of a search."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4])


warnings.filterwarnings("ignore", category=ExperimentalWarning)  # GPSampler's; Optuna's version is recorded
