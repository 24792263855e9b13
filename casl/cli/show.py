"""Verb `show`: one stage on a screen, what it is, what came out, what led to it and what to do with it."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from casl.cli.store_keep import human
from casl.runner.cost import duration
from casl.runner.gc import tables_of
from casl.runner.job import LOG
from casl.runner.results import find_stage
from casl.runner.store import Store, need_store
from casl.spec.kinds import Predict, Train
from casl.spec.run import ELSEWHERE, Run
from casl.spec.stage import Stage, ancestors
from casl.study.request import STORE
from casl.tracking.text import UNDEFINED, stage_of

INDENT = "  "


def add(verbs: Any, store: argparse.ArgumentParser) -> None:
    """Verb `show`."""
    show = verbs.add_parser("show", parents=[store], help="one stage: what it is, its result, what led to it")
    show.add_argument("name", help="name of the stage, or the beginning of its key")
    show.add_argument("--json", action="store_true", help="all that is known, as JSON")
    show.set_defaults(command=show_command)


def show_command(options: argparse.Namespace) -> int:
    """What the store knows of one stage, for people or all of it as JSON."""
    need_store(Path(options.store))
    store = Store(Path(options.store), make=False)
    found = options.name if options.name in store.folders() else ""
    run = store.run(found) if found else _unfinished(store, options.name)
    if options.json:
        print(json.dumps({**vars(run), "folder": str(run.folder)}, indent=1, default=dict))
    else:
        print("\n".join(summary(store, run, options.store)))
    return 0


def _unfinished(store: Store, asked: str) -> Run:
    """A stage that is running or failed, or else the finished one whose name or key begins so."""
    begun = {path.name for path in store.working.iterdir()} if store.working.is_dir() else set()
    if asked in begun:
        return store.run(asked)
    return store.run(find_stage(store.names(), asked, store.root))


def summary(store: Store, run: Run, where: str) -> Iterator[str]:
    """The lines for people. where: the store as it was named."""
    stage = stage_of(run)
    yield stage.title if stage else run.name
    yield from _part("name", [run.name])
    yield from _part("status", [_status(run)])
    yield from _part("result", [f"{figure:24} {_figure(value, stage)}" for figure, value in run.metrics.items()])
    yield from _part("tables", [", ".join(tables_of(store).get(run.name, []))])
    yield from _part("made from", [_earlier(store, each, bool(run.left_out)) for each in _chain(stage)])
    yield from _part("files", [f"{name:24} {human(int(entry['bytes'])):>9}" for name, entry in run.files.items()])
    elsewhere = f"{', '.join(run.left_out)}: left where it was computed" if run.left_out else ""
    yield from _part("elsewhere", [elsewhere])
    yield from _part("folder", [str(run.folder)])
    yield from _part("commands", _commands(run, stage, where))


def _part(heading: str, lines: Sequence[str]) -> Iterator[str]:
    """A heading with its lines beside it; nothing where there are none."""
    for number, line in enumerate(line for line in lines if line):
        yield f"{INDENT}{heading if number == 0 else '':10} {line}".rstrip()


def _status(run: Run) -> str:
    if run.status == "failed":
        return f"failed: {run.error.strip()}"
    if run.status != "done":
        return run.status
    commit = f", commit {run.commit[:10]}{' with changes' if run.dirty else ''}" if run.commit else ""
    return f"done in {duration(run.seconds)} on {run.host}, begun {run.started[:16].replace('T', ' ')} UTC{commit}"


def _figure(value: float, stage: Stage | None) -> str:
    return "nothing to measure it on" if value == UNDEFINED and not isinstance(stage, Train) else f"{value:.4g}"


def _chain(stage: Stage | None) -> list[Stage]:
    """What led to a stage, the nearest first."""
    return list(ancestors(stage))[-2::-1] if stage else []


def _earlier(store: Store, stage: Stage, elsewhere: bool) -> str:
    status = store.run(stage.name).status
    status = ELSEWHERE if status == "not run" and elsewhere else status
    return f"{stage.name:28} {stage.title}" + (f" ({status})" if status != "done" else "")


def _has_model(run: Run, stage: Stage | None) -> bool:
    return isinstance(stage, Train | Predict) and not run.left_out


def _commands(run: Run, stage: Stage | None, where: str) -> list[str]:
    """What can be done with it."""
    store = f" --store {shlex.quote(where)}" if where != STORE else ""
    if run.status != "done":
        return [f"cat {shlex.quote(str(run.folder / LOG))}" if run.status == "failed" else "", f"casl store ls{store}"]
    found = [f"casl predict IMAGE --model {run.name}{store}"] if _has_model(run, stage) else []
    explain = f"casl store explain {run.name}{store}   # every field, and whether it would run again"
    return [*found, explain, f"casl show {run.name} --json{store}"]
