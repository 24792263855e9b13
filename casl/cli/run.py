"""Verbs `run` and `sync`: run the stages that are missing, and send results to MLflow."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casl import catalog
from casl.cli.decide import decide, options_of, refuse_alone
from casl.cli.ending import print_ending
from casl.cli.plan import plan_counts, print_counts, print_estimate, print_spent
from casl.cli.study import mlflow_option, open_study, part_options, worker_variables
from casl.cli.workers import check_placement, cluster_options, worker_options
from casl.durations import seconds_of
from casl.errors import SpecError, StoreError, TrackingError
from casl.runner.cost import estimate, spent
from casl.runner.gc import remember_roots
from casl.runner.job import Placement, Resources
from casl.runner.moved import moved, set_aside
from casl.runner.plan import Plan
from casl.runner.schedule import Launcher, Summary, execute, hand_over
from casl.runner.snapshot import environment, take
from casl.runner.store import need_store
from casl.study.opened import Study
from casl.study.ready import check_data, check_ready
from casl.words import number_of

if TYPE_CHECKING:
    from casl.tracking.mirror import Mirror

SAVING = "stopping: running stages save a checkpoint; Ctrl-C again ends them now"
LEAVING = "leaving: what was handed over goes on"
STDERR = 2


def add(verbs: Any, study: argparse.ArgumentParser) -> None:
    """Verbs `run` and `sync`."""
    run = verbs.add_parser("run", parents=[study], help="run what is missing")
    mlflow_option(run)
    part_options(run)
    worker_options(run)
    cluster_options(run)
    run.add_argument("--detach", action="store_true", help="hand everything over and leave (slurm)")
    run.add_argument(
        "--keep-going",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="after a failure, run what does not need the failed stage (default)",
    )
    run.add_argument("--dry-run", action="store_true", help="say what would run, and stop")
    run.add_argument(
        "--rerun-moved", action="store_true", help="compute again what another version of the code made, and from it"
    )
    options_of(run)
    run.add_argument("--json", action="store_true", help="how it ended as JSON on stdout, everything else on stderr")
    run.set_defaults(command=run_command)
    sync = verbs.add_parser("sync", parents=[study], help="send finished stages to MLflow")
    mlflow_option(sync)
    sync.add_argument("--json", action="store_true", help="how many were sent as JSON on stdout")
    sync.set_defaults(command=sync_command)


def run_command(options: argparse.Namespace) -> int:
    """Run the stages that are missing, then send results to MLflow."""
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        ended = run_study(options)
    if options.json:
        print(json.dumps(ended, indent=1))
    if ended["stopped"]:
        raise KeyboardInterrupt
    return 1 if ended["failed"] else 0


def run_study(options: argparse.Namespace) -> dict[str, list[str]]:
    """Names of stages: those to run, and by how they ended."""
    if options.until:
        return decide(options, _run)
    refuse_alone(options)
    return _run(options)


def _run(options: argparse.Namespace) -> dict[str, list[str]]:
    from casl.tracking.mirror import Mirror

    check_placement(options)
    study = open_study(options, make=not options.dry_run)
    check_data(study.profile)
    if options.dry_run:
        print_counts(plan_counts(plan := study.plan(), study), study.heading)
        print("\n".join(f"  would run {name}" for name in plan.todo))
        return {"to_run": plan.todo, **vars(Summary())}
    study.store.check_writable()
    plan = study.plan()
    if _quarantine_damaged(study, plan):
        plan = study.plan()
    while options.rerun_moved and (found := moved(plan, study.store)):
        print(f"set aside {number_of(len(set_aside(found, study.store)), 'result')} of another version of the code")
        plan = study.plan()
    check_ready(plan, study.store, options.weights)
    remember_roots(study.store, study.name, plan)
    print_counts(plan_counts(plan, study), study.heading)
    if options.detach:
        detach(plan, study, options)
        return {"to_run": plan.todo, **vars(Summary())}
    mirror = Mirror(study.store.root, options.mlflow or None, study.experiment)
    summary = carry_out(plan, study, mirror, options) if plan.todo else Summary()
    send(mirror, study, plan)
    print_ending(study, options, summary)
    return {"to_run": plan.todo, **vars(summary)}


def carry_out(plan: Plan, study: Study, mirror: Mirror, options: argparse.Namespace) -> Summary:
    """Let the chosen launcher do a plan. Ctrl-C once saves and stops, twice stops now.

    Results appear in MLflow meanwhile.
    """
    from casl.runner.live import View
    from casl.tracking.follow import follow

    placement = place(study, options)
    launcher = launcher_of(study, options)
    try:
        expected = estimate(plan, study.store)
        print_estimate(expected, min(launcher.slots, len(plan.todo)))
        with (
            View(plan, study.store, expected) as view,
            interruptible(LEAVING if launcher.ahead else SAVING) as stopping,
            follow(mirror, study.store.run, plan.uses) as tell,
        ):
            summary = execute(
                plan,
                study.store,
                launcher,
                placement,
                view,
                tell,
                keep_going=options.keep_going,
                stopping=stopping,
            )
    finally:
        launcher.close()
    if launcher.ahead:
        print(launcher.farewell(), end="")
    print(f"{number_of(len(summary.done), 'stage')} done, {len(summary.failed)} failed, {len(summary.blocked)} blocked")
    print_spent(spent(plan, study.store))
    return summary


def detach(plan: Plan, study: Study, options: argparse.Namespace) -> None:
    """Hand a plan to a launcher that goes on without this process."""
    launcher = launcher_of(study, options)
    hand_over(plan, launcher, place(study, options))
    print(launcher.farewell(), end="")


def launcher_of(study: Study, options: argparse.Namespace) -> Any:
    """The chosen launcher, ready to take stages."""
    launcher: Launcher = catalog.load("launcher", options.launcher)(study.store, resources(options, study))
    if not launcher.ahead and (options.detach or options.nodes > 1):
        asked = "--detach" if options.detach else "--nodes"
        raise SpecError(f"{asked} is for launcher 'slurm'; {options.launcher!r} cannot do that")
    if options.detach and not options.keep_going:
        raise SpecError("--detach and --no-keep-going: what was handed over goes on after a failure")
    return launcher


def place(study: Study, options: argparse.Namespace) -> Placement:
    """How stages run, as the command line says."""
    return Placement(
        roots=study.roots,
        device=options.device,
        loaders=options.loaders,
        weights=options.weights or None,
        ranks=options.gpus_per_stage,
        nodes=options.nodes,
        time_limit_s=seconds_of(options.time_limit, "--time-limit"),
    )


def resources(options: argparse.Namespace, study: Study) -> Resources:
    """What the command line says about where to run; workers run a snapshot of the code as it is now."""
    gpus = tuple(g.strip() for g in options.gpus.split(",")) if options.gpus else None
    around = {name: value for name, value in os.environ.items() if name == "PYTHONPATH"}  # the rest is inherited
    code = environment(take(study.store.root), around) | worker_variables(study, options.bits)
    own = dict(pair.split("=", 1) if "=" in pair else (pair, "") for pair in options.option)
    return Resources(options.jobs, gpus, options.per_gpu, options.gpus_per_stage, code, own)


@contextmanager
def interruptible(said: str = SAVING) -> Iterator[Callable[[], bool]]:
    """Yields whether Ctrl-C or SIGTERM came. The second one raises KeyboardInterrupt."""
    asked: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt
        with contextlib.suppress(OSError):  # not `print`, which fails where the signal came while it was writing
            os.write(STDERR, f"\n{said}\n".encode())

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _quarantine_damaged(study: Study, plan: Plan) -> bool:
    """Move results aside whose files are missing or cut short, so that this run makes them again; whether any was."""
    moved_aside = False
    for name in plan.nodes:
        try:
            study.store.check(name, content=False)
        except StoreError as error:
            print(f"{error}\n  moved to {study.store.quarantine(name)}; it will be computed again", file=sys.stderr)
            moved_aside = True
    return moved_aside


def send(mirror: Mirror, study: Study, plan: Plan, *, always: bool = False) -> int | None:
    """Send a plan's stages to MLflow; returns how many this command sent in all, None if it did not answer.

    always: ask whether it answers, and look at every run, even if there is nothing to send.
    """
    runs = [study.store.run(name) for name in plan.nodes]
    try:
        if always:
            mirror.reach()
        mirror.sync(runs, plan.uses, thorough=always)
    except TrackingError as error:
        print(f"MLflow: {error}", file=sys.stderr)
        return None
    count = len(mirror.sent)  # most of them while the stages ran
    print(f"MLflow: {number_of(count, 'new run')} in experiment {mirror.place!r}; `make ui` or `casl ui` shows them")
    return count


def sync_command(options: argparse.Namespace) -> int:
    """Send finished stages to MLflow that are not there yet; 1 if MLflow did not take them."""
    from casl.tracking.mirror import Mirror

    need_store(Path(options.store))
    study = open_study(options)
    mirror = Mirror(study.store.root, options.mlflow or None, study.experiment)
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        sent = send(mirror, study, study.plan(), always=True)
    if options.json:
        print(json.dumps({"experiment": mirror.place, "sent": sent}, indent=1))
    return 0 if sent is not None else 1
