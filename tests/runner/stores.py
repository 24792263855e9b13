"""Stages and stores for tests: tiny, real, and finished in milliseconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from casl import catalog
from casl.runner.job import Placement
from casl.runner.launch.inline import Inline
from casl.runner.lease import Lease, born
from casl.runner.plan import Plan, make_plan
from casl.runner.schedule import Summary, execute
from casl.runner.store import Store
from casl.spec import Cell, Model, Profile, Recipe, SceneData, Scenes, evaluate, finetune, warmup
from casl.spec.kinds import Train
from casl.spec.stage import Stage

RECORD: dict[str, Any] = {
    "metrics": {"AP": 12.5},
    "seconds": 1.0,
    "started": "2026-01-01T00:00:00+00:00",
    "host": "here",
    "commit": "0" * 40,
    "dirty": False,
    "versions": {},
    "facts": {},
}

RECIPE = Recipe(lr=3e-2, batch=2, sizes=(64,), max_size=96, ramp_iters=2)
NANO = Profile(
    name="nano",
    title="as small as it gets",
    data=SceneData(labeled=4, unlabeled={"tiny": 4}, val=2, size=64),
    iters_1x=3,
    backbones=dict.fromkeys(("swin_t", "swin_l"), "resnet_micro"),
    shape=Model(
        detector="condinst",
        backbone="resnet_micro",
        classes=1,
        channels=16,
        mask_channels=8,
        towers=1,
        ranges=(16, 32, 64, 128),
    ),
    warmup_recipe=RECIPE,
    finetune_recipe=RECIPE,
    test_size=(64, 96),
    threshold=0.0,
    labeler_schedule=3,
)


class Silent:
    """A watcher that remembers how stages ended."""

    def __init__(self) -> None:
        self.ended: dict[str, tuple[str, str]] = {}

    def started(self, name: str) -> None: ...

    def progress(self, event: Any) -> None: ...

    def finished(self, name: str, status: str, error: str) -> None:
        self.ended[name] = (status, error)


def processes(*words: str) -> list[int]:
    """Living processes of this machine whose command line has all the words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
            if all(word in line for word in words) and born(int(folder.name)):
                found.append(int(folder.name))
    return found


def gone(pids: Iterable[int], within_s: float = 20.0) -> bool:
    """Whether all processes end in time."""
    until = time.monotonic() + within_s
    pids = list(pids)
    while any(born(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def hold(store: Store, stage: Stage) -> Lease:
    """A lease on a stage, with its folder."""
    lease = store.leases.acquire(stage.name)
    assert lease is not None
    store.begin(lease)
    return lease


def chain(profile: Profile, warm: int = 1, fine: int = 1) -> Cell:
    """One cell of Table 4."""
    trained = finetune(profile, warmup(profile, schedule=warm), schedule=fine)
    return Cell(f"F {fine}x", f"W {warm}x", "ap_det", evaluate(profile, trained, "ap_det"))


def cell_of(trained: Train, profile: Profile) -> Cell:
    """A cell of a training's AP on boxes."""
    return Cell("r", "c", "ap_det", evaluate(profile, trained, "ap_det"))


def run(cells: list[Cell], store: Store, placement: Placement | None = None) -> tuple[Plan, Summary, Silent]:
    """Plan cells and carry the plan out in this process."""
    plan, watcher = make_plan({"table": cells}, store), Silent()
    summary = execute(plan, store, Inline(store), placement or Placement(), watcher, lambda name: None)
    return plan, summary, watcher


def committed(store: Store, stage: Scenes, content: bytes = b"content") -> None:
    """Commit a stage whose result is one file."""
    work = store.work(stage.name)
    work.mkdir(parents=True)
    (work / "file.bin").write_bytes(content)
    store.commit(stage, RECORD)


def scenes(seed: int = 0) -> Scenes:
    return Scenes(split="val", count=2, size=64, seed=seed)


def nano(**changes: Any) -> Profile:
    return replace(NANO, **changes)


def table4(profile: str) -> list[Cell]:
    return list(catalog.load("ablation", "table4").build(catalog.load("profile", profile)))


def new_store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")
