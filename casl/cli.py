"""Command line: plan, run, report, data, score, sync, ui, show. The only place that reads environment variables.

Exit codes: 0 all is well; 1 some stages failed, or `data check` found errors; 2 the command, a spec, the data or the
store is wrong and nothing was started.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from casl import catalog
from casl.errors import CaslError, SpecError, StoreError, TrackingError
from casl.runner.job import Placement
from casl.runner.plan import DATA_KINDS, Plan, make_plan, outcomes
from casl.runner.store import Store
from casl.spec.ablation import Ablation, Cell
from casl.spec.profile import Profile


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
    def experiment(self) -> str:
        return f"casl {self.profile.name} {self.profile.data.name}"


def open_study(options: argparse.Namespace) -> Study:
    """Resolve names, open the store, check the data; every error of the user's surfaces here, before any work."""
    names = [n for n in catalog.ABLATIONS if n.startswith("table")] if "all" in options.tables else options.tables
    tables: dict[str, Ablation] = {name: catalog.load("ablation", name) for name in names}
    profile: Profile = catalog.load("profile", options.profile)
    if options.seeds < 1:
        raise SpecError(f"SEEDS must be at least 1, got {options.seeds}")
    store = Store(Path(options.store))
    roots: dict[str, str] = {}
    if options.data:
        from casl.stages.dataset import open_data

        opened = open_data(Path(options.data), store.root, _counter("checking images"))
        profile, roots = profile.with_data(opened.data), opened.roots
        _say(options, *opened.said)
    profile = replace(profile, seeds=options.seeds)
    cells = {n: [t.build(profile.with_seed(s)) for s in range(options.seeds)] for n, t in tables.items()}
    return Study(profile, tables, cells, roots, store)


def plan_command(options: argparse.Namespace) -> int:
    """Count what a run would do."""
    from casl.runner.why import reasons

    study = open_study(options)
    plan = study.plan()
    counts = plan_counts(plan, study)
    if options.json:
        print(json.dumps(counts, indent=1))
        return 0
    print_counts(counts)
    for name, why in reasons(plan, study.store).items() if plan.todo else ():
        print(f"  {name}  {plan.nodes[name].iters or ''}  {why}")
    return 0


def plan_counts(plan: Plan, study: Study) -> dict[str, Any]:
    """Counts of a plan as JSON values; epochs are the paper's, 12 to 1x."""
    counts = plan.counts
    iterations = {"naive": counts.naive_iters, "unique": counts.unique_iters, "shared": counts.shared_iters}
    epochs = {"naive": counts.naive_epochs, "unique": counts.unique_epochs, "shared": counts.shared_epochs}
    todo = [plan.nodes[n] for n in plan.todo]
    method = [n for n in plan.nodes.values() if n.asked and n.stage.kind not in DATA_KINDS]
    return {
        "tables": list(study.tables),
        "profile": study.profile.name,
        "data": study.profile.data.name,
        "seeds": study.profile.seeds,
        "cells": counts.cells,
        "stages": {
            "naive": sum(counts.naive_stages.values()),
            "unique": sum(counts.unique_stages.values()),
            "shared": len([n for n in plan.nodes.values() if n.stage.kind not in DATA_KINDS]),
            "by_kind": {"naive": dict(counts.naive_stages), "unique": dict(counts.unique_stages)},
        },
        "iterations": iterations,
        "epochs": {name: round(length, 3) for name, length in epochs.items()},
        "done": {"stages": len([n for n in method if n.done])},
        "to_run": {"stages": len(todo), "iterations": sum(n.iters for n in todo)},
    }


def print_counts(counts: dict[str, Any]) -> None:
    """The same for people."""
    stages, iterations, epochs = counts["stages"], counts["iterations"], counts["epochs"]
    print(f"{', '.join(counts['tables'])}: {counts['cells']} cells, profile {counts['profile']}, data {counts['data']}")
    print(f"  naive    {stages['naive']:5} stages  {iterations['naive']:10,} iterations  {epochs['naive']:8,g} epochs")
    print(
        f"  unique   {stages['unique']:5} stages  {iterations['unique']:10,} iterations  {epochs['unique']:8,g} epochs"
    )
    print(
        f"  shared   {stages['shared']:5} stages  {iterations['shared']:10,} iterations  {epochs['shared']:8,g} epochs"
        "   (common beginnings trained once)"
    )
    print(f"  to run   {counts['to_run']['stages']:5} stages  {counts['to_run']['iterations']:10,} iterations")


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
    _sync(mirror, study, plan)
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


