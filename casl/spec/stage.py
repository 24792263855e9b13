"""Stage: a frozen description of one piece of work, and its key.

A key is the hash of everything that can change a stage's numbers and of nothing else. Paths, devices, worker counts
and host names have no field here, so they cannot reach a key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from casl.errors import SpecError

HASH_SCHEMA = 1  # raise when the recipe below changes: every key changes with it


@dataclass(frozen=True)
class Record:
    """A group of values inside a stage (a model, a recipe); it has no key of its own."""

    @cached_property
    def payload(self) -> dict[str, Any]:
        """Its part of what is hashed."""
        return {name: canonical(value, f"{type(self).__name__}.{name}") for name, value in _set_fields(self)}


@dataclass(frozen=True)
class Stage:
    """Base of all stage kinds. A field that is a Stage is an edge of the graph.

    Fields may hold str, int, float, bool, None, tuples of these, Records and Stages. A field at its default is left out
    of the key, so a new field with a default leaves old keys unchanged; therefore a default must never change.
    """

    VERSION: ClassVar[int] = 1  # raise when the code of this kind gives other numbers for the same fields

    @property
    def kind(self) -> str:
        """Name of the stage kind: the class name in lower case."""
        return type(self).__name__.lower()

    @cached_property
    def key(self) -> str:
        """64 hex digits: sha256 of the canonical payload."""
        return digest(self.payload())

    @cached_property
    def name(self) -> str:
        """Short readable name, also the folder in the store: kind and 16 digits of the key."""
        return f"{self.kind}-{self.key[:16]}"

    def payload(self) -> dict[str, Any]:
        """What is hashed, as JSON values. Inputs are replaced by their keys."""
        return {"schema": HASH_SCHEMA, "kind": self.kind, "version": self.VERSION, "fields": self._canonical_fields}

    @cached_property
    def _canonical_fields(self) -> dict[str, Any]:
        return {name: canonical(value, name) for name, value in _set_fields(self)}

    def inputs(self) -> tuple[Stage, ...]:
        """Stages this one reads, in field order."""
        return self._inputs

    @cached_property
    def _inputs(self) -> tuple[Stage, ...]:
        values = [getattr(self, name) for name, _ in _fields(type(self))]
        return tuple(v for v in values if isinstance(v, Stage))


_ENCODER = json.JSONEncoder(sort_keys=True)


def digest(payload: dict[str, Any]) -> str:
    """64 hex digits of JSON values, whatever their order."""
    return hashlib.sha256(_ENCODER.encode(payload).encode()).hexdigest()


def canonical(value: object, where: str) -> Any:
    """A JSON value that is equal for equal meanings, for hashing.

    Args:
        value: a field's value.
        where: name of the field, for the message.

    Raises:
        SpecError: a type that has no canonical form, or a number that is not finite.
    """
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        return _canonical_float(value, where)
    if isinstance(value, Stage):
        return {"stage": value.key}
    if isinstance(value, Record):
        return value.payload
    if isinstance(value, tuple):
        return [canonical(v, f"{where}[{i}]") for i, v in enumerate(value)]
    raise SpecError(
        f"field {where!r} holds a {type(value).__name__}, which has no place in a key.\n"
        "  legal: str, int, float, bool, None, tuple, Record, Stage."
    )


def _canonical_float(value: float, where: str) -> int | float:
    if not math.isfinite(value):
        raise SpecError(f"field {where!r} is {value}: every number of a spec must be finite")
    short = float(f"{value:.12g}")  # 0.1 + 0.25 and 0.35 are one value to a person, so to a key
    return int(short) if short.is_integer() else short


def _set_fields(value: Stage | Record) -> Iterator[tuple[str, object]]:
    """Names and values of the fields that differ from their default."""
    for name, default in _fields(type(value)):
        set_to = getattr(value, name)
        if type(set_to) is not type(default) or set_to != default:
            yield name, set_to


_FIELDS: dict[type[Stage | Record], tuple[tuple[str, object], ...]] = {}  # asked for with every key


def _fields(kind: type[Stage | Record]) -> tuple[tuple[str, object], ...]:
    """Names and defaults of the fields of a class; one without a default has MISSING, which equals no value."""
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple((f.name, f.default) for f in dataclasses.fields(kind))
    return _FIELDS[kind]


def ancestors(stage: Stage) -> Iterator[Stage]:
    """The stage's inputs, theirs, and so on, each once, inputs before users; the stage itself comes last."""
    seen: set[str] = set()

    def walk(node: Stage) -> Iterator[Stage]:
        if node.key in seen:
            return
        seen.add(node.key)
        for parent in node.inputs():
            yield from walk(parent)
        yield node

    yield from walk(stage)
