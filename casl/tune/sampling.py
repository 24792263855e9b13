"""Which value to try next, from Optuna's samplers: a function of the seed, the trial's number and the trials before it.

So no sampler's state has to survive a kill. A sampler proposes in a copy of the study in memory; a value that a trial
has already is answered there, and another one asked for.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from casl.spec.search import GRID, Value
from casl.tune.space import Space

STARTUP = 5  # random trials before a model is trusted; Optuna's ten would be most of a short search
ATTEMPTS = 50
OFF_STEP = 1e-8  # share of a step from which on Optuna says that a value is on none
MODELS: Mapping[str, Callable[[int], BaseSampler]] = {
    "gp": lambda seed: GPSampler(seed=seed, n_startup_trials=STARTUP),
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
    if space.step:
        high = float(space.grid()[-1])
        first, last, by = (Decimal(str(number)) for number in (space.low, high, space.step))
        if (last - first) % by:  # Optuna lowers such an end to a multiple of the step, which may be the one before
            high += space.step / 2
        return FloatDistribution(space.low, high, step=space.step)
    return FloatDistribution(space.low, space.high, log=space.log)


def held(space: Space, value: Value) -> Value:
    """A value as Optuna takes it: inside its distribution, from which the twelve digits of `snap` may lead out by less
    than themselves, as of an end of a third. Snapped again it is the value."""
    kept = distribution(space)
    if not isinstance(kept, FloatDistribution) or isinstance(value, str):
        return value
    if kept.step is not None:
        steps = (value - kept.low) / kept.step
        if abs(steps - round(steps)) >= OFF_STEP:
            value = kept.low + round(steps) * kept.step
    return min(max(value, float(kept.low)), float(kept.high))


def propose(name: str, sampler: str, seed: int, space: Space, trials: Sequence[FrozenTrial]) -> Value | None:
    """A value that no trial has; None if all are taken, or the sampler finds no other one.

    Args:
        name: of the parameter. sampler: one of casl.spec.search.SAMPLERS. trials: of the study so far, in any state.
    """
    taken = {space.snap(t.params[name]): t for t in reversed(trials)}
    if sampler == GRID:
        return _spread(space.grid(), taken)
    free = [v for v in space.grid() if v not in taken] if space.finite else []
    if space.finite and not free:
        return None
    copy = optuna.create_study(direction="maximize", sampler=MODELS[sampler](_mixed(seed, len(trials))))
    copy.add_trials(t for t in trials if t.state != TrialState.FAIL)
    for _ in range(ATTEMPTS):
        trial = copy.ask({name: distribution(space)})
        value = space.snap(trial.params[name])
        if value not in taken:
            return value
        done = taken[value].state == TrialState.COMPLETE
        copy.tell(trial, taken[value].values if done else None, TrialState.COMPLETE if done else TrialState.FAIL)
    place = space.grid().index
    return min(free, key=lambda v: abs(place(v) - place(value)), default=None)


def _spread(grid: Sequence[Value], taken: Collection[Value]) -> Value | None:
    """The free value farthest from any taken one, so a grid from coarse to fine.

    Optuna's GridSampler shuffles its values: a grid that is cut short has holes.
    """
    used = [i for i, v in enumerate(grid) if v in taken]
    free = [i for i, v in enumerate(grid) if v not in taken]
    if not free:
        return None
    if not used:
        return grid[len(grid) // 2]
    return grid[max(free, key=lambda i: (min(abs(i - j) for j in used), -i))]


def _mixed(seed: int, number: int) -> int:
    """Unrelated seeds for the trials of a search."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4])


warnings.filterwarnings("ignore", "The distribution is specified by", UserWarning)  # of an end between two steps
warnings.filterwarnings("ignore", category=ExperimentalWarning)  # GPSampler's; Optuna's version is recorded
