"""Schedule: hand ready stages to a launcher, longest remaining path first, until nothing is left to do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from casl.runner.job import Job, Placement, placed
from casl.runner.plan import Node, Plan
from casl.runner.store import Store
from casl.spec.kinds import Train

LOST_RETRIES = 2  # attempts after a worker died; a stage that kills every worker must end
DAMAGE_RETRIES = 2  # times a damaged input is made again; a disk that damages all it is given must end
POLL_S = 1.0
ELSEWHERE_S = 0.5  # between two looks at a stage that another process works on


class Launcher(Protocol):
    """The seam behind which stages run. It is never asked whether a stage is done: only the store knows.

    Made from a store and `Resources`. Events are {"event": ..., "name": stage}, where an event is "begun", "progress"
    (with "done", "total", "rate", "loss"), or how a job ended: "done", "failed", "memory", "damaged", "stopped", "busy"
    (another process has the stage), "lost" (the process that did it is gone, with a "code"), "dropped" (it will not
    start, since a stage before it did not end well).

    slots: how many jobs it takes at once. ahead: it takes a stage before those it needs are done, keeps the order, and
    goes on without the runner; its `farewell` says how to watch and cancel what it has. here: stages run on this
    machine and have its devices; asked of the class, before one is made.
    """

    slots: int
    ahead: bool
    here: bool

    def submit(self, job: Job) -> None: ...

    def poll(self, timeout_s: float) -> list[dict[str, Any]]: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class Summary:
    """How a run ended: names of stages by outcome. stopped: begun, and to be continued by the next run."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)


class Watcher(Protocol):
    """Shows people what happens."""

    def progress(self, event: Mapping[str, Any]) -> None: ...

    def started(self, name: str) -> None: ...

    def finished(self, name: str, status: str, error: str) -> None: ...


def execute(
    plan: Plan,
    store: Store,
    launcher: Launcher,
    placement: Placement,
    watcher: Watcher,
    on_done: Callable[[str], None],
    *,
    keep_going: bool = True,
    stopping: Callable[[], bool] = lambda: False,
) -> Summary:
    """Run every stage of a plan that is not done, longest remaining path first.

    Args:
        on_done: called with the name of each stage as it finishes or fails.
        keep_going: after a failure, run what does not need the failed stage; otherwise let running ones finish only.
        stopping: once true, running stages are asked to save where they are, and nothing more is started.

    Returns:
        What was done, failed, blocked and stopped.
    """
    run = _Run(plan, store, launcher, placement, watcher, on_done)
    run.ahead = launcher.ahead and keep_going  # what was handed over ahead would go on after a failure
    told = False
    while run.running or run.waiting:
        if stopping() and not told:
            launcher.stop()
            told = True
        run.block()
        if not told and (keep_going or not run.summary.failed):
            run.start_ready()
        elif not run.running:
            break
        assert run.running or run.elsewhere or not run.waiting, f"nothing can run, yet these wait: {[*run.waiting]}"
        for event in launcher.poll(POLL_S if run.running else ELSEWHERE_S):
            run.handle(event)
    return run.summary


def hand_over(plan: Plan, launcher: Launcher, placement: Placement) -> int:
    """Give every stage of a plan that is not done to a launcher that goes on without this process; how many."""
    costs = costs_to_go(plan)  # a stage costs more to the end than its users
    for name in sorted(plan.todo, key=lambda n: -costs[n]):
        node = plan.nodes[name]
        launcher.submit(Job(node.stage, node.resume, placed(node.stage, placement)))
    return len(plan.todo)


