"""Tables of dozens of stages in tests: as a user runs them in profile smoke, and as fast as their stages can be run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablations.profiles import SMOKE
from casl import catalog
from casl.report.table import Table, build_table
from casl.runner.plan import outcomes
from casl.runner.store import Store
from casl.spec import Cell, Profile, SceneData
from tests.runner.stores import run

_IMAGES = SceneData(labeled=4, unlabeled={"tiny": 4, "small": 22, "base": 58, "large": 122}, val=4, size=64)
TINY = replace(SMOKE, name="tiny", data=_IMAGES, iters_1x=2, threshold=0.0)
# a labeler that finds something after its few iterations
_TWO = replace(SMOKE.finetune_recipe, batch=2)
LABELING = replace(TINY, iters_1x=5, threshold=0.05, warmup_recipe=_TWO, finetune_recipe=_TWO)


def tables_of(names: list[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> JSON of each table, after `casl run` and `casl report` in profile smoke, with a store in the folder."""
    places = [*names, "--profile", "smoke", "--store", str(folder / "store")]
    for words in (["run", *places], ["report", *places, "--reports", str(folder / "reports")]):
        done = subprocess.run([sys.executable, "-m", "casl", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return {name: json.loads((folder / "reports" / "smoke" / f"{name}.json").read_text()) for name in names}


def measured(
    names: list[str], store: Store, profile: Profile = TINY, which: Callable[[Cell], bool] = lambda cell: True
) -> dict[str, Table]:
    """Name -> table, after the stages of some of its cells have run in this process."""
    cells = {name: catalog.load("ablation", name).build(profile) for name in names}
    chosen = [c for some in cells.values() for c in some if c.stage is not None and which(c)]
    plan, summary, watcher = run(chosen, store)
    assert not summary.failed, [watcher.ended[name][1] for name in summary.failed]
    found = outcomes(plan, store)
    return {n: build_table(catalog.load("ablation", n), profile, [some], found, {}) for n, some in cells.items()}
