"""Curves of the trainings that a table rests on: which trainings, what they are called, and the loss of each.

A training's curves.csv is whole from iteration 0 on, also where its beginning was trained once for several: the state
that it continued from holds the curve up to there (casl/train/checkpoint.py).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from casl.report.table import Table
from casl.spec.data_kinds import Start
from casl.spec.kinds import Train
from casl.spec.run import CURVES, Run
from casl.spec.stage import Stage, ancestors
from casl.tracking.draft import read_curves

LOSS, RATE = "loss", "lr"
POINTS = 250  # of a panel's longest training that are shown; more would make files larger than pictures are sharp
SPAN = 50  # a running mean reaches as far to either side as this part of a panel's longest training

Trained = Train | Start
Place = tuple[str, str]  # row, column
Headings = Callable[["Training"], tuple[str, ...]]


def curves_name(table: Table) -> str:
    """Of the files with the curves of a table."""
    return f"curves-{table.name}"


@dataclass(frozen=True)
class Training:
    """A training that cells of a table rest on. places: of these cells. repetition: which of the table's seeds asks for
    it first, counted from 0."""

    stage: Trained
    places: tuple[Place, ...]
    repetition: int

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row for row, _ in self.places))

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for _, column in self.places))

    @property
    def title(self) -> str:
        """What it is by itself, whatever it is for."""
        if isinstance(self.stage, Start):
            return f"{self.stage.backbone}: {self.stage.stands_for}"
        plain = self.stage.title.removesuffix(f" · seed {self.stage.seed}")
        return f"{plain} · class-agnostic" if self.stage.model.classes == 1 else plain


@dataclass(frozen=True)
class Curve:
    """What a training wrote at each of its iterations. values: name -> one number a step, None where it has none."""

    steps: tuple[int, ...]
    values: Mapping[str, tuple[float | None, ...]]

    @property
    def loss(self) -> tuple[float, ...]:
        return tuple(value for value in self.values.get(LOSS, ()) if value is not None)


NO_CURVE = Curve((), {})


@dataclass(frozen=True)
class Line:
    """A training in its panel. label: that of its colour; second: what tells it from others of this colour, or "".

    smooth: running mean of the loss, one number a step of its curve. note: why there is no curve, or what is wrong.
    """

    training: Training
    label: str
    second: str
    curve: Curve
    smooth: tuple[float, ...]
    note: str

    @property
    def name(self) -> str:
        return f"{self.label} / {self.second}" if self.second else self.label

    def shown(self, every: int) -> list[int]:
        """Positions in its curve that are shown: each iteration that `every` divides, and the last one."""
        steps = self.curve.steps
        return [i for i, step in enumerate(steps) if step % every == 0 or i == len(steps) - 1]


@dataclass(frozen=True)
class Panel:
    """All trainings of one kind. half: reach of the running mean to either side, iterations. every: which are shown."""

    heading: str
    lines: tuple[Line, ...]
    half: int
    every: int

    @property
    def drawn(self) -> list[Line]:
        """Lines that have a curve."""
        return [line for line in self.lines if line.curve.steps]

    @property
    def first(self) -> list[Line]:
        """Those of the table's first seed."""
        return [line for line in self.drawn if line.training.repetition == 0]

    @property
    def others(self) -> list[Line]:
        """Those of its other seeds."""
        return [line for line in self.drawn if line.training.repetition > 0]

    @property
    def counted(self) -> str:
        """What it shows, and how many of the first seed: "Finetunes: 3 of 25"."""
        there, known = len(self.first), sum(line.training.repetition == 0 for line in self.lines)
        return f"{self.heading}: {there}" if there == known else f"{self.heading}: {there} of {known}"


def trainings(table: Table, stages: Mapping[str, Stage]) -> list[Training]:
    """Every training behind the measured and missing cells of a table, in the order in which cells first need them.

    Args:
        stages: name of an evaluation -> the stage.
    """
    places: dict[str, dict[Place, None]] = {}
    found: dict[str, tuple[Trained, int]] = {}
    for cell in table.cells:
        for repetition, one in enumerate(cell.repetitions):
            for stage in ancestors(stages[one.name]):
                if isinstance(stage, Trained):
                    _, earlier = found.get(stage.name, (stage, repetition))
                    found[stage.name] = stage, min(earlier, repetition)
                    places.setdefault(stage.name, {})[cell.row, cell.column] = None
    return [Training(stage, tuple(places[name]), first) for name, (stage, first) in found.items()]


def panels(table: Table, every: Sequence[Training], runs: Mapping[str, Run]) -> list[Panel]:
    """One panel a kind of stage, kinds that others start from first.

    Args:
        every: the trainings of the table.
        runs: by the name of a stage, as much of them as is known.
    """
    kinds: dict[str, list[Training]] = {}
    for training in sorted(every, key=lambda t: t.repetition):
        kinds.setdefault(training.stage.kind, []).append(training)
    depths = {kind: max(_depth(t.stage) for t in members) for kind, members in kinds.items()}
    return [_panel(table, kinds[kind], runs) for kind in sorted(kinds, key=depths.__getitem__)]


def _depth(stage: Stage) -> int:
    """The most trainings that lie one behind another up to a stage."""
    return max(map(_depth, stage.inputs()), default=0) + isinstance(stage, Trained)


