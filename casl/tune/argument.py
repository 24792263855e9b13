"""Any argument of any stage of a cell's chain, by dotted name: find it, read it, put another value in its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from casl.errors import SpecError, unknown
from casl.spec.kinds import Evaluate, Train
from casl.spec.profile import Profile
from casl.spec.schedule import iterations, times
from casl.spec.stage import Record, Stage, ancestors

ALIASES = {"delta": "warmup.threshold"}
DATA = ("scenes", "folder")  # what is measured on; a search over it would compare numbers of different data
# seed is for --seeds; labels, metric and classes say what is measured
FIXED = ("seed", "labels", "metric", "classes")
SCHEDULE = "schedule"


@dataclass(frozen=True)
class Argument:
    """A field of one stage kind in a chain.

    name: as asked for. kind, path: stage kind, then the names of the field and of fields of records in it. current: its
    value in the chain; a schedule stands for itself by its length in x.
    """

    name: str
    kind: str
    path: tuple[str, ...]
    current: Any
    profile: Profile

    @property
    def target(self) -> str:
        """The full dotted name."""
        return ".".join((self.kind, *self.path))

    def put(self, end: Evaluate, value: Any) -> Evaluate:
        """The same chain with another value; everything up to the argument is the same stages.

        Raises:
            SpecError: the stage refuses the value.
        """
        changed = self._replaced(end, value)
        assert isinstance(changed, Evaluate)
        return changed

    def _replaced(self, stage: Stage, value: Any) -> Stage:
        changes: dict[str, Any] = {}
        for f in dataclasses.fields(stage):
            old = getattr(stage, f.name)
            if isinstance(old, Stage) and (new := self._replaced(old, value)) is not old:
                changes[f.name] = new
        if changes:
            stage = replace(stage, **changes)
        return self._set(stage, self.path, self._as_field(stage, value)) if stage.kind == self.kind else stage

    def _as_field(self, stage: Stage, value: Any) -> Any:
        if self.path != (SCHEDULE,):
            return value
        assert isinstance(stage, Train)
        return times(value, self.profile.iters_1x_on(stage.data), self.profile.rule)

    def _set(self, owner: Any, path: tuple[str, ...], value: Any) -> Any:
        first, *rest = path
        return replace(owner, **{first: self._set(getattr(owner, first), tuple(rest), value) if rest else value})


def resolve(name: str, end: Evaluate, profile: Profile) -> Argument:
    """The argument that a name stands for: "delta", "finetune.lr", "warmup.recipe.batch", "warmup.schedule".

    Fields of a recipe or a model may be named without it where only one of the two has them.

    Raises:
        SpecError: no such stage in the chain, or no such argument of it; the message lists what exists.
    """
    kind, dot, rest = ALIASES.get(name, name).partition(".")
    stages = {s.kind: s for s in ancestors(end) if s.kind not in DATA}  # of several of a kind, the nearest to the end
    if not dot or kind not in stages:
        have = [f"{k}.…" for k in stages] + [a for a, t in ALIASES.items() if t.partition(".")[0] in stages]
        raise SpecError(unknown("argument", name, have, "Write stage.argument, for instance finetune.lr."))
    fields = dict(_searchable(stages[kind], profile))
    short = {full.rpartition(".")[2]: full for full in fields}
    found = rest if rest in fields else short.get(rest)
    if found is None or [f.rpartition(".")[2] for f in fields].count(rest) > 1:
        raise SpecError(unknown(f"argument of {kind}", rest, fields))
    return Argument(name, kind, tuple(found.split(".")), fields[found], profile)


def _searchable(owner: Stage | Record, profile: Profile, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for f in dataclasses.fields(owner):
        value = getattr(owner, f.name)
        if isinstance(value, Stage) or value is None or f.name in FIXED:
            continue
        if isinstance(value, Record):
            yield from _searchable(value, profile, f"{f.name}.")
        elif f.name == SCHEDULE and isinstance(owner, Train):
            yield SCHEDULE, max(1, round(iterations(value) / profile.iters_1x_on(owner.data)))
        else:
            yield f"{prefix}{f.name}", value