def _sync(mirror: Any, study: Study, plan: Plan) -> None:
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
    _sync(Mirror(study.store.root, options.mlflow or None, study.experiment), study, study.plan())
    return 0


def report_command(options: argparse.Namespace) -> int:
    """Write tables from the store; works at any time, cells without a result say why."""
    from casl.report.index import write_index
    from casl.report.render import write_table
    from casl.report.table import build_table
    from casl.tracking import Mirror

    study = open_study(options)
    mirror = Mirror(study.store.root, options.mlflow or None, study.experiment)
    runs = outcomes(study.plan(), study.store)
    ids = {n: i for n in runs if (i := mirror.run_id(n))}
    folder = Path(options.reports) / study.profile.name
    tables = [build_table(a, study.profile, study.cells[n], runs, ids) for n, a in study.tables.items()]
    written = [path for table in tables for path in write_table(table, folder)]
    if "all" in options.tables:
        claims = [claim for name in catalog.CLAIMS for claim in catalog.load("claims", name)]
        written += write_index(tables, claims, folder)
    print("\n".join(map(str, written)))
    return 0


def data_check_command(options: argparse.Namespace) -> int:
    """Validate a data set and print counts."""
    from casl.data.check import check

    report = check(Path(options.path), progress=_counter("checking images"))
    print(json.dumps({"ok": not report.errors, "counts": report.counts, **_problems(report)}, indent=1))
    return 1 if report.errors else 0


def _problems(report: Any) -> dict[str, list[str]]:
    return {"errors": list(report.errors), "warnings": list(report.warnings)}


def data_scenes_command(options: argparse.Namespace) -> int:
    """Write a built-in data set into a folder."""
    from casl.data.scenes import write_scene_set

    write_scene_set(Path(options.path), options.labeled, options.unlabeled, options.val, options.size, options.seed)
    print(f"{options.path}: try `make table4 DATA={options.path}`")
    return 0


def score_command(options: argparse.Namespace) -> int:
    """Score a COCO result file."""
    from casl.metrics.score import score, score_panoptic

    function = catalog.load("metric", options.metric)
    truth, found = Path(options.gt), Path(options.dt)
    if options.metric == "pq":
        pngs = [Path(p) if p else None for p in (options.gt_pngs, options.dt_pngs)]
        answer = score_panoptic(truth, pngs[0], found, pngs[1])
    else:
        answer = score(truth, found, options.metric, function)
    print(json.dumps(answer, indent=1))
    return 0


def ui_command(options: argparse.Namespace) -> int:
    """Serve MLflow's UI on this machine."""
    from casl.tracking import START_PAGE
    from casl.tracking import ui_command as server

    store = Store(Path(options.store))
    command, environment = server(store.root, options.mlflow or None, options.port)
    print(f"MLflow UI: http://127.0.0.1:{options.port}/{START_PAGE}   (Ctrl-C stops it)", flush=True)
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


def show_command(options: argparse.Namespace) -> int:
    """All that the store knows of one stage."""
    store = Store(Path(options.store))
    matches = [n for n in store.names() if n.startswith(options.name) or n.partition("-")[2].startswith(options.name)]
    run = store.run(matches[0] if len(matches) == 1 else options.name)
    if run.status == "not run":
        raise SpecError(f"{store.root} has no stage {options.name!r}; it has {len(store.names())} finished ones")
    print(json.dumps({**vars(run), "folder": str(run.folder)}, indent=1, default=dict))
    return 0


def _counter(what: str) -> Any:
    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{what} {done}/{total}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return show


