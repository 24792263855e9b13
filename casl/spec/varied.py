"""A chain of stages with one value changed: any field of any of its stages, named by a path."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from casl.errors import SpecError, unknown
from casl.spec.ablation import Cell
from casl.spec.kinds import Train
from casl.spec.profile import Profile
from casl.spec.schedule import iterations, times
from casl.spec.stage import Record, Stage, ancestors

ALIASES = {"delta": "warmup.threshold"}
SCHEDULE = ("schedule",)

AnyStage = TypeVar("AnyStage", bound=Stage)
End = TypeVar("End", bound=Cell | Stage)


def varied(end: End, path: str, value: Any, profile: Profile | None = None) -> End:
    """The same cell or stage with another value somewhere in its chain.

    What the changed stage is made from stays the same objects, so nothing before it runs again. Rates of finetuning,
    all else as in the paper's default setting:

        cell = Cell("", "AP", "ap_det", evaluate(profile, finetune(profile, warmup(profile)), "ap_det"))
        for rate in (1e-4, 1e-3, 1e-2):
            yield replace(varied(cell, "finetune.lr", rate), row=f"{rate:g}")

    Args:
        end: a measured cell, its evaluation, or any other stage.
        path: stage kind, then field: "warmup.threshold", "finetune.recipe.lr". Records on the way may be left out where
            only one field is meant: "finetune.lr". In a field of (name, value) pairs a name follows, which need not be
            there yet. "delta" is short for warmup.threshold. Of several stages of a kind, all are changed.
        value: of the field's type.
        profile: with it, a schedule is given by its length in x; without it, as it is.

    Raises:
        SpecError: the chain has no such stage, the stage no such field, or the stage refuses the value.
    """
    if isinstance(end, Cell):
        before = end.measurement
        after = resolve(path, before, profile).put(before, value)
        return replace(end, stage=after, metric=end.metric if after.metric == before.metric else after.metric)
    return resolve(path, end, profile).put(end, value)


@dataclass(frozen=True)
class Argument:
    """A field of one stage kind in a chain.

    name: the path as asked for. path: names of the field and of the records around it, or of the field and of a pair in
    it. current: the value in the chain, None for a pair that is not there; of a schedule under a profile its length.
    """

    name: str
    kind: str
    path: tuple[str, ...]
    current: Any
    profile: Profile | None

    @property
    def target(self) -> str:
        """The full path."""
        return ".".join((self.kind, *self.path))

    def put(self, end: AnyStage, value: Any) -> AnyStage:
        """The same chain with another value; what the changed stage is made from stays the same objects.

        Raises:
            SpecError: the stage refuses the value.
        """
        known: dict[int, Stage] = {}  # a stage that is read twice is changed once

        def changed(stage: Stage) -> Stage:
            if id(stage) not in known:
                inputs = {f.name: getattr(stage, f.name) for f in dataclasses.fields(stage)}
                pairs = [(name, old, changed(old)) for name, old in inputs.items() if isinstance(old, Stage)]
                other = {name: new for name, old, new in pairs if new is not old}
                known[id(stage)] = self._set(replace(stage, **other) if other else stage, value)
            return known[id(stage)]

        return cast(AnyStage, changed(end))

    def _set(self, stage: Stage, value: Any) -> Stage:
        if stage.kind != self.kind:
            return stage
        if self.path == SCHEDULE and self.profile and isinstance(stage, Train):
            value = times(value, self.profile.iters_1x_on(stage.data), self.profile.rule)
        try:
            return cast(Stage, _with(stage, self.path, value))
        except SpecError as error:
            raise SpecError(f"{self.target} cannot be {value!r}: {error}") from error


def resolve(name: str, end: Stage, profile: Profile | None = None) -> Argument:
    """The argument that a path stands for; see `varied`.

    Raises:
        SpecError: no such stage in the chain, or no such field; the message lists what exists.
    """
    kind, dot, rest = ALIASES.get(name, name).partition(".")
    stages = {s.kind: s for s in ancestors(end)}  # of several of a kind, the nearest to the end
    if not dot or kind not in stages:
        have = [f"{k}.…" for k in stages] + [a for a, t in ALIASES.items() if t.partition(".")[0] in stages]
        raise SpecError(unknown("argument", name, have, "Write stage.argument, for instance finetune.lr."))
    stage = stages[kind]
    fields = dict(_fields(stage))
    found = _meant(rest, fields) or _new_pair(stage, rest, fields)
    if found is None:
        raise SpecError(unknown(f"argument of {kind}", rest, _shortest(fields)))
    path, current = tuple(found.split(".")), fields.get(found)
    if path == SCHEDULE and profile and isinstance(stage, Train):
        current = max(1, round(iterations(stage.schedule) / profile.iters_1x_on(stage.data)))
    return Argument(name, kind, path, current, profile)


def _fields(owner: Stage | Record, before: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and values of all fields, of those in records, and of the pairs in fields of pairs."""
    hints = get_type_hints(type(owner))
    for f in dataclasses.fields(owner):
        path, value = f"{before}{f.name}", getattr(owner, f.name)
        yield path, value
        if isinstance(value, Record):
            yield from _fields(value, f"{path}.")
        elif _is_pairs(hints[f.name]):
            yield from ((f"{path}.{name}", inner) for name, inner in value)


