"""Verbs `ui` and `show`: look at results."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from casl.errors import SpecError, unknown
from casl.runner.store import Store

EPILOG = """searches: table4 (its cells, best first), table4-all (every run it needs), the same for other tables;
  labelers, pseudolabels, warmups, finetunes, failed. In the pages they are in the menu "Views".

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
    ui.add_argument("--search", default="", metavar="NAME", help="give the address of a saved search")
    ui.add_argument("--experiment", default="", help="of the search, where the store has several")
    ui.set_defaults(command=ui_command)
    show = verbs.add_parser("show", parents=[store], help="all that is known of one stage")
    show.add_argument("name", help="name of the stage, or the beginning of its key")
    show.add_argument("--json", action="store_true", help="as always")
    show.set_defaults(command=show_command)


def ui_command(options: argparse.Namespace) -> int:
    """Serve MLflow's UI on this machine, and say where to look."""
    from casl.tracking.server import ui_command as server

    store = Store(Path(options.store))
    pages = _addresses(store, options)
    if options.mlflow.startswith(("http://", "https://")) and options.search:
        print(f"{options.mlflow.rstrip('/')}/{pages[0][0]}")
        return 0
    command, environment = server(store.root, options.mlflow or None, options.port)
    print("MLflow UI (Ctrl-C stops it):")
    for page, what in pages:
        print(f"  http://127.0.0.1:{options.port}/{page}   {what}", flush=True)
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


def _addresses(store: Store, options: argparse.Namespace) -> list[tuple[str, str]]:
    """(address, what is there): the search asked for, or each experiment of the store."""
    from casl.tracking.address import experiment_page, view_page
    from casl.tracking.index import Index
    from casl.tracking.page import OURS, VIEW_TAG
    from casl.tracking.server import START_PAGE

    pages = {page.experiment: page for page in Index(store.root, options.mlflow or None).pages()}
    if options.experiment and options.experiment not in pages:
        raise SpecError(unknown("experiment", options.experiment, pages))
    chosen = [pages[options.experiment]] if options.experiment else list(pages.values())
    if not options.search:
        return [(experiment_page(p.experiment_id), p.experiment) for p in chosen] or [(START_PAGE, "nothing yet")]
    prefix = f"{VIEW_TAG}{OURS}"
    named = {(p.experiment_id, t.removeprefix(prefix)): p for p in chosen for t in p.tags if t.startswith(prefix)}
    found = [
        (view_page(number, f"{OURS}{name}"), page.experiment)
        for (number, name), page in named.items()
        if name == options.search
    ]
    if not found:
        advice = "Searches are made by `casl run` and `casl sync`."
        raise SpecError(unknown("search", options.search, {name for _, name in named}, advice))
    return found


def show_command(options: argparse.Namespace) -> int:
    """All that the store knows of one stage."""
    store = Store(Path(options.store))
    run = store.run(options.name)
    if run.status == "not run":
        run = store.run(stage_name(store, options.name))
    print(json.dumps({**vars(run), "folder": str(run.folder)}, indent=1, default=dict))
    return 0


def stage_name(store: Store, asked: str) -> str:
    """The one stage whose name or key begins so.

    Raises:
        SpecError: none or several do.
    """
    names = store.names()
    found = [n for n in names if n.startswith(asked) or n.partition("-")[2].startswith(asked)]
    if len(found) == 1:
        return found[0]
    if found:
        raise SpecError(
            f"{len(found)} stages of {store.root} begin with {asked!r}: {', '.join(found[:4])}"
            f"{', ...' if len(found) > 4 else ''}.\n  give more of the name."
        )
    trained = [n for n in names if n.partition("-")[0] in ("labeler", "warmup", "finetune")]
    near = difflib.get_close_matches(asked, trained, n=1, cutoff=0.5)
    hint = f"\n  did you mean {near[0]!r}?" if near else "\n  `casl ui` shows what there is."
    raise SpecError(f"{store.root} has no stage {asked!r}; it has {len(trained)} trained detectors.{hint}")
