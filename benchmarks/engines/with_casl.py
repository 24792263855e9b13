"""Pieces as stages of a plan on launcher `local`: python with_casl.py FOLDER PIECES JOBS"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from piece import IMAGES, SIZE

from casl.runner.job import Placement, Resources
from casl.runner.launch.local import Local
from casl.runner.plan import Counts, Node, Plan
from casl.runner.schedule import execute
from casl.runner.store import Store
from casl.spec import Scenes


class Quiet:
    """A watcher that shows nothing."""

    def progress(self, event: Mapping[str, Any]) -> None: ...

    def started(self, name: str) -> None: ...

    def finished(self, name: str, status: str, error: str) -> None: ...


def run(folder: Path, pieces: int, jobs: int) -> int:
    """Carry out so many stages; how many were done."""
    store = Store(folder / "store")
    stages = [Scenes(split="val", count=IMAGES, size=SIZE, seed=number) for number in range(pieces)]
    plan = Plan({stage.name: Node(stage, ()) for stage in stages}, Counts(0, {}, {}, 0, 0, 0))
    launcher = Local(store, Resources(jobs=jobs, gpus=()))
    try:
        summary = execute(plan, store, launcher, Placement(device="cpu"), Quiet(), lambda name: None)
    finally:
        launcher.close()
    return len(summary.done)


if __name__ == "__main__":
    if run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])) != int(sys.argv[2]):
        sys.exit("not all stages were done")
