"""Why a stage has to run: what differs between it and the nearest result the store has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casl.runner.moved import SUPERSEDED
from casl.runner.plan import Node, Plan
from casl.runner.results import changed_since, inputs_of, kind_of, readable, records
from casl.runner.store import Store
from casl.spec.freeze import freeze
from casl.spec.run import RESULT
from casl.spec.stage import Stage, ancestors

SHOWN = 3  # changes in one line


@dataclass(frozen=True)
class Stored:
    """A result to compare with: its fields by dotted name, and the same as a set."""

    name: str
    record: Mapping[str, Any]
    fields: Mapping[str, Any]
    items: frozenset[tuple[str, str]]


def reasons(plan: Plan, store: Store, aside: Iterable[str] = ()) -> dict[str, str]:
    """Why each stage of a plan has to run, in one sentence each.

    Args:
        aside: results that would be set aside first, because their code moved.

    Returns:
        name -> "<field>: <old> -> <new>" or "VERSION of <kind>: <old> -> <new>" against the nearest result of its kind;
        or that code moved, the result was damaged, an input changed, or that nothing like it ever ran.
    """
    every = records(store)
    stored: dict[str, list[Stored]] = {}
    for name, record in every.items():
        if name in plan.nodes:  # another cell of the same tables, not an earlier form of a stage to run
            continue
        stored.setdefault(kind_of(record), []).append(comparable(name, record))
    asides = readable(_entries(store, SUPERSEDED)) | {name: every[name] for name in aside if name in every}
    damaged = {*_entries(store, "quarantine"), *(name for name in store.names() if name not in every)}
    todo = set(plan.todo)
    return {
        name: _known_cause(node, asides, damaged, store)
        or _differs(node, stored.get(node.stage.kind, []), every)
        or _never_run(node, todo)
        for name, node in plan.nodes.items()
        if name in todo
    }


def nearest(stage: Stage, stored: Iterable[Stored]) -> Stored | None:
    """The result that differs from a stage in the fewest fields."""
    items = _items(describe(stage))
    return min(stored, key=lambda s: (len(s.items ^ items), s.name), default=None)


def differences(old: Stored, stage: Stage, every: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Fields and versions in which a stage differs from a result, "name: old -> new".

    Args:
        every: records by name, to look up the versions of the result's inputs.
    """
    new = describe(stage)
    names = sorted(old.fields.keys() | new.keys(), key=lambda n: (n.count("."), n))
    fields = [f"{n}: {old.fields.get(n)!r} -> {new.get(n)!r}" for n in names if old.fields.get(n) != new.get(n)]
    now = {s.kind: s.VERSION for s in ancestors(stage)}
    then = _versions(old.name, every)
    return fields + [
        f"VERSION of {kind}: {version} -> {now[kind]}"
        for kind, version in then.items()
        if now.get(kind, version) != version
    ]


def describe(stage: Stage) -> dict[str, Any]:
    """A stage's fields by dotted name, for people."""
    return flat(freeze(stage))


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Fields of nested frozen stages by dotted name."""
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for name, inner in value.items():
            found |= flat(inner, f"{prefix}.{name}" if prefix else name)
        return found
    return {prefix: value}


def comparable(name: str, record: Mapping[str, Any]) -> Stored:
    """A result in the form that `nearest` and `differences` take."""
    fields = flat(record["stage"])
    return Stored(name, record, fields, _items(fields))


def _items(fields: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    return frozenset((name, repr(value)) for name, value in fields.items())


def _known_cause(node: Node, aside: Mapping[str, Mapping[str, Any]], damaged: Collection[str], store: Store) -> str:
    name = node.stage.name
    if name in aside:
        files = changed_since(store, aside[name], node.stage)
        return f"code moved: {shortened(files)}" if files else "made from a result whose code moved"
    return "its result was damaged" if name in damaged else ""


def _differs(node: Node, stored: list[Stored], every: Mapping[str, Mapping[str, Any]]) -> str:
    if (old := nearest(node.stage, stored)) is None:
        return ""
    changes = differences(old, node.stage, every)
    if not changes:
        return f"VERSION of {node.stage.kind} or of something before it changed since {old.name}"
    if not node.asked and all(change.startswith("schedule:") for change in changes):
        return "the beginning that longer trainings share"
    return f"{shortened(changes, '; ')} (against {old.name})"


def _never_run(node: Node, todo: set[str]) -> str:
    needs = next((n for n in node.needs if n in todo), None)
    return f"never run; needs {needs}, which will run" if needs else "never run"


def _versions(name: str, every: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Kind -> VERSION, of a result and all before it, as far as recorded."""
    found: dict[str, int] = {}
    waiting, seen = [name], {name}
    while waiting:
        record = every.get(current := waiting.pop())
        if record is None:
            continue
        if "version" in record:
            found.setdefault(kind_of(record), int(record["version"]))
        inputs = [n for n in inputs_of(current, record) or () if n not in seen]
        seen.update(inputs)
        waiting += inputs
    return found


def shortened(parts: list[str], separator: str = ", ") -> str:
    """The first few parts, and how many more there are."""
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return separator.join(parts[:SHOWN]) + more


def _entries(store: Store, folder: str) -> dict[str, Path]:
    """Name -> record, of results that were moved out of the way."""
    path = store.root / folder
    return {p.name.partition(".")[0]: p / RESULT for p in sorted(path.iterdir())} if path.exists() else {}
