"""Verbs `run` and `sync`: do what is missing, and tell MLflow."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from casl import catalog
from casl.cli.plan import plan_counts, print_counts
from casl.cli.study import Study, open_study
from casl.errors import SpecError, StoreError, TrackingError
from casl.runner.job import Placement
from casl.runner.plan import Plan


def add(verbs: Any, study: argparse.ArgumentParser) -> None:
    """Verbs `run` and `sync`."""
    run = verbs.add_parser("run", parents=[study], help="run what is missing")
    run.add_argument("--launcher", default="local", help="local or inline (default local)")
    run.add_argument("--workers", type=int, default=0, help="processes; default one a core, or one a GPU")
    run.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default auto)")
    run.add_argument("--loaders", type=int, default=0, help="threads preparing batches in each worker (default 0)")
    run.add_argument("--weights", default="", help="folder with pretrained backbone weights, <backbone>.safetensors")
    run.set_defaults(command=run_command)
    verbs.add_parser("sync", parents=[study], help="send finished stages to MLflow").set_defaults(command=sync_command)


def run_command(options: argparse.Namespace) -> int:
    """Run what is missing, then tell MLflow."""
    from casl.runner.live import View
    from casl.runner.schedule import execute
    from casl.tracking import Mirror

    study = open_study(options)
    if _only_planned(study):
        raise SpecError(
            f"profile {study.profile.name!r} stands for data that is not here.\n"
            "  pass the data set with DATA=path; `casl plan` works without."
        )
    _quarantine_damaged(study)
    plan = study.plan()
    print_counts(plan_counts(plan, study))
    placement = Placement(
        roots=study.roots, device=options.device, loaders=options.loaders, weights=options.weights or None
    )
    failed = 0
    if plan.todo:
        launcher = catalog.load("launcher", options.launcher)(study.store, options.workers)
        try:
            with View(plan, str(study.store.root)) as view:
                summary = execute(plan, study.store, launcher, placement, view, lambda name: None)
        finally:
            launcher.close()
        failed = len(summary.failed)
        print(f"{len(summary.done)} stages done, {failed} failed, {len(summary.blocked)} blocked")
    mirror = Mirror(study.store.root, options.mlflow or None, study.experiment)
    send(mirror, study, plan)
    return 1 if failed else 0


def _only_planned(study: Study) -> bool:
    from casl.spec.profile import PlannedData

    return isinstance(study.profile.data, PlannedData)


def _quarantine_damaged(study: Study) -> None:
    """Move results aside whose files are missing or cut short, so that this run computes them again."""
    for name in study.plan().nodes:
        try:
            study.store.check(name, content=False)
        except StoreError as error:
            print(f"{error}\n  moved to {study.store.quarantine(name)}; it will be computed again", file=sys.stderr)


def send(mirror: Any, study: Study, plan: Plan) -> None:
    runs = [study.store.run(name) for name in plan.nodes]
    try:
        logged = mirror.sync(runs, plan.uses, None)
    except TrackingError as error:
        print(f"MLflow: {error}", file=sys.stderr)
        return
    print(f"MLflow: {logged} new runs in experiment {study.experiment!r}; `make ui` shows them")


def sync_command(options: argparse.Namespace) -> int:
    """Send finished stages to MLflow that are not there yet."""
    from casl.tracking import Mirror

    study = open_study(options)
    send(Mirror(study.store.root, options.mlflow or None, study.experiment), study, study.plan())
    return 0
