"""The list of stage kinds, and stages as JSON and back, so that a worker executes exactly the stage it was given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from casl.catalog import load_place, names
from casl.errors import SpecError, unknown
from casl.rows import Kind
from casl.spec.kinds import Train
from casl.spec.records import Model, Recipe
from casl.spec.stage import Record, Stage


@lru_cache(maxsize=1)
def kinds() -> Mapping[str, type[Stage]]:
    """The class of every stage kind by its name, built-in ones first.

    Raises:
        SpecError: a row of the catalog names no class of a stage, or is not named as the class.
    """
    found: dict[str, type[Stage]] = {}
    for name, row in names("stage").items():
        assert isinstance(row, Kind)
        found[name] = _class(name, row.spec, Stage)
        if found[name].__name__.lower() != name:
            raise SpecError(
                f"stage kind {name!r} must be named as its class {row.spec}: {found[name].__name__.lower()!r}"
            )
    return found


@lru_cache(maxsize=1)
def types() -> Mapping[str, type[Any]]:
    """Class name -> class, of all stage kinds and of the records in their fields.

    Raises:
        SpecError: as in `kinds`, or two classes have one name.
    """
    found: dict[str, type[Any]] = {"Model": Model, "Recipe": Recipe}
    for name, row in names("stage").items():
        assert isinstance(row, Kind)
        for loaded in (kinds()[name], *(_class(name, place, Record) for place in row.records)):
            if found.setdefault(loaded.__name__, loaded) is not loaded:
                raise SpecError(f"stage kind {name!r}: its class {loaded.__name__} has the name of another; rename it")
    return found


def _class(name: str, place: str, base: type[Any]) -> type[Any]:
    loaded = load_place(place)
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise SpecError(f"stage kind {name!r}: {place} is no class that extends casl.spec.stage.{base.__name__}")
    return loaded


def kind_named(name: str) -> type[Stage]:
    """The class of a kind. Of one that is not known here, Stage itself, with the facts of an unknown kind."""
    return kinds().get(name, Stage)


def trainings_for_people() -> str:
    """The kinds that train a detector, for errors: "a labeler, a warmup or a finetune"."""
    *others, last = [f"a {name}" for name, kind in kinds().items() if issubclass(kind, Train)]
    return f"{', '.join(others)} or {last}"


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
    if kind not in types():
        advice = "The store may come from a newer version of casl, or with a package that is not installed here."
        raise SpecError(unknown("stage type", kind, types(), advice))
    try:
        return types()[kind](**fields)
    except TypeError as error:
        raise SpecError(f"a stored {kind} does not fit this version of casl: {error}") from error