def _say(options: argparse.Namespace, *lines: str) -> None:
    """Lines for people; with --json only JSON goes to stdout."""
    for line in lines:
        print(line, file=sys.stderr if getattr(options, "json", False) else sys.stdout)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = argparse.ArgumentParser(prog="casl", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = root.add_subparsers(dest="verb", required=True, metavar="VERB")
    study = _study_options()
    store = argparse.ArgumentParser(add_help=False)
    _store_option(store)
    plan = verbs.add_parser("plan", parents=[study], help="count what a run would do, and why")
    plan.add_argument("--json", action="store_true", help="counts only, as JSON")
    plan.set_defaults(command=plan_command)
    run = verbs.add_parser("run", parents=[study], help="run what is missing")
    run.add_argument("--launcher", default="local", help="local or inline (default local)")
    run.add_argument("--workers", type=int, default=0, help="processes; default one a core, or one a GPU")
    run.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default auto)")
    run.add_argument("--loaders", type=int, default=0, help="threads preparing batches in each worker (default 0)")
    run.add_argument("--weights", default="", help="folder with pretrained backbone weights, <backbone>.safetensors")
    run.set_defaults(command=run_command)
    report = verbs.add_parser("report", parents=[study], help="write tables from what is in the store")
    report.add_argument("--reports", default="reports", help="folder for reports (default reports)")
    report.set_defaults(command=report_command)
    verbs.add_parser("sync", parents=[study], help="send finished stages to MLflow").set_defaults(command=sync_command)
    ui = verbs.add_parser("ui", parents=[store], help="serve MLflow's UI on 127.0.0.1")
    ui.add_argument("--port", type=int, default=5000)
    ui.set_defaults(command=ui_command)
    show = verbs.add_parser("show", parents=[store], help="all that is known of one stage")
    show.add_argument("name", help="name of the stage, or the beginning of its key")
    show.set_defaults(command=show_command)
    _add_data(verbs)
    score = verbs.add_parser("score", help="score a COCO result file, print JSON")
    score.add_argument("--gt", required=True, help="COCO ground truth")
    score.add_argument("--dt", required=True, help="COCO results: a list of detections")
    score.add_argument("--metric", required=True, help=", ".join(catalog.METRICS))
    score.add_argument("--gt-pngs", default="", help="pq: folder of PNGs (default: named as the JSON file)")
    score.add_argument("--dt-pngs", default="", help="pq: the same of the predictions")
    score.set_defaults(command=score_command)
    return root


def _study_options() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "tables", nargs="+", metavar="TABLE", help=f"{', '.join(catalog.ABLATIONS)}; all: the paper's ten"
    )
    shared.add_argument("--profile", default="mini", help=f"{', '.join(catalog.PROFILES)} (default mini)")
    shared.add_argument("--data", default="", help="data set on disk instead of the profile's own")
    shared.add_argument("--seeds", type=int, default=1, help="repetitions of every training (default 1)")
    _store_option(shared)
    return shared


def _store_option(shared: argparse.ArgumentParser) -> None:
    shared.add_argument("--store", default="store", help="folder of all results (default store)")
    shared.add_argument(
        "--mlflow",
        default=os.environ.get("MLFLOW_TRACKING_URI", ""),
        help="MLflow tracking URI (default: MLFLOW_TRACKING_URI, or a database in the store)",
    )


def _add_data(verbs: Any) -> None:
    data = verbs.add_parser("data", help="check a data set, or make one").add_subparsers(dest="what", required=True)
    check = data.add_parser("check", help="validate every file and print counts as JSON")
    check.add_argument("path")
    check.set_defaults(command=data_check_command)
    scenes = data.add_parser("scenes", help="write the built-in data set into a folder")
    scenes.add_argument("path")
    for name, default in (("labeled", 100), ("unlabeled", 246), ("val", 100), ("size", 64), ("seed", 0)):
        scenes.add_argument(f"--{name}", type=int, default=default)
    scenes.set_defaults(command=data_scenes_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors of the user's are printed without a traceback."""
    options = parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except CaslError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; repeat the command to go on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # piped into head
        return 0


if __name__ == "__main__":
    sys.exit(main())
