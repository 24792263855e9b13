"""How long the rest of a plan takes, from the stages of this very run and from results that are alike.

A share of what was done tells little: labelling images goes tenfold faster than training, and the first stages of
a plan are of one kind. So every stage has a rate of its own, seconds a unit of work, and the unknown is said as such.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from casl.runner.cost import Estimate
from casl.runner.plan import Plan

KNOWN = ("measured", "given", "probed")  # grounds of an estimate that are better than results of another recipe
Likeness = tuple[Any, ...]


@dataclass(frozen=True)
class Left:
    """seconds: until the stages whose rate is known are done. unknown: how many others are left."""

    seconds: float
    unknown: int


class Remaining:
    """Rates of one run.

    Args:
        expected: what results in the store say, before anything ran.
    """

    def __init__(self, plan: Plan, expected: Estimate) -> None:
        self.expected = expected
        self.work = {name: plan.nodes[name].stage.work(plan.nodes[name].iters) for name in plan.todo}
        self.open = dict.fromkeys(plan.todo)
        self.seen: dict[Likeness, list[float]] = defaultdict(lambda: [0.0, 0.0])  # seconds, units
        self.spent, self.foreseen = 0.0, 0.0  # of stages that ended and had an estimate: seconds taken and expected
        self.lanes = 1

    def ended(self, name: str, seconds: float) -> None:
        """A stage is over. seconds: that its work took, 0 if it failed, was blocked or was done before."""
        self.open.pop(name, None)
        if name not in self.work or seconds <= 0:
            return
        for alike in self.work[name].alike:
            self.seen[alike][0] += seconds
            self.seen[alike][1] += self.work[name].units
        if self.expected.basis.get(name, "unknown") != "unknown":
            self.spent += seconds
            self.foreseen += self.expected.seconds[name]

    def left(self, running: Mapping[str, Mapping[str, Any]]) -> Left:
        """What is left, when as many stages run at once as did so far.

        Args:
            running: name -> the last event of its progress ("done", "total", "rate" a second), {} before the first.
        """
        self.lanes = max(self.lanes, len(running))
        now = {name: event for name, event in running.items() if event.get("rate") and name in self.open}
        rates = dict(self._rates(now))
        seconds = [self._seconds(name, rates) for name in [*self.open] if name not in now]
        seconds += [(event["total"] - event["done"]) / event["rate"] for event in now.values()]
        known = [s for s in seconds if s is not None]
        lanes = min(self.lanes, max(len(known), 1))
        return Left(max(sum(known) / lanes, max(known, default=0.0)), len(seconds) - len(known))

    def _rates(self, now: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Likeness, float]]:
        """Seconds a unit of what ended in this run; of what nothing ended of yet, of what runs."""
        for name, event in now.items():
            yield from ((alike, 1 / event["rate"]) for alike in self.work[name].alike if alike not in self.seen)
        yield from ((alike, seconds / units) for alike, (seconds, units) in [*self.seen.items()] if units)

    def _seconds(self, name: str, rates: Mapping[Likeness, float]) -> float | None:
        """Of a stage that has not begun: from this run's nearest, then from the store's, then from wider likeness."""
        nearest, *wider = self.work[name].alike
        units, basis = self.work[name].units, self.expected.basis.get(name, "unknown")
        if nearest in rates:
            return units * rates[nearest]
        stored = self.expected.seconds.get(name, 0.0) * (self.spent / self.foreseen if self.foreseen else 1.0)
        if basis in KNOWN:
            return stored
        if found := next((rates[alike] for alike in wider if alike in rates), None):
            return units * found
        return None if basis == "unknown" else stored
