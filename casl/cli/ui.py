"""Verb `ui`: MLflow's pages over a store."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casl.cli.reports import check_port
from casl.cli.study import mlflow_option
from casl.errors import SpecError, TrackingError, unknown
from casl.runner.store import Store, need_store
from casl.tracking.server import HOST, PORT, is_server

if TYPE_CHECKING:
    from casl.tracking.index import Index

GRACE_S = 10.0  # from SIGTERM to SIGKILL
EPILOG = """searches: table4 (its cells, best first), table4-all (every run it needs), the same for other tables;
  labelers, pseudolabels, warmups, finetunes, failed. The description of an experiment links to all of them.

examples:
  casl ui
  casl ui --search table4
  casl ui --search warmups --experiment "casl mini scenes" """


def add(verbs: Any, store: argparse.ArgumentParser) -> None:
    """Verb `ui`."""
    ui = verbs.add_parser(
        "ui",
        parents=[store],
        help="serve MLflow's UI on 127.0.0.1",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mlflow_option(ui)
    ui.add_argument("--port", type=int, default=PORT, help=f"of the server (default {PORT})")
    ui.add_argument("--search", default="", metavar="NAME", help="give the address of a search")
    ui.add_argument("--experiment", default="", help="of the search, where the store has several")
    ui.set_defaults(command=ui_command)


def ui_command(options: argparse.Namespace) -> int:
    """Serve MLflow's UI on this machine, and print its addresses once it answers."""
    from casl.tracking.home import settle
    from casl.tracking.server import check_whole, default_uri, spoken
    from casl.tracking.server import ui_command as server

    if not options.mlflow:
        need_store(Path(options.store))
    store = Store(Path(options.store), make=False)
    if not (elsewhere := is_server(options.mlflow)):
        _need_free(options.port)
        check_whole(options.mlflow or default_uri(store.root), store.root)
        print(f"starting MLflow at port {options.port} ...", flush=True)
    settle(store.root, options.mlflow or default_uri(store.root))
    if elsewhere:
        _reach(store, options.mlflow)
    addresses = _addresses(store, options)
    if elsewhere and options.search:
        print(f"{spoken(options.mlflow.rstrip('/'))}/{addresses[0][0]}")
        return 0
    command, environment = server(store.root, options.mlflow or None, options.port)
    with _child(command, {**os.environ, **environment}) as child:
        if not _answers(child, options.port):
            raise TrackingError(f"MLflow's server ended before it answered at port {options.port}; its lines say why.")
        print("MLflow UI (Ctrl-C stops it):")
        for address, what in addresses:
            print(f"  http://{HOST}:{options.port}/{address}   {what}", flush=True)
        return 1 if child.wait() else 0


def _reach(store: Store, uri: str) -> None:
    """
    Raises:
        TrackingError: the server does not answer, so that no address there leads anywhere.
    """
    from casl.tracking.server import artifact_root, open_client, quiet_mlflow, tracking_errors

    with quiet_mlflow(), tracking_errors(uri, store.root, reading=True):
        open_client(uri, artifact_root(store.root))


def _need_free(port: int) -> None:
    """
    Raises:
        SpecError: the port is none, is in use, or is reserved.
    """
    check_port(port)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: one that has just ended is gone
        try:
            probe.bind((HOST, port))
        except OSError as error:
            advice = f"\n  choose another one: casl ui --port {port + 1 if port < 65535 else PORT}"
            if error.errno == errno.EADDRINUSE:
                raise SpecError(f"port {port} of {HOST} is in use by another program.{advice}") from error
            raise SpecError(f"port {port} of {HOST} cannot be used: {error.strerror}.{advice}") from error


@contextmanager
def _child(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Yields a process whose children all end with the block. SIGTERM ends the block as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    child = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        yield child
    finally:
        signal.signal(signal.SIGTERM, before)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_S)


def _answers(child: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server takes connections; False if it ended before."""
    while child.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return child.poll() is None
        time.sleep(0.1)
    return False


def _addresses(store: Store, options: argparse.Namespace) -> list[tuple[str, str]]:
    """(address, what is there): the search asked for, or each experiment of the store."""
    from casl.tracking.experiment import searches
    from casl.tracking.index import Index, listed
    from casl.tracking.server import START_PAGE

    index = Index(store.root, options.mlflow or None)
    known = {one.experiment: one.experiment_id for one in index.experiments()}
    if options.experiment and options.experiment not in known:
        raise SpecError(unknown("experiment", options.experiment, known))
    chosen = {options.experiment: known[options.experiment]} if options.experiment else known
    if not options.search:
        return [(_first_page(index, number), name) for name, number in chosen.items()] or [(START_PAGE, "nothing yet")]
    every = [(s, name, number) for name, number in chosen.items() for s in searches(listed(index.entries(number)))]
    found = [(s.address(number), name) for s, name, number in every if s.name == options.search]
    if not found:
        advice = "Tables appear among them with `casl run` and `casl sync`."
        raise SpecError(unknown("search", options.search, {s.name for s, _, _ in every}, advice))
    return found


def _first_page(index: Index, experiment: str) -> str:
    """All runs of an experiment, best first, as far as the last sync has left such a view there."""
    from casl.tracking.address import experiment_page
    from casl.tracking.experiment import landing
    from casl.tracking.index import listed

    first, known = landing(listed(index.entries(experiment))), index.experiment(experiment)
    return first.address(experiment) if known and first.view[0] in known.tags else experiment_page(experiment)
