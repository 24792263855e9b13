"""Verbs `store ls` and `store explain`; the others are in store_keep.py."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from casl import catalog
from casl.cli import store_keep
from casl.cli.store_keep import human
from casl.cli.study import known_names, open_study, setting_options
from casl.errors import SpecError, unknown
from casl.runner.gc import tables_of
from casl.runner.results import (
    beginnings_of,
    changed_since,
    find_stage,
    inputs_of,
    record_of,
    records,
    stage_of,
    users,
)
from casl.runner.store import Store, need_store
from casl.runner.why import comparable, describe, differences, flat, shortened
from casl.spec.run import STATUSES, Run
from casl.spec.stage import Stage, ancestors
from casl.words import number_of

UNKNOWN_INPUTS = "not recorded, and not to be told from the fields"
ORDERS = ("name", "kind", "status", "seconds", "size", "when")


def add(verbs: Any, store: argparse.ArgumentParser) -> None:
    """Verbs `store ls`, `explain`, `verify`, `gc`, `export` and `import`."""
    group = verbs.add_parser("store", help="look into the store of results, check it, tidy it, move results")
    what = group.add_subparsers(dest="what", required=True, metavar="WHAT")
    ls = what.add_parser("ls", parents=[store], help="list stages")
    known_names(ls.add_argument("--kind", action="append", default=[], help="only of these kinds: %(known)s"), "stage")
    ls.add_argument("--status", action="append", default=[], help=f"only these: {', '.join(STATUSES)}")
    ls.add_argument("--sort", default="name", choices=ORDERS, help="default name; the largest and the latest come last")
    ls.add_argument("--json", action="store_true", help="print JSON")
    ls.set_defaults(command=ls_command)
    explain = what.add_parser("explain", parents=[store], help="all about a stage, and whether it would run again")
    explain.add_argument("key", help="name of the stage, or the beginning of its name or key")
    explain.add_argument("--tables", nargs="+", default=["all"], help="what to compare it with (default all)")
    setting_options(explain)
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(command=explain_command)
    store_keep.add(what, store)


def ls_command(options: argparse.Namespace) -> int:
    """List stages, finished or not."""
    for kind in options.kind:
        catalog.check_name("stage", kind)
    for status in options.status:
        if status not in STATUSES:
            raise SpecError(unknown("status", status, STATUSES))
    need_store(Path(options.store))
    store = Store(Path(options.store), make=False)
    tables = tables_of(store)
    rows = [_row(run, tables) for run in map(store.run, _all_names(store))]
    rows = [r for r in rows if r["kind"] in (options.kind or [r["kind"]])]
    rows = [r for r in rows if r["status"] in (options.status or [r["status"]])]
    rows.sort(key=lambda row: (row[options.sort], row["name"]))
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    if rows:
        heads = (f"{'stage':28}", f"{'status':8}", f"{'time':>11}", f"{'size':>9}", f"{'begun':19}", f"{'commit':8}")
        print(*heads, "tables", sep="  ")
    for row in rows:
        commit = row["commit"][:7] + ("+" if row["dirty"] else "")
        columns = (f"{row['name']:28}", f"{row['status']:8}", f"{row['seconds']:9.1f} s", f"{human(row['size']):>9}")
        print(*columns, f"{row['when'][:19]:19}", f"{commit:8}", ", ".join(row["tables"]), sep="  ")
    hours = sum(row["seconds"] for row in rows) / 3600
    print(f"{number_of(len(rows), 'stage')}, {human(sum(row['size'] for row in rows))}, {hours:.2f} device-hours")
    return 0


def _all_names(store: Store) -> list[str]:
    """Finished stages, and those with unfinished work."""
    begun = store.working.iterdir() if store.working.exists() else ()
    return sorted({*store.names(), *(p.name for p in begun)})


def _row(run: Run, tables: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {
        "name": run.name,
        "kind": run.kind,
        "status": run.status,
        "seconds": float(run.seconds),
        "size": sum(int(entry["bytes"]) for entry in run.files.values()),
        "when": run.started,
        "commit": run.commit,
        "dirty": run.dirty,
        "tables": list(tables.get(run.name, ())),
    }


def explain_command(options: argparse.Namespace) -> int:
    """Fields, relatives and history of a stage, and why it would or would not run again."""
    need_store(Path(options.store))
    store = Store(Path(options.store), make=False)
    tables = tables_of(store)
    name = find_stage([*_all_names(store), *tables], options.key, store.root)
    run = store.run(name)
    facts = _facts(store, run, tables.get(name, []))
    facts["again"] = _again(store, run, options)
    if options.json:
        print(json.dumps(facts, indent=1, default=dict))
        return 0
    for heading, value in facts.items():
        _print(heading, value)
    return 0


def _facts(store: Store, run: Run, tables: Sequence[str]) -> dict[str, Any]:
    record = record_of(store, run.name) if run.status == "done" else {}
    inputs = inputs_of(run.name, record) if record else None
    return {
        "name": run.name,
        "status": run.status,
        "error": run.error,
        "folder": str(run.folder),
        "key": run.key,
        "fields": {n: v for n, v in flat(dict(run.stage)).items() if n.rpartition(".")[2] != "type"},
        "inputs": list(inputs) if inputs is not None else [UNKNOWN_INPUTS] * bool(record),
        "beginning": list(beginnings_of(run.name, record, store)) if record else [],
        "users": users(store).get(run.name, []),
        "tables": list(tables),
        "metrics": dict(run.metrics),
        "facts": dict(run.facts),
        "made": {n: record[n] for n in ("commit", "dirty", "diff", "source", "version", "host") if record.get(n)},
        "versions": dict(run.versions),
        "seconds": run.seconds,
        "started": run.started,
        "attempts": [dict(a) for a in run.attempts],
        "files": {n: human(int(entry["bytes"])) for n, entry in run.files.items()},
    }


def _again(store: Store, run: Run, options: argparse.Namespace) -> list[str]:
    """Sentences on whether the stage would run again now."""
    if run.status == "running":
        return ["it is running now"]
    if run.status != "done" and (numbers := _numbers_of(store, run.name)):
        return [f"nothing asks for it: {numbers} is here as numbers, taken over without what it was made from"]
    if run.status != "done":
        return [f"it would run: it is {run.status}" if run.status == "failed" else "it would run: it never finished"]
    record = record_of(store, run.name)
    stage = stage_of(record)
    if stage is None:
        return ["nothing asks for it: this version of casl does not know its fields"]
    if stage.name != run.name:
        return [f"it would run, as {stage.name}: " + shortened(_changes(store, run.name, stage), "; ")]
    sentences = []
    if files := changed_since(store, record, stage):
        sentences.append(f"code moved since: {', '.join(files)}; `casl run --rerun-moved` computes it again")
    return [*sentences, *_compared(store, run.name, stage, options)]


def _numbers_of(store: Store, name: str) -> str:
    """An evaluation that was made from a stage and is here as numbers alone, "" if there is none."""
    for user, record in records(store).items():
        stage = stage_of(record) if record.get("left_out") else None
        if stage is not None and name in {before.name for before in ancestors(stage)}:
            return user
    return ""


def _changes(store: Store, name: str, stage: Stage) -> list[str]:
    """What differs between a result and a stage."""
    every = records(store)
    found = differences(comparable(name, every[name]), stage, every)
    return found or [f"VERSION of {stage.kind} or of something before it changed"]


def _compared(store: Store, name: str, stage: Stage, options: argparse.Namespace) -> list[str]:
    """What the tables of the command line ask for instead, if not for this stage."""
    plan = open_study(options, make=False).plan()
    where = f"{', '.join(options.tables)} of profile {options.profile}"
    if name in plan.nodes:
        return [f"it would not run: {where} asks for it and it is done"]
    rivals = [n.stage for n in plan.nodes.values() if n.stage.kind == stage.kind]
    if not rivals:
        return [f"{where} has no {stage.kind} stage"]
    mine = set(map(repr, describe(stage).items()))
    rival = min(rivals, key=lambda r: (len(mine ^ set(map(repr, describe(r).items()))), r.name))
    changes = _changes(store, name, rival)
    return [f"{where} asks for {rival.name} instead: {shortened(changes, '; ')}"]


def _print(heading: str, value: Any) -> None:
    if value in ("", [], {}, None):
        return
    if isinstance(value, dict):
        print(f"{heading}:")
        for name, inner in value.items():
            print(f"  {name:32} {inner}")
    elif isinstance(value, list):
        print(f"{heading}:")
        for inner in value:
            print(f"  {inner if not isinstance(inner, dict) else '  '.join(f'{n} {v}' for n, v in inner.items())}")
    else:
        print(f"{heading}: {value}")