class _Run:
    """The state of a plan that is carried out: stages that wait, run and ended, and attempts so far."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        launcher: Launcher,
        placement: Placement,
        watcher: Watcher,
        on_done: Callable[[str], None],
    ) -> None:
        self.plan, self.store, self.launcher, self.placement = plan, store, launcher, placement
        self.watcher, self.on_done = watcher, on_done
        self.summary = Summary()
        self.waiting = {name: plan.nodes[name] for name in plan.todo}
        self.have = {name for name, node in plan.nodes.items() if node.done}
        self.running: set[str] = set()
        self.priority = costs_to_go(plan)
        self.losses: Counter[str] = Counter()
        self.damages: Counter[str] = Counter()
        self.pieces: dict[str, int] = {}
        self.elsewhere: dict[str, float] = {}  # name -> when to look again
        self.ahead = False

    def start_ready(self) -> None:
        """Submit as many stages as there is room for."""
        now = time.monotonic()
        for name in [n for n, when in self.elsewhere.items() if when <= now and self.store.is_done(n)]:
            self._settle(name, "done")  # by the other process
        if (room := self.launcher.slots - len(self.running)) <= 0:
            return  # sorting thousands that wait would take long
        ready = [n for n in self._ready() if self.elsewhere.get(n, 0.0) <= now and not self._is_busy(n, now)]
        for name in ready[:room]:
            node = self.waiting.pop(name)
            pieces = self.pieces.get(name, self.placement.micro_batches)
            placement = replace(placed(node.stage, self.placement), micro_batches=pieces)
            self.launcher.submit(Job(node.stage, node.resume, placement))
            self.running.add(name)
            if not self.ahead:
                self.watcher.started(name)

    def _ready(self) -> list[str]:
        """Stages that may be submitted now, the longest path to the end first, so what is needed before its users."""
        there, ready = set(self.have) | (self.running if self.ahead else set()), []
        for name in sorted(self.waiting, key=lambda n: -self.priority[n]):
            if there.issuperset(self.waiting[name].needs):
                ready.append(name)
                there.update([name] if self.ahead else [])
        return ready

    def _is_busy(self, name: str, now: float) -> bool:
        """Whether a stage that another process had is still held by it; free stages leave `elsewhere`."""
        if name not in self.elsewhere:
            return False
        if self.store.leases.is_held(name):
            self.elsewhere[name] = now + ELSEWHERE_S
            return True
        del self.elsewhere[name]
        return False

    def handle(self, event: Mapping[str, Any]) -> None:
        """Update the state with an event of the launcher."""
        if event["event"] == "begun":
            if self.ahead:
                self.watcher.started(event["name"])
            return
        if event["event"] == "progress":
            self.watcher.progress(event)
            return
        name, ending = event["name"], event["event"]
        self.running.discard(name)
        if self.store.is_done(name):
            self._settle(name, "done")
        elif ending == "dropped":
            self._again(name)
        elif ending == "busy":
            self._again(name)
            self.elsewhere[name] = time.monotonic() + ELSEWHERE_S
        elif ending == "stopped":
            self.summary.stopped.append(name)
            self.watcher.finished(name, "stopped", "")
        elif not self._may_retry(name, event):
            self._settle(name, "failed", str(event.get("error", "")) or self.store.run(name).error)

    def _may_retry(self, name: str, event: Mapping[str, Any]) -> bool:
        """Put a stage back in the queue if another attempt can help."""
        ending = event["event"]
        if ending == "lost":
            self.losses[name] += 1
            if self.losses[name] <= LOST_RETRIES:
                return self._again(name)
            self.store.fail(self.plan.nodes[name].stage, _died(self.losses[name], event))
        if ending == "memory":
            stage, pieces = self.plan.nodes[name].stage, 2 * self.pieces.get(name, self.placement.micro_batches)
            if isinstance(stage, Train) and pieces <= stage.recipe.batch:
                self.pieces[name] = pieces
                return self._again(name)
        if ending == "damaged":
            self.damages[name] += 1
            missing = [n for n in self._opened(name) if not self.store.is_done(n)]
            if self.damages[name] <= DAMAGE_RETRIES and all(n in self.plan.nodes for n in missing):
                for lost in missing:
                    self._make_anew(lost)
                return self._again(name)
        return False

    def _opened(self, name: str) -> list[str]:
        """Names of all stages whose results a stage may have opened: those it needs, and those that these need."""
        needs = self.plan.nodes[name].needs
        further = [n for need in needs if need in self.plan.nodes for n in self.plan.nodes[need].needs]
        return [*needs, *further]

    def _make_anew(self, name: str) -> None:
        """Queue a stage again whose damaged result was moved to quarantine."""
        node = self.plan.nodes[name]
        self.have.discard(name)
        self.have.update(n for n in node.needs if self.store.is_done(n))
        if name not in self.running:
            self.waiting[name] = node

    def _again(self, name: str) -> bool:
        self.waiting[name] = self.plan.nodes[name]
        self.watcher.finished(name, "again", "")
        return True

    def _settle(self, name: str, status: str, error: str = "") -> None:
        self.waiting.pop(name, None)
        self.elsewhere.pop(name, None)
        if status == "done":
            self.have.add(name)
            self.summary.done.append(name)
        else:
            self.summary.failed.append(name)
        self.watcher.finished(name, status, error)
        self.on_done(name)

    def block(self) -> None:
        """Take out the stages that need a failed or blocked one; those after a stopped one are for the next run."""
        bad = {*self.summary.failed, *self.summary.blocked}
        stopped = set(self.summary.stopped)
        for name in [n for n in self.plan.nodes if n in self.waiting]:  # users come after what they need
            needs = self.waiting[name].needs
            if cause := next((n for n in needs if n in bad), None):
                self.summary.blocked.append(name)
                bad.add(name)
                self.watcher.finished(name, "blocked", f"needs {cause}")
            elif stopped.intersection(needs):
                stopped.add(name)
            else:
                continue
            del self.waiting[name]


def _died(times: int, event: Mapping[str, Any]) -> str:
    return f"its worker died {times} times, last with: {event.get('code')}"


def costs_to_go(plan: Plan) -> dict[str, float]:
    """For each stage, the iterations on the longest path from its start to the end of the plan."""
    longest_after: dict[str, float] = {}
    for name in reversed(list(plan.nodes)):  # users come after what they need
        node = plan.nodes[name]
        own = rough_iters(node) + longest_after.get(name, 0.0)
        for need in node.needs:
            longest_after[need] = max(longest_after.get(need, 0.0), own)
    return {name: rough_iters(node) + longest_after.get(name, 0.0) for name, node in plan.nodes.items()}


def rough_iters(node: Node) -> float:
    """What a stage costs, in iterations: its own if it trains, else its images by the batch; at least one."""
    work = node.stage.work(node.iters)
    return max(work.units / work.batch, 1.0)
