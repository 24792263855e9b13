"""Stage: a frozen description of one piece of work, and its key.

A key is the hash of everything that can change a stage's numbers and of nothing else. Paths, devices, worker counts
and host names have no field here, so they cannot reach a key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from casl.catalog import names, row
from casl.errors import SpecError, unknown

FINAL = "final"  # first part of the names of all figures in MLflow but those of a metric
HASH_SCHEMA = 1  # raise when the recipe below changes: every key changes with it


@dataclass(frozen=True)
class Record:
    """A group of values inside a stage (a model, a recipe); it has no key of its own."""

    @cached_property
    def payload(self) -> dict[str, Any]:
        """Its part of what is hashed."""
        return {name: canonical(value, f"{type(self).__name__}.{name}") for name, value in _set_fields(self)}


class Work(NamedTuple):
    """How much a stage does, for estimates of its time.

    units: iterations of a training, images of anything else. alike: what stages with the same seconds a unit have in
    common, from the closest likeness to the widest. batch: units that take about as long as one iteration of a
    training; infinite where a unit takes next to no time.
    """

    units: int
    alike: tuple[tuple[Any, ...], ...]
    batch: float = 1.0


@dataclass(frozen=True)
class DataUse:
    """A data set that a stage reads, as MLflow's column "Dataset" shows it.

    digest: of its content. context: what it is used for: "training", "labeling" or "evaluation". stage: the stage that
    stands for it in the store. profile: counts and sizes.
    """

    name: str
    digest: str
    context: str
    stage: str
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """Base of all stage kinds. A field that is a Stage is an edge of the graph.

    Fields may hold str, int, float, bool, None, tuples of these, Records and Stages. A field at its default is left out
    of the key, so a new field with a default leaves old keys unchanged; therefore a default must never change.

    Class variables and methods are facts of the kind. Runner, tracking and command line ask a stage for them instead of
    knowing the kinds; none of them is part of a key.
    """

    VERSION: ClassVar[int] = 1  # raise when the code of this kind gives other numbers for the same fields

    of_method: ClassVar[bool] = True  # a stage of CA-SSL; False for what stands for data sets and ImageNet's weights
    needs_torch: ClassVar[bool] = True
    measures: ClassVar[bool] = False  # its figures are cells of tables, named after its metric
    plural: ClassVar[str] = ""  # heading of a list of all stages of the kind; "" for no such list
    about: ClassVar[str] = ""  # what that list shows
    has_default_model: ClassVar[bool] = False  # the one that most cells were made with becomes a registered model
    is_of_labels: ClassVar[bool] = False  # labels images, or learned from labels: reports tell what share it finds
    is_compared: ClassVar[bool] = False  # a table's page in MLflow compares its shortest with its longest training

    @property
    def kind(self) -> str:
        """Name of the stage kind: the class name in lower case."""
        return type(self).__name__.lower()

    @property
    def title(self) -> str:
        """A name that tells stages apart in a list: "warmup 360 it · condinst resnet_micro · δ 0.3 · seed 0"."""
        return self.name

    @property
    def brief(self) -> str:
        """The kind in two or three words, with what matters most: "warmup 360 it"."""
        return self.kind

    @property
    def figures_of(self) -> str:
        """First part of the names of its figures in MLflow: "ap_det" in "ap_det/AP"."""
        return FINAL

    @classmethod
    def is_headline(cls, figure: str) -> bool:
        """Whether a figure, such as "ap_det/AP", is the one that stands for a stage of this kind in tables."""
        metric, _, name = figure.partition("/")
        return cls.measures and metric in names("metric") and bool(name == row("metric", metric).headline)

    def work(self, iters: int) -> Work:
        """How much it does.

        Args:
            iters: iterations to train, if it is a training.
        """
        return Work(1, ((self.kind,), (self.kind,)))

    def ranks(self, wanted: int) -> int:
        """How many processes may do it together with the same result, at most as many as wanted."""
        del wanted
        return 1

    @property
    def weights_read(self) -> tuple[str, str] | None:
        """Backbone and name of the pretrained weights that it starts from, as in Model; None where it reads none."""
        return None

    def reads(self) -> tuple[DataUse, ...]:
        """The data sets that it reads itself, not those behind its other inputs."""
        return ()

    def read_by(self, context: str, labels: str, threshold: float = 0.0) -> tuple[DataUse, ...]:
        """Itself as a data set that another stage reads; () if it is none.

        Args:
            context: what for, as in DataUse.
            labels: kind of labels that are read.
            threshold: scores that pseudo labels must exceed to be read.
        """
        del context, labels, threshold
        return ()

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


class Name(NamedTuple):
    """The parts of a stage's name: its kind and the first digits of its key."""

    kind: str
    key: str


def split_name(name: str) -> Name:
    """The parts of a stage's name, for places where only the name of a folder tells them."""
    kind, _, key = name.partition("-")
    return Name(kind, key)


_ENCODER = json.JSONEncoder(sort_keys=True)


def digest(payload: dict[str, Any]) -> str:
    """64 hex digits of JSON values; the order of names does not matter."""
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
    short = float(f"{value:.12g}")  # 0.1 + 0.25 and 0.35 mean the same value and get the same key
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


def check_choice(what: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise SpecError(unknown(what, value, legal))


def check_within(what: str, value: float, lowest: float, highest: float) -> None:
    """Refuse what no machine could compute with, and what is a slip of the keyboard."""
    if not lowest <= value <= highest:
        got = str(value) if len(str(value)) <= 40 else f"a number of {len(str(value))} digits"
        most = f"{highest:,}" if isinstance(highest, int) else f"{highest:g}"
        limit = f"most {most}" if value > highest else f"least {lowest}"
        raise SpecError(f"{what} must be at {limit}, got {got}")


def check_seed(value: int) -> None:
    check_within("seed", value, 0, 2**63 - 1)