def _panel(table: Table, members: Sequence[Training], runs: Mapping[str, Run]) -> Panel:
    read = [read_curve(t, runs.get(t.stage.name)) for t in members]
    longest = max((curve.steps[-1] + 1 for curve, _ in read if curve.steps), default=1)
    half = longest // SPAN
    lines = tuple(
        Line(training, *label, curve, running_mean(curve.loss, half), note)
        for training, label, (curve, note) in zip(members, labels(table, members), read, strict=True)
    )
    kind = members[0].stage
    return Panel(kind.plural or kind.kind.capitalize(), lines, half, -(-longest // POINTS))


def labels(table: Table, members: Sequence[Training]) -> list[tuple[str, str]]:
    """What trainings of one kind are called: the row or column that their cells share, and what tells them apart there.

    All go by the row, or all by the column, where each has a single one; by that with more names. Otherwise each has
    what its own cells share: a row, two rows, a whole column, or else its own title.
    """
    rows, columns = ({line for t in members for line in which(t)} for which in (_rows, _columns))
    by_row, by_column = (all(len(which(t)) == 1 for t in members) for which in (_rows, _columns))
    if by_row and not (by_column and len(columns) > len(rows)):
        return _with_second(members, _rows, _columns)
    if by_column and len(columns) > 1:
        return _with_second(members, _columns, _rows)
    return [(label, "") for label in _told_apart(members, [_shared(t, table) for t in members])]


def _rows(training: Training) -> tuple[str, ...]:
    return training.rows


def _columns(training: Training) -> tuple[str, ...]:
    return training.columns


def _with_second(members: Sequence[Training], which: Headings, other: Headings) -> list[tuple[str, str]]:
    """Labels by row or column; where one seed has several trainings of a label with the other heading, or, where that
    is the same too, with their own title."""
    first = [t for t in members if t.repetition == 0]
    by_label, by_both = Counter(which(t) for t in first), Counter((which(t), other(t)) for t in first)
    several = max(by_label.values(), default=0) > 1

    def second(training: Training) -> str:
        alike = by_both[which(training), other(training)] > 1
        return training.title if alike else ", ".join(other(training)) if several else ""

    return [(which(t)[0], second(t)) for t in members]


def _shared(training: Training, table: Table) -> str:
    rows, columns = training.rows, training.columns
    if len(rows) <= 2 and len(rows) < len(table.rows):
        return " + ".join(rows)
    beside = {cell.row for cell in table.cells if cell.repetitions and cell.column == columns[0]}
    return columns[0] if len(columns) == 1 < len(table.columns) and len(rows) == len(beside) else training.title


def _told_apart(members: Sequence[Training], names: Sequence[str]) -> list[str]:
    """Names, with the first row that a training is for where several of one seed have the same."""
    seen = Counter((t.repetition, name) for t, name in zip(members, names, strict=True))
    alike = {name for (_, name), count in seen.items() if count > 1}
    return [f"{name}, from {t.rows[0]} on" if name in alike else name for t, name in zip(members, names, strict=True)]


def read_curve(training: Training, run: Run | None) -> tuple[Curve, str]:
    """The curve of a training, and why there is none or what is wrong with it ("" if nothing).

    A damaged file gives what stands before the damage. Places of files are relative to the store.
    """
    if run is None or run.status != "done":
        return NO_CURVE, run.status if run else "not run"
    path = run.folder / CURVES
    where = f"{run.folder.parent.name}/{run.folder.name}"
    if not path.is_file():
        return NO_CURVE, f"{where} has no {CURVES}"
    try:
        points, damage = read_curves(path)
    except OSError as error:
        return NO_CURVE, f"{where}/{CURVES} cannot be read: {error.strerror or error}"
    curve = _curve(points)
    if damage or not curve.steps:
        return curve, f"{where}/{damage}" if damage else f"{where}/{CURVES} has no {LOSS}"
    length = training.stage.iters if isinstance(training.stage, Train) else curve.steps[-1] + 1
    if (curve.steps[0], curve.steps[-1] + 1) != (0, length):
        span = f"iterations {curve.steps[0]} to {curve.steps[-1]}"
        return curve, f"{where}/{CURVES} has {span} of a training of {length}"
    return curve, ""


def _curve(points: Sequence[tuple[str, float, int]]) -> Curve:
    """Columns over the steps that have a loss, in rising order."""
    by_name: dict[str, dict[int, float]] = {}
    for name, value, step in points:
        by_name.setdefault(name, {})[step] = value
    steps = tuple(sorted(by_name.get(LOSS, ())))
    return Curve(steps, {name: tuple(map(values.get, steps)) for name, values in by_name.items()} if steps else {})


def running_mean(values: Sequence[float], half: int) -> tuple[float, ...]:
    """Mean over up to `half` values on either side of each.

    Near the beginning both sides are as short as the left one, since a loss falls steeply there; at the end the right
    side is cut, so that the last number is a mean too.
    """
    sums = [0.0, *itertools.accumulate(values)]
    ends = [(i - min(i, half), min(i + min(i, half) + 1, len(values))) for i in range(len(values))]
    return tuple((sums[end] - sums[start]) / (end - start) for start, end in ends)
