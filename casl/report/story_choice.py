"""Which runs the story of a report is about: one evaluation after a warmup, and its twin without.

A rule chooses, so that what is shown is no selection of good cases: the first table of the report, in its order, that
has both, there the first cell, and of it the first seed that both have. Twins differ in the warmup alone: the same
detector, images, recipe and length of the finetune, from the same start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

from casl import catalog
from casl.report.table import Table, TableCell
from casl.spec.kinds import Evaluate, Finetune, Labeler, PseudoLabel, Train, Warmup
from casl.spec.stage import Stage

StageOf = Callable[[str], Stage | None]  # by name; None for a stage that the store does not have, or cannot be read
TWINS_DIFFER = ("init", "parts", "classifier", "pretrained")
BOTH = "table2"  # of the paper's tables the first with both sides


@dataclass(frozen=True)
class Side:
    """One number of the story: its cell, and the evaluation of the seed that is shown."""

    cell: TableCell
    done: Evaluate


@dataclass(frozen=True)
class Choice:
    """What the story is about. base: without a warmup, None where no table of the report has that.

    long: without a warmup and trained for as long as warmup and finetune together, where the table has that.
    between: an evaluation of the warmed-up detector itself, before its finetune, where the table has one.
    """

    table: Table
    seed: int
    warm: Side
    base: Side | None
    between: Evaluate | None
    long: Side | None = None

    @property
    def finetune(self) -> Train:
        return self.warm.done.model

    @property
    def warmup(self) -> Warmup:
        found = self.finetune.init
        assert isinstance(found, Warmup)
        return found

    @property
    def labelled(self) -> PseudoLabel:
        found = self.warmup.data
        assert isinstance(found, PseudoLabel)
        return found

    @property
    def labeler(self) -> Train:
        return self.labelled.labeler

    @property
    def stages(self) -> list[Stage]:
        """Those whose results are drawn."""
        ends = [self.warm.done, *([self.base.done] if self.base else []), *([self.between] if self.between else [])]
        return [*ends, self.labelled]


def choose(tables: Sequence[Table], stage_of: StageOf) -> Choice | None:
    """What the tables of a report tell: a pair of twins, else a warmed-up model alone, None where nothing is measured.

    Args:
        tables: in the order of the report.
        stage_of: the stage behind a number.
    """
    alone: Choice | None = None
    for table in tables:
        sides = list(_sides(table, stage_of))
        for warm in sides:
            if not follows_method(warm.done):
                continue
            base = next((other for other in sides if are_twins(warm, other)), None)
            if base is not None or alone is None:
                long = next((other for other in sides if is_as_long(warm, other)), None)
                found = Choice(table, _seed(warm), warm, base, _between(warm.done, table, stage_of), long)
                if base is not None:
                    return found
                alone = found
    return alone


def follows_method(done: Evaluate) -> bool:
    """Whether an evaluation is of labeler, pseudo labels without classes, warmup and finetune in a row."""
    model = done.model
    warmup = model.init if isinstance(model, Finetune) else None
    labelled = warmup.data if isinstance(warmup, Warmup) else None
    labeler = labelled.labeler if isinstance(labelled, PseudoLabel) else None
    return isinstance(labeler, Labeler) and labeler.model.classes == 1


def are_twins(warm: Side, base: Side) -> bool:
    """Whether two measured evaluations differ in the warmup alone."""
    return _are_with_and_without(warm, base, TWINS_DIFFER)


def is_as_long(warm: Side, other: Side) -> bool:
    """Whether a measured evaluation is of a training without the warmup that has the iterations of both stages."""
    whole = sum(stage.iters for stage in (warm.done.model, warm.done.model.init) if stage is not None)
    return _are_with_and_without(warm, other, (*TWINS_DIFFER, "schedule")) and other.done.model.iters == whole


def _are_with_and_without(warm: Side, base: Side, differ: Sequence[str]) -> bool:
    one, other = warm.done, base.done
    start = one.model.init
    return (
        isinstance(other.model, Finetune)
        and other.model.init is None
        and start is not None
        and other.model.pretrained == start.pretrained
        and (warm.cell.metric, warm.cell.figure) == (base.cell.metric, base.cell.figure)
        and _alike(one, other, ("model",))
        and _alike(one.model, other.model, differ)
    )


def _alike(one: Stage, other: Stage, but: Sequence[str]) -> bool:
    names = [f.name for f in fields(one) if f.name not in but]
    return type(one) is type(other) and all(getattr(one, name) == getattr(other, name) for name in names)


def _sides(table: Table, stage_of: StageOf) -> Iterator[Side]:
    """Measured numbers of a table whose predictions are boxes of classes: the headline of a metric over classes."""
    for cell in table.cells:
        metric = catalog.row("metric", cell.metric)
        if not metric.by_class or cell.figure != metric.headline:
            continue
        for one in cell.repetitions:
            stage = stage_of(one.name) if one.status == "done" and one.value is not None else None
            if isinstance(stage, Evaluate):
                yield Side(cell, stage)


def _seed(side: Side) -> int:
    return next(one.seed for one in side.cell.repetitions if one.name == side.done.name)


def _between(done: Evaluate, table: Table, stage_of: StageOf) -> Evaluate | None:
    """An evaluation of the warmup that another one goes on from, on the same images."""
    names = [one.name for cell in table.cells for one in cell.repetitions if one.status == "done"]
    for name in dict.fromkeys(names):
        stage = stage_of(name)
        if isinstance(stage, Evaluate) and stage.model == done.model.init and stage.data == done.data:
            return stage
    return None
