"""Table 4 with common beginnings of trainings shared, and without.

Run:    .venv/bin/python benchmarks/sharing.py [--profile smoke] [--iters-1x 0] [--jobs 2] [--rounds 1]
Shows:  wall time of the whole plan on launcher `local`, with sharing over without, both from empty stores that have the
        data; iterations trained either way; and the largest difference of any metric between the two, which is 0.
        Without sharing every stage still runs once, as in tools that cache stages; a study that shares nothing at all
        would train 2.4 times as much as that. --iters-1x lengthens the trainings, whose share of the time is what
        sharing acts on; evaluations, start of workers and the labeler's predictions are the same either way.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from measuring import adopt_orphans, arguments, ratio, report, spread, used_cpu, versions

from casl import catalog
from casl.runner.job import Placement, Resources
from casl.runner.launch.local import Local
from casl.runner.plan import Plan, make_plan
from casl.runner.schedule import execute
from casl.runner.store import Store
from casl.spec import Ablation, Cell, Profile, Train


class Quiet:
    """A watcher that shows nothing."""

    def progress(self, event: Mapping[str, Any]) -> None: ...

    def started(self, name: str) -> None: ...

    def finished(self, name: str, status: str, error: str) -> None: ...


def main() -> None:
    options = arguments(__doc__, iters_1x=0, jobs=2, rounds=1)
    options.add_argument("--profile", default="smoke")
    chosen = options.parse_args()
    profile: Profile = catalog.load("profile", chosen.profile)
    if chosen.iters_1x:
        profile = replace(profile, iters_1x=chosen.iters_1x)
    table: Ablation = catalog.load("ablation", "table4")
    cells = list(table.build(profile))
    results: dict[str, list[dict[str, Mapping[str, float]]]] = {"shared": [], "unshared": []}
    iterations: dict[str, int] = {}
    seconds: dict[str, list[float]] = {"shared": [], "unshared": []}
    cpu: dict[str, list[float]] = {"shared": [], "unshared": []}
    adopt_orphans()
    for turn in range(chosen.rounds):
        for name in ("shared", "unshared") if turn % 2 == 0 else ("unshared", "shared"):
            with tempfile.TemporaryDirectory() as folder:
                store = with_data(cells, Path(folder), chosen.jobs)
                plan = make_plan({"table4": cells}, store)
                plan = plan if name == "shared" else unshared(plan)
                iterations[name] = sum(node.iters for node in plan.nodes.values())
                began, used = time.perf_counter(), used_cpu()
                carry_out(plan, store, chosen.jobs)
                seconds[name].append(time.perf_counter() - began)
                cpu[name].append(used_cpu() - used)
                results[name].append({c.evaluation.name: store.run(c.evaluation.name).metrics for c in cells})
    worst = max(difference(a, b) for a, b in zip(results["shared"], results["unshared"], strict=True))
    lines = [
        f"with sharing {min(seconds['shared']):.1f} s, without {min(seconds['unshared']):.1f} s",
        f"ratio {spread(seconds, 'shared', 'unshared')}; of processor time {spread(cpu, 'shared', 'unshared')}",
        f"iterations {iterations['shared']:,} of {iterations['unshared']:,}: "
        f"{iterations['shared'] / iterations['unshared']:.3f}",
        f"largest difference of a metric of {len(cells)} cells: {worst:g}",
    ]
    facts = versions("casl", "torch") | {"profile": profile.name, "iters_1x": profile.iters_1x, "jobs": chosen.jobs}
    figures = {"seconds": seconds, "cpu": cpu, "iterations": iterations, "ratio": ratio(seconds, "shared", "unshared")}
    report("sharing: Table 4", facts, lines, figures, chosen.json)


def with_data(cells: list[Cell], folder: Path, jobs: int) -> Store:
    """A store that has the data and nothing else."""
    store = Store(folder / "store")
    plan = make_plan({"table4": cells}, store)
    data = {name: node for name, node in plan.nodes.items() if not node.stage.of_method}
    carry_out(replace(plan, nodes=data), store, jobs)
    return store


def unshared(plan: Plan) -> Plan:
    """The same plan with every training from its own beginning: only stages that cells name, nothing to resume."""
    nodes = {
        name: replace(node, resume=None, needs=tuple(s.name for s in node.stage.inputs()), iters=whole(node.stage))
        for name, node in plan.nodes.items()
        if node.asked
    }
    return replace(plan, nodes=nodes)


def whole(stage: Any) -> int:
    """Iterations of a training from its beginning, 0 for other stages."""
    return stage.iters if isinstance(stage, Train) else 0


def carry_out(plan: Plan, store: Store, jobs: int) -> None:
    """All of a plan on launcher `local`.

    Raises:
        RuntimeError: a stage failed.
    """
    launcher = Local(store, Resources(jobs=jobs, gpus=()))
    try:
        summary = execute(plan, store, launcher, Placement(device="cpu"), Quiet(), lambda name: None)
    finally:
        launcher.close()
    if summary.failed or summary.blocked:
        raise RuntimeError(f"failed: {summary.failed}: {store.run(summary.failed[0]).error}")


def difference(a: Mapping[str, Mapping[str, float]], b: Mapping[str, Mapping[str, float]]) -> float:
    """Largest difference of any metric; infinite if they are not of the same stages."""
    if a.keys() != b.keys():
        return math.inf
    return max(abs(value - b[name][key]) for name, metrics in a.items() for key, value in metrics.items())


if __name__ == "__main__":
    main()
