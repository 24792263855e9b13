"""Cost of a plan: estimated before a run from the rates of finished stages, and counted after it.

A rate is seconds per unit of work: an iteration of a training, an image of a labelling or an evaluation. It is taken
from results that are alike: same model and recipe, else same detector and backbone, else same kind. Images and batches
must be of one size in any case: from small ones nothing follows for large ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from casl.runner.plan import Node, Plan
from casl.runner.probes import mark_of, read_probes
from casl.runner.results import beginnings_of, iterations_of, kind_of, records, stage_of
from casl.runner.store import Store
from casl.spec.freeze import kind_named
from casl.spec.kinds import Train
from casl.spec.stage import Stage

SAMPLE = 400  # other results read for their rates; names are hashes, so any part of them is a fair sample
BASES = ("measured", "given", "probed", "guessed", "unknown")


@dataclass(frozen=True)
class Estimate:
    """What the stages to run will take, one device each.

    seconds: name -> expected seconds, 0 where unknown. basis: name -> "measured" on results with the same model and
    recipe, "given" by the user, "probed" by a few steps of the same detector, "guessed" from other results, or
    "unknown". critical_s: seconds of the longest path of stages that wait for each other.
    """

    seconds: Mapping[str, float]
    basis: Mapping[str, str]
    critical_s: float

    @property
    def total_s(self) -> float:
        """Device-seconds of all stages whose rate is known."""
        return sum(self.seconds.values())

    @property
    def counts(self) -> dict[str, int]:
        """Number of stages for each basis that occurs."""
        found = list(self.basis.values())
        return {basis: found.count(basis) for basis in BASES if basis in found}

    def wall_s(self, workers: int) -> float:
        """Seconds on so many devices, if they are never idle but for the longest path."""
        return max(self.total_s / max(workers, 1), self.critical_s)

    def weights(self) -> dict[str, float]:
        """Seconds, the mean of the known ones where unknown: positive, for shares of progress and for priorities."""
        known = [s for s in self.seconds.values() if s > 0]
        typical = sum(known) / len(known) if known else 1.0
        return {name: seconds or typical for name, seconds in self.seconds.items()}


def estimate(
    plan: Plan, store: Store, rate: float = 0.0, tried: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> Estimate:
    """Expected seconds of every stage to run.

    Args:
        rate: iterations a second of one device, used where no result of the same model and recipe was measured; a
            labelling or evaluation then counts as many images a second as the training's batches hold. 0 for none.
        tried: rates of `casl plan --probe` beside those in the store, as `read_probes` has them.
    """
    if not plan.todo:
        return Estimate({}, {}, 0.0)
    rates, probes = _rates(plan, store), {**read_probes(store.root), **tried}
    seconds: dict[str, float] = {}
    basis: dict[str, str] = {}
    for name in plan.todo:
        node = plan.nodes[name]
        work = node.stage.work(node.iters)
        known = [rates.get(a, 0.0) for a in work.alike]
        if known[0]:
            seconds[name], basis[name] = work.units * known[0], "measured"
        elif rate:
            seconds[name], basis[name] = work.units / (rate * work.batch), "given"
        elif probed := probes.get(mark_of(work.alike[1])):
            seconds[name], basis[name] = work.units * float(probed["seconds"]), "probed"
        else:
            guess = next(filter(None, known), 0.0)
            seconds[name], basis[name] = work.units * guess, "guessed" if guess else "unknown"
    return Estimate(seconds, basis, _longest_path(plan, seconds))


def _rates(plan: Plan, store: Store) -> dict[tuple[Any, ...], float]:
    """Likeness -> seconds a unit, the median over units of the results that share it."""
    seen: dict[tuple[Any, ...], list[tuple[float, int]]] = defaultdict(list)
    for stage, record in _measured(plan, store):
        total = stage.iters if isinstance(stage, Train) else 0
        work = stage.work(iterations_of(record, total))
        if work.units > 0 and (seconds := float(record.get("seconds", 0.0))) > 0:
            for alike in work.alike:
                seen[alike].append((seconds / work.units, work.units))
    return {alike: _median(rates) for alike, rates in seen.items()}


def _median(rates: Sequence[tuple[float, int]]) -> float:
    """The rate that half of all units were at most as slow as: one attempt on a busy machine does not move it."""
    half = sum(units for _, units in rates) / 2
    for rate, units in sorted(rates):
        half -= units
        if half <= 0:
            return rate
    raise AssertionError("no rates")


def _measured(plan: Plan, store: Store) -> Iterator[tuple[Stage, Mapping[str, Any]]]:
    """A sample of finished stages, of the plan and of the rest of the store, with their records."""
    own = _some([name for name, node in plan.nodes.items() if node.done])
    for name, record in records(store, own).items():
        yield plan.nodes[name].stage, record
    for record in records(store, _some([n for n in store.names() if n not in set(own)])).values():
        if (stage := stage_of(record)) is not None:
            yield stage, record


def _some(names: Sequence[str]) -> Sequence[str]:
    return names[:: max(1, -(-len(names) // SAMPLE))]


def _longest_path(plan: Plan, seconds: Mapping[str, float]) -> float:
    after: dict[str, float] = {}
    for name in reversed(list(plan.nodes)):  # users come after what they need
        own = seconds.get(name, 0.0) + after.get(name, 0.0)
        after[name] = own
        for need in plan.nodes[name].needs:
            after[need] = max(after.get(need, 0.0), own)
    return max(after.values(), default=0.0)


@dataclass(frozen=True)
class Spent:
    """Device-seconds that the finished stages of a plan took, earlier runs included.

    stages: of each, its beginnings apart. tables: of all a table needs; what tables share counts for each of them.
    shared: of everything, once. unique: had every training started at its first iteration. naive: had every experiment
    also run its own chain. Both from each training's own seconds an iteration. unfinished: stages that are missing.
    """

    stages: Mapping[str, float]
    tables: Mapping[str, float]
    naive: float
    unique: float
    shared: float
    unfinished: int


def spent(plan: Plan, store: Store) -> Spent:
    """What the finished stages of a plan cost. Data sets and their stand-ins count only among `stages`."""
    asked = {name: node for name, node in plan.nodes.items() if node.asked}
    known = _with_beginnings(asked, store)
    stages = {name: float(record.get("seconds", 0.0)) for name, record in known.items()}
    method = [n for n, node in asked.items() if n in known and node.stage.of_method]
    entire = {n: _entire(asked[n], known[n]) for n in method}
    return Spent(
        stages=stages,
        tables=_by_table(plan, known, stages, store),
        naive=sum(seconds * plan.repeats.get(n, 1) for n, seconds in entire.items()),
        unique=sum(entire.values()),
        shared=sum(seconds for n, seconds in stages.items() if kind_named(kind_of(known[n])).of_method),
        unfinished=len(asked) - len(asked.keys() & known.keys()),
    )


def _entire(node: Node, record: Mapping[str, Any]) -> float:
    """Seconds from the first iteration on."""
    seconds = float(record.get("seconds", 0.0))
    if not isinstance(node.stage, Train):
        return seconds
    return seconds * node.stage.iters / max(1, iterations_of(record, node.stage.iters))


def _with_beginnings(names: Iterable[str], store: Store) -> dict[str, Mapping[str, Any]]:
    """Records of stages and of the states they continued from."""
    found: dict[str, Mapping[str, Any]] = {}
    waiting = list(names)
    while waiting:
        new = records(store, [n for n in waiting if n not in found])
        found |= new
        waiting = [b for n, record in new.items() for b in beginnings_of(n, record, store)]
    return found


def _by_table(
    plan: Plan, known: Mapping[str, Mapping[str, Any]], stages: Mapping[str, float], store: Store
) -> dict[str, float]:
    members: dict[str, set[str]] = defaultdict(set)
    for name, places in plan.uses.items():
        for table in {use.table for use in places}:
            waiting = [name]
            while waiting:
                if (n := waiting.pop()) in known and n not in members[table]:
                    members[table].add(n)
                    waiting += beginnings_of(n, known[n], store)
    counted = {n for n in stages if kind_named(kind_of(known[n])).of_method}
    return {table: sum(stages[n] for n in names & counted) for table, names in members.items()}


def duration(seconds: float) -> str:
    """A length of time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"
