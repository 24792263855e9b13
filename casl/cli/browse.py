"""Verbs `ui` and `show`: MLflow's pages over a store, and one stage as JSON."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from casl.errors import SpecError, unknown
from casl.runner.results import find_stage
from casl.runner.store import Store

EPILOG = """searches: table4 (its cells, best first), table4-all (every run it needs), the same for other tables;
  labelers, pseudolabels, warmups, finetunes, failed. The description of an experiment links to all of them.

examples:
  casl ui
  casl ui --search table4
  casl ui --search warmups --experiment "casl mini scenes" """


def add(verbs: Any, store: argparse.ArgumentParser) -> None:
    """Verbs `ui` and `show`."""
    ui = verbs.add_parser(
        "ui",
        parents=[store],
        help="serve MLflow's UI on 127.0.0.1",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ui.add_argument("--port", type=int, default=5000, help="of the server (default 5000)")
    ui.add_argument("--search", default="", metavar="NAME", help="give the address of a search")
    ui.add_argument("--experiment", default="", help="of the search, where the store has several")
    ui.set_defaults(command=ui_command)
    show = verbs.add_parser("show", parents=[store], help="all that is known of one stage")
    show.add_argument("name", help="name of the stage, or the beginning of its key")
    show.add_argument("--json", action="store_true", help="as always")
    show.set_defaults(command=show_command)


def ui_command(options: argparse.Namespace) -> int:
    """Serve MLflow's UI on this machine, and print its addresses."""
    from casl.tracking.server import ui_command as server

    store = Store(Path(options.store))
    addresses = _addresses(store, options)
    if options.mlflow.startswith(("http://", "https://")) and options.search:
        print(f"{options.mlflow.rstrip('/')}/{addresses[0][0]}")
        return 0
    command, environment = server(store.root, options.mlflow or None, options.port)
    print("MLflow UI (Ctrl-C stops it):")
    for address, what in addresses:
        print(f"  http://127.0.0.1:{options.port}/{address}   {what}", flush=True)
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


def _addresses(store: Store, options: argparse.Namespace) -> list[tuple[str, str]]:
    """(address, what is there): the search asked for, or each experiment of the store."""
    from casl.tracking.address import experiment_page
    from casl.tracking.experiment import searches
    from casl.tracking.index import Index, listed
    from casl.tracking.server import START_PAGE

    index = Index(store.root, options.mlflow or None)
    known = {one.experiment: one.experiment_id for one in index.experiments()}
    if options.experiment and options.experiment not in known:
        raise SpecError(unknown("experiment", options.experiment, known))
    chosen = {options.experiment: known[options.experiment]} if options.experiment else known
    if not options.search:
        return [(experiment_page(number), name) for name, number in chosen.items()] or [(START_PAGE, "nothing yet")]
    every = [(s, name, number) for name, number in chosen.items() for s in searches(listed(index.entries(number)))]
    found = [(s.address(number), name) for s, name, number in every if s.name == options.search]
    if not found:
        advice = "Tables appear among them with `casl run` and `casl sync`."
        raise SpecError(unknown("search", options.search, {s.name for s, _, _ in every}, advice))
    return found


def show_command(options: argparse.Namespace) -> int:
    """All that the store knows of one stage."""
    store = Store(Path(options.store))
    run = store.run(options.name)
    if run.status == "not run":
        run = store.run(find_stage(store.names(), options.name))
    print(json.dumps({**vars(run), "folder": str(run.folder)}, indent=1, default=dict))
    return 0
