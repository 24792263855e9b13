"""Verb `tune`: search one argument, delta by default, and say which value is best and how sure that is."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from casl import catalog
from casl.cli.reports import folder_of, pages_of, reports_options
from casl.cli.study import (
    cell_option,
    mlflow_option,
    open_study,
    setting_options,
    worker_variables,
)
from casl.cli.workers import check_placement, next_command, worker_options
from casl.spec.search import Search, spoken
from casl.study.opened import Study
from casl.study.ready import check_data, check_ready
from casl.tune.request import SearchRequest

if TYPE_CHECKING:
    from casl.runner.plan import Plan
    from casl.tune.question import Labels

EPILOG = """examples:
  casl tune                                                  the score threshold delta, on a grid
  casl tune delta --seeds 3 --pruner none                    slower, and surer
  casl tune delta --objective proxy                          from scored labels alone, without any training
  casl tune finetune.lr --low 3e-4 --high 3e-3 --log --sampler tpe
  casl tune warmup.schedule --low 1 --high 5                 lengths in x
  casl tune finetune.parts --choices backbone,backbone+neck --table 9 --cell ROW COLUMN
Stop it whenever you like; the same command goes on from there. A second process with the same command helps."""


def add(verbs: Any, study: argparse.ArgumentParser) -> None:
    """Verb `tune`. study: the options of `store_option`; tables are named differently here."""
    tune = verbs.add_parser(
        "tune",
        parents=[study],
        help="search the best value of one argument (default delta)",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mlflow_option(tune)
    tune.add_argument("argument", nargs="?", default="delta", help="delta, or stage.argument such as finetune.lr")
    setting_options(tune, repeated="every trial, averaged")
    for option in dataclasses.fields(SearchRequest)[1:]:
        if option.name == "cell":
            cell_option(tune, option.metadata["help"])
        else:
            _add_option(tune, option)
    worker_options(tune)
    reports_options(tune)
    tune.add_argument("--json", action="store_true", help="the result as JSON on stdout, everything else on stderr")
    tune.set_defaults(command=tune_command)


def _add_option(tune: argparse.ArgumentParser, option: dataclasses.Field[Any]) -> None:
    name, said = f"--{option.name.replace('_', '-')}", option.metadata["help"]
    if isinstance(option.default, bool):
        tune.add_argument(name, action="store_true", help=said)
    else:
        kind = float if option.default is None else type(option.default)
        tune.add_argument(name, type=kind, default=option.default, help=said)


def tune_command(options: argparse.Namespace) -> int:
    """Search, report, tell MLflow. 1 if a trial failed."""
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        found = _tune(options)
    if options.json:
        from casl.report.search_pages import search_json

        print(search_json(found), end="")
    return 1 if any(t.state == "failed" for t in found.trials) else 0


def _tune(options: argparse.Namespace) -> Search:
    from casl.tune.search import Tools
    from casl.tune.tuning import Publisher, Tuning

    table = f"table{options.table}" if options.table.isdigit() else options.table
    study = _study(options, table)
    (name,) = study.tables  # that of a file is not what was typed
    chosen = {f.name: getattr(options, f.name) for f in dataclasses.fields(SearchRequest)}
    request = SearchRequest(**chosen | {"table": name, "cell": tuple(options.cell or ())})
    profiles = [study.profile.with_seed(seed) for seed in range(study.profile.seeds)]
    tuning = Tuning(request, profiles, study.cells[request.table], study.store)
    reports = folder_of(options, study.profile, study.store)
    publisher = Publisher(tuning, reports, options.mlflow or None, study.experiment, pages_of(options))
    with _worker(options, study) as work:
        tuning.run(Tools(study.store, _labels(study), work, publisher.send, _say))
    found = publisher.finish()
    _say_next(found, options, tuning.storage)
    return found


def _say_next(found: Search, options: argparse.Namespace, storage: str) -> None:
    """The best value as a command, and the one that shows the study in a browser."""
    from casl.report.search import verdict
    from casl.tracking.server import spoken as address

    if best := verdict(found):
        value = best.best.value if isinstance(best.best.value, str) else spoken(best.best.value)
        print(f"its table: {next_command('run', options)} --set {shlex.quote(f'{found.target}={value}')}")
    print(f"all trials: optuna-dashboard {shlex.quote(address(storage))}   (pip install optuna-dashboard)")


def _study(options: argparse.Namespace, table: str) -> Study:
    """The table under the profile, with what its data and the machine lack said before any work."""
    check_placement(options)
    options.tables = [table]
    study = open_study(options)
    check_data(study.profile)
    return study


def _say(line: str) -> None:
    print(line, flush=True)


def _labels(study: Study) -> Labels:
    from casl.stages.agreement import ScoredLabels

    return ScoredLabels(study.store.folder, study.data_folders, study.store.digests)


@contextmanager
def _worker(options: argparse.Namespace, study: Study) -> Iterator[Callable[[Plan], None]]:
    """Yields what runs a plan. Workers start with the first plan and stay warm for the others."""
    from casl.cli.run import interruptible
    from casl.runner.job import Placement, Resources
    from casl.runner.live import View
    from casl.runner.schedule import execute

    roots, weights = study.roots, options.weights or None
    placement = Placement(roots=roots, device=options.device, loaders=options.loaders, weights=weights)
    launchers: list[Any] = []

    def work(plan: Plan) -> None:
        check_ready(plan, study.store, options.weights)
        if not launchers:
            resources = Resources(options.jobs, environment=worker_variables(study, options.bits))
            launchers.append(catalog.load("launcher", options.launcher)(study.store, resources))
        with View(plan, study.store) as view, interruptible() as stopping:
            ended = execute(plan, study.store, launchers[0], placement, view, lambda name: None, stopping=stopping)
        if ended.stopped or stopping():
            raise KeyboardInterrupt

    try:
        yield work
    finally:
        for launcher in launchers:
            launcher.close()
