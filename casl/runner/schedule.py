"""Schedule: hand ready stages to a launcher, longest remaining path first, until nothing is left to do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from casl.runner.job import Job, Placement
from casl.runner.plan import Node, Plan
from casl.runner.store import Store
from casl.spec.stage import Stage

LOST_RETRIES = 2  # attempts after a worker died; a stage that kills every worker must end
POLL_S = 1.0
EVALUATION_ITERS = 20  # rough cost of a stage that trains nothing, in iterations


class Launcher(Protocol):
    """The seam behind which stages run. It is never asked whether a stage is done: only the store knows."""

    slots: int

    def submit(self, job: Job) -> None: ...

    def poll(self, timeout_s: float) -> list[dict[str, Any]]: ...

    def close(self) -> None: ...


@dataclass
class Summary:
    """How a run ended: names of stages by outcome."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)


class Watcher(Protocol):
    """Told what happens, for people to see."""

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
) -> Summary:
    """Run every stage of a plan that is not done. A failed stage blocks only those that need it.

    Args:
        on_done: called with the name of each stage as it finishes or fails.

    Returns:
        What was done, failed and blocked.
    """
    summary = Summary()
    waiting = {name: plan.nodes[name] for name in plan.todo}
    have = {name for name, node in plan.nodes.items() if node.done}
    priority = costs_to_go(plan)
    running: dict[str, float] = {}
    losses: Counter[str] = Counter()
    while waiting or running:
        _block(waiting, summary, watcher)
        ready = [n for n, node in waiting.items() if have.issuperset(node.needs)]
        for name in sorted(ready, key=lambda n: -priority[n])[: max(0, launcher.slots - len(running))]:
            launcher.submit(Job(waiting[name].stage, waiting[name].resume, placement))
            running[name] = time.monotonic()
            del waiting[name]
            watcher.started(name)
        assert running or not waiting, f"nothing can run, yet these wait: {sorted(waiting)}"
        for event in launcher.poll(POLL_S):
            if event["event"] == "progress":
                watcher.progress(event)
                continue
            name = event["name"]
            del running[name]
            status = _settle(event, plan.nodes[name].stage, store, losses)
            if status == "again":
                waiting[name] = plan.nodes[name]
                continue
            error = "" if status == "done" else store.run(name).error
            (summary.done if status == "done" else summary.failed).append(name)
            if status == "done":
                have.add(name)
            watcher.finished(name, status, error)
            on_done(name)
    return summary


def _settle(event: Mapping[str, Any], stage: Stage, store: Store, losses: Counter[str]) -> str:
    """ "done", "failed", or "again" for a stage whose worker died and that may be tried once more."""
    name = stage.name
    if store.is_done(name):
        return "done"
    if event["event"] == "lost":
        losses[name] += 1
        if losses[name] <= LOST_RETRIES:
            return "again"
        store.fail(stage, f"its worker died {losses[name]} times, last with exit status {event.get('code')}")
    return "failed"


def _block(waiting: dict[str, Node], summary: Summary, watcher: Watcher) -> None:
    """Take out the stages that need a failed or blocked one."""
    bad = {*summary.failed, *summary.blocked}
    for name, node in list(waiting.items()):
        if cause := next((n for n in node.needs if n in bad), None):
            summary.blocked.append(name)
            bad.add(name)
            del waiting[name]
            watcher.finished(name, "blocked", f"needs {cause}")


def costs_to_go(plan: Plan) -> dict[str, float]:
    """For each stage, the iterations on the longest path from its start to the end of the plan."""
    longest_after: dict[str, float] = {}
    for name in reversed(list(plan.nodes)):  # users come after what they need
        node = plan.nodes[name]
        own = (node.iters or EVALUATION_ITERS) + longest_after.get(name, 0.0)
        for need in node.needs:
            longest_after[need] = max(longest_after.get(need, 0.0), own)
    return {name: (node.iters or EVALUATION_ITERS) + longest_after.get(name, 0.0) for name, node in plan.nodes.items()}