def _meant(rest: str, fields: Mapping[str, Any]) -> str | None:
    """The one field whose path is, or ends with, what was asked for."""
    ends = [path for path in fields if path.endswith(f".{rest}")]
    if len(ends) > 1 and rest not in fields:
        raise SpecError(f"{rest!r} may be {' or '.join(ends)}: write one of them")
    return rest if rest in fields else next(iter(ends), None)


def _new_pair(stage: Stage, rest: str, fields: Mapping[str, Any]) -> str | None:
    """The path of a pair that its field does not hold yet."""
    head, dot, name = rest.rpartition(".")
    found = _meant(head, fields) if dot and name else None
    if found is None:
        return None
    *records, last = found.split(".")
    owner = reduce(getattr, records, stage)
    return f"{found}.{name}" if _is_pairs(get_type_hints(type(owner))[last]) else None


def _shortest(fields: Mapping[str, Any]) -> list[str]:
    """Every field by the shortest name that finds it."""
    last = [path.rpartition(".")[2] for path in fields]
    return [short if last.count(short) == 1 else path for path, short in zip(fields, last, strict=True)]


def _with(owner: Stage | Record, path: Sequence[str], value: Any) -> Stage | Record:
    first, *rest = path
    hint, old = get_type_hints(type(owner))[first], getattr(owner, first)
    if not rest:
        return replace(owner, **{first: _fitting(value, hint, old)})
    if isinstance(old, Record):
        return replace(owner, **{first: _with(old, rest, value)})
    inner = get_args(get_args(hint)[0])[1]
    pairs = {**dict(old), rest[0]: _fitting(value, inner, dict(old).get(rest[0]))}
    return replace(owner, **{first: tuple(sorted(pairs.items()))})


def _fitting(value: Any, hint: Any, old: Any) -> Any:
    """The value, if it is of a field's type; a whole number for a fraction becomes one, so that keys are equal."""
    if hint is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise SpecError(f"no number of {len(str(abs(value)))} digits can be computed with") from None
    if not _fits(value, hint):
        such = f", such as {old!r}" if isinstance(old, str | int | float | tuple) and old != () else ""
        raise SpecError(f"the field takes {getattr(hint, '__name__', hint)}{such}")
    return value


def _fits(value: Any, hint: Any) -> bool:
    inner = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if get_origin(hint) is tuple:
        each = inner[:1] * len(value) if inner[1:] == (...,) and isinstance(value, tuple) else inner
        return isinstance(value, tuple) and len(value) == len(each) and all(map(_fits, value, each))
    if hint in (int, float):  # True is an int to Python and none to a reader
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) else True


def _is_pairs(hint: Any) -> bool:
    """Whether a field is declared as a tuple of (name, value) pairs."""
    inner = get_args(hint)
    pair = get_args(inner[0]) if inner[1:] == (...,) else ()
    return len(pair) == 2 and pair[0] is str
