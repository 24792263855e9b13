"""Planning: Table 4 with ever more seeds, and the runner's own overhead where everything is done.

Run:    .venv/bin/python benchmarks/planning.py [--cells 2500,5000,10000] [--store STORE]
Shows:  seconds of building the cells, of the plan and of its estimate, by the wall and of this process alone, and how
        they grow. With --store, also how long `plan`, the plan's part of `run`, and `report` of the ten tables take,
        each a process of its own, on a store that has their results; MLflow is left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from casl import catalog
from casl.runner.cost import estimate
from casl.runner.plan import make_plan
from casl.runner.store import Store
from casl.spec import Ablation, Cell, Profile


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, seconds by the wall, seconds of this process."""
    wall, own = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - own


def built(count: int) -> list[Cell]:
    profile: Profile = catalog.load("profile", "mini")
    table: Ablation = catalog.load("ablation", "table4")
    return [cell for seed in range(count // 25) for cell in table.build(profile.with_seed(seed))]


def planning(counts: list[int], rounds: int) -> None:
    print(f"{'cells':>7} {'stages':>7} {'build':>7} {'plan':>7} {'estimate':>9} {'all':>7} {'own':>7}  us a stage")
    rates = []
    for count in counts:
        best = min((once(count) for _ in range(rounds)), key=lambda row: row[-1])
        stages, build, plan, cost, own = best
        rates.append(own / stages)
        total = build + plan + cost
        print(
            f"{count:7,} {stages:7,} {build:7.2f} {plan:7.2f} {cost:9.2f} {total:7.2f} {own:7.2f}  "
            f"{1e6 * own / stages:10.1f}"
        )
    print(f"a stage of the largest plan takes {rates[-1] / rates[0]:.2f} times what one of the smallest takes")


def once(count: int) -> tuple[int, float, float, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        cells, build, own = timed(lambda: built(count))
        plan, planned, more = timed(lambda: make_plan({"table4": cells}, store))
        _, cost, rest = timed(lambda: estimate(plan, store, rate=1.0))
        return len(plan.nodes), build, planned, cost, own + more + rest


def overhead(store: str, profile: str) -> None:
    with tempfile.TemporaryDirectory() as reports:
        study = ["all", "--profile", profile, "--store", store]
        for verb, more in (("plan", []), ("report", ["--reports", reports])):
            command = [sys.executable, "-m", "casl", verb, *study, *more]
            done, wall, _ = timed(partial(subprocess.run, command, capture_output=True, check=True))
            print(f"casl {verb} all: {wall:.2f} s, {len(done.stdout.splitlines())} lines")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cells", default="2500,5000,10000")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--store", default="", help="a store with the ten tables' results")
    options.add_argument("--profile", default="smoke")
    chosen = options.parse_args()
    planning([int(count) for count in chosen.cells.split(",")], chosen.rounds)
    if chosen.store:
        overhead(chosen.store, chosen.profile)


if __name__ == "__main__":
    main()
