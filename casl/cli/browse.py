"""Verbs `ui` and `show`: look at results."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from casl.errors import SpecError
from casl.runner.store import Store


def add(verbs: Any, store: argparse.ArgumentParser) -> None:
    """Verbs `ui` and `show`."""
    ui = verbs.add_parser("ui", parents=[store], help="serve MLflow's UI on 127.0.0.1")
    ui.add_argument("--port", type=int, default=5000)
    ui.set_defaults(command=ui_command)
    show = verbs.add_parser("show", parents=[store], help="all that is known of one stage")
    show.add_argument("name", help="name of the stage, or the beginning of its key")
    show.set_defaults(command=show_command)


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
