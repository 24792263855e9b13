"""What most verbs share: which tables under which profile, on which data, in which store."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from casl import catalog
from casl.errors import SpecError, need_detectron2
from casl.runner.plan import Plan, make_plan
from casl.runner.store import Store
from casl.spec.ablation import Ablation, Cell
from casl.spec.profile import PROVIDERS, Profile


@dataclass(frozen=True)
class Study:
    """The tables of one command under one profile: cells for every seed, and where data on disk lies."""

    profile: Profile
    tables: dict[str, Ablation]
    cells: dict[str, list[tuple[Cell, ...]]]
    roots: dict[str, str]
    store: Store

    def plan(self) -> Plan:
        every_seed = {name: [c for cells in seeds for c in cells] for name, seeds in self.cells.items()}
        units = {name: table.unit for name, table in self.tables.items()}
        return make_plan(every_seed, self.store, units, self.profile.epochs)

    @property
    def name(self) -> str:
        """Of the command as a whole, for what the store remembers of it."""
        tables = "all" if len(self.tables) > 9 else "+".join(self.tables)
        return "-".join([tables, self.profile.name, self.profile.data.name, str(self.profile.seeds), *self._provider])

    @property
    def experiment(self) -> str:
        return " ".join(["casl", self.profile.name, self.profile.data.name, *self._provider])

    @property
    def _provider(self) -> list[str]:
        """Said where it is not the default, so that tables of two providers are not taken for one."""
        return [] if self.profile.provider == Profile.provider else [self.profile.provider]


def open_study(options: argparse.Namespace) -> Study:
    """Resolve names, open the store, check the data; every error of the user's surfaces here, before any work."""
    names = [n for n in catalog.ABLATIONS if n.startswith("table")] if "all" in options.tables else options.tables
    tables: dict[str, Ablation] = {name: catalog.load("ablation", name) for name in names}
    profile: Profile = catalog.load("profile", options.profile).with_provider(
        getattr(options, "provider", Profile.provider)
    )
    if options.seeds < 1:
        raise SpecError(f"SEEDS must be at least 1, got {options.seeds}")
    store = Store(Path(options.store))
    roots: dict[str, str] = {}
    if options.data:
        from casl.stages.dataset import open_data

        opened = open_data(Path(options.data), store.root, counter("checking images"))
        profile, roots = profile.with_data(opened.data), opened.roots
        say(options, *opened.said)
    profile = replace(profile, seeds=options.seeds)
    cells = {n: [t.build(profile.with_seed(s)) for s in range(options.seeds)] for n, t in tables.items()}
    return Study(profile, tables, cells, roots, store)


def need_packages(plan: Plan) -> None:
    """Whether what is to run can run here, before anything does.

    Raises:
        MissingPackageError: a stage to run needs detectron2, which is not installed.
    """
    for name in plan.todo:
        detector = getattr(getattr(plan.nodes[name].stage, "model", None), "detector", "")
        if detector.startswith(PROVIDERS["detectron2"]):
            need_detectron2(f"detector {detector!r} of {name}")


def study_options() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "tables", nargs="+", metavar="TABLE", help=f"{', '.join(catalog.ABLATIONS)}; all: the paper's ten"
    )
    shared.add_argument("--profile", default="mini", help=f"{', '.join(catalog.PROFILES)} (default mini)")
    shared.add_argument(
        "--provider",
        default=Profile.provider,
        metavar="PROJECT",
        help=f"whose RetinaNet, R-CNNs and PanopticFPN: {', '.join(PROVIDERS)} (default {Profile.provider})",
    )
    shared.add_argument("--data", default="", help="data set on disk instead of the profile's own")
    shared.add_argument("--seeds", type=int, default=1, help="repetitions of every training (default 1)")
    store_option(shared)
    return shared


def store_option(shared: argparse.ArgumentParser) -> None:
    shared.add_argument("--store", default="store", help="folder of all results (default store)")
    shared.add_argument(
        "--mlflow",
        default=os.environ.get("MLFLOW_TRACKING_URI", ""),
        help="MLflow tracking URI (default: MLFLOW_TRACKING_URI, or a database in the store)",
    )


def counter(what: str) -> Any:
    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{what} {done}/{total}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return show


def say(options: argparse.Namespace, *lines: str) -> None:
    """Lines for people; with --json only JSON goes to stdout."""
    for line in lines:
        print(line, file=sys.stderr if getattr(options, "json", False) else sys.stdout)
