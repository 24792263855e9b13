"""A run with launcher `ray` in a process that tests may kill: python -m tests.cluster.ray_driver STORE ADDRESS ITERS"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from casl.runner.job import Placement, Resources
from casl.runner.launch.ray import Ray
from casl.runner.plan import make_plan
from casl.runner.schedule import execute
from casl.runner.store import Store
from casl.spec import Cell, evaluate, finetune
from tests.cluster.smoke import ROOT
from tests.runner.stores import NANO, Silent, nano

STOPPED = 130


def main(folder: str, address: str, iters: str) -> int:
    """0 all done, 1 something failed, STOPPED after SIGINT."""
    store = Store(Path(folder))
    asked: list[int] = []
    launcher = Ray(store, Resources(environment={"PYTHONPATH": str(ROOT)}, options={"ray.address": address}))
    signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    cell = Cell("F 1x", "base", "ap_det", evaluate(NANO, finetune(nano(iters_1x=int(iters)), None), "ap_det"))
    plan = make_plan({"table": [cell]}, store)
    placement = Placement(device="cpu", checkpoint_s=1.0)
    summary = execute(plan, store, launcher, placement, Silent(), lambda n: None, stopping=lambda: bool(asked))
    launcher.close()
    return STOPPED if summary.stopped else int(bool(summary.failed))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
