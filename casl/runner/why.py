"""Why a stage has to run: the fields in which it differs from the nearest result the store has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from casl.errors import StoreError
from casl.files import read_json
from casl.runner.plan import Node, Plan
from casl.runner.store import RESULT, Store
from casl.spec.freeze import freeze
from casl.spec.stage import Stage


def reasons(plan: Plan, store: Store) -> dict[str, str]:
    """For each stage to run, one sentence.

    Returns:
        name -> "never run", "input <name> will run", or "<field>: <old> -> <new>" against the nearest stored result.
    """
    stored = _stored(store)
    todo = set(plan.todo)
    return {name: _reason(plan.nodes[name], todo, stored.get(plan.nodes[name].stage.kind, {})) for name in plan.todo}


def _stored(store: Store) -> dict[str, dict[str, dict[str, Any]]]:
    """kind -> name -> flat fields of every stored stage."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name in store.names():
        try:
            record = read_json(store.folder(name) / RESULT)
        except StoreError:
            continue  # found and named when the plan runs
        found.setdefault(name.partition("-")[0], {})[name] = _flat(record["stage"])
    return found


def _reason(node: Node, todo: set[str], stored: Mapping[str, Mapping[str, Any]]) -> str:
    new = _flat(freeze(node.stage))
    nearest = min(stored.values(), key=lambda old: len(_changes(old, new)), default=None)
    changes = _changes(nearest, new) if nearest is not None else []
    if changes:
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        return "; ".join(changes[:3]) + more
    if nearest is not None and not changes:
        return f"version of stage kind {node.stage.kind!r}, or of its inputs, changed to {node.stage.VERSION}"
    if waits := next((n for n in node.needs if n in todo), None):
        return f"never run; needs {waits}, which will run"
    return "never run"


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    names = sorted(old.keys() | new.keys(), key=lambda n: (n.count("."), n))
    return [f"{n}: {old.get(n)!r} -> {new.get(n)!r}" for n in names if old.get(n) != new.get(n)]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested frozen stages as dotted names."""
    if isinstance(value, dict):
        flat: dict[str, Any] = {}
        for name, inner in value.items():
            flat |= _flat(inner, f"{prefix}.{name}" if prefix else name)
        return flat
    return {prefix: value}


def describe(stage: Stage) -> dict[str, Any]:
    """A stage's fields by dotted name, for people."""
    return _flat(freeze(stage))
