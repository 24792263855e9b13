"""The list of stage kinds, and stages as JSON and back, so that a worker executes exactly the stage it was given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from casl.catalog import STAGES
from casl.errors import SpecError, unknown
from casl.spec import kinds
from casl.spec.kinds import Train
from casl.spec.records import Model, Recipe
from casl.spec.stage import Record, Stage

_CLASSES = {name.lower(): value for name, value in vars(kinds).items() if isinstance(value, type)}
KINDS: Mapping[str, type[Stage]] = {name: _CLASSES[name] for name in _CLASSES if name in STAGES}
TYPES: Mapping[str, type[Any]] = {t.__name__: t for t in (*KINDS.values(), Model, Recipe)}


def kind_named(name: str) -> type[Stage]:
    """The class of a kind. Where a newer version of casl made it, Stage itself, with the facts of an unknown kind."""
    return KINDS.get(name, Stage)


def trainings_for_people() -> str:
    """The kinds that train a detector, for errors: "a labeler, a warmup or a finetune"."""
    *names, last = [f"a {name}" for name, kind in KINDS.items() if issubclass(kind, Train)]
    return f"{', '.join(names)} or {last}"


def freeze(value: object) -> Any:
    """Full JSON form of a stage: every field, inputs nested, types named.

    Args:
        value: a Stage, or what a field of one may hold.

    Returns:
        JSON values; `thaw` turns them back into an equal object.
    """
    if isinstance(value, Stage | Record):
        fields = {f.name: freeze(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, tuple):
        return [freeze(v) for v in value]
    return value


def thaw(value: Any) -> Any:
    """Inverse of `freeze`.

    Raises:
        SpecError: a type or field this version of casl does not know.
    """
    if isinstance(value, list):
        return tuple(thaw(v) for v in value)
    if not isinstance(value, dict):
        return value
    fields = {name: thaw(v) for name, v in value.items() if name != "type"}
    kind = str(value.get("type"))
    if kind not in TYPES:
        raise SpecError(unknown("stage type", kind, TYPES, "The store may come from a newer version of casl."))
    try:
        return TYPES[kind](**fields)
    except TypeError as error:
        raise SpecError(f"a stored {kind} does not fit this version of casl: {error}") from error
