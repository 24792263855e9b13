"""Smoke Table 4 on the device of the GPU check, from an empty store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sharing import Quiet

from casl import catalog
from casl.runner.job import Placement, Resources
from casl.runner.launch.local import Local
from casl.runner.plan import make_plan
from casl.runner.schedule import execute
from casl.runner.store import Store


def run_table(settings: Mapping[str, Any], add: Callable[..., None], until: float) -> None:
    """Run the table, or one cell of it, and add its figures.

    Args:
        settings: "device", "scratch" for the store, "cell" (row, column) or None, "per_gpu" stages at once on a GPU.
        add: keeps figures by name.
        until: of the monotonic clock, when to stop.

    Raises:
        SystemExit: a stage failed, or it was stopped.
    """
    profile = catalog.load("profile", "smoke")
    cells = list(catalog.load("ablation", "table4").build(profile))
    cells = [c for c in cells if settings["cell"] in (None, [c.row, c.column])]
    store = Store(Path(settings["scratch"]) / "store")
    plan = make_plan({"table4": cells}, store)
    on_gpu = settings["device"] == "cuda"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    resources = Resources(per_gpu=settings["per_gpu"]) if on_gpu else Resources(jobs=min(cores, 2), gpus=())
    iterations = sum(node.iters for node in plan.nodes.values())
    add(cells=len(cells), stages=len(plan.todo), iterations=iterations, cell=settings["cell"])
    done: list[str] = []

    def finished(name: str) -> None:
        done.append(name)
        add(ended=len(done))

    began = time.perf_counter()
    launcher = Local(store, resources)
    try:
        placement = Placement(device="cuda" if on_gpu else "cpu")
        add(stages_at_once=launcher.slots)
        late = _late(until)
        summary = execute(plan, store, launcher, placement, Quiet(), finished, stopping=late)
    finally:
        launcher.close()
    seconds = time.perf_counter() - began
    add(seconds=round(seconds, 1), done=len(summary.done), failed=summary.failed, stopped=len(summary.stopped))
    if summary.failed:
        raise SystemExit(f"{summary.failed[0]} failed: {store.run(summary.failed[0]).error}")
    if summary.stopped or len(summary.done) < len(plan.todo):
        raise SystemExit(f"stopped for lack of time after {len(summary.done)} of {len(plan.todo)} stages")
    add(
        ap={f"{c.row}, {c.column}": store.run(c.evaluation.name).metrics[c.figure] for c in cells},
        short=f"{len(cells)} cells, {len(plan.todo)} stages, {iterations} iterations in {seconds:.0f} s",
    )


def _late(until: float) -> Callable[[], bool]:
    return lambda: time.monotonic() > until
