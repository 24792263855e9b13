"""Table: an ablation's cells joined with the results of their runs, ready to print.

A table is a pure function of the store. A gap is never filled with the paper's number; it says what is missing. Cells
that only quote the paper have a status of their own and count neither as measured nor as missing.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from casl.catalog import row
from casl.errors import SpecError, unknown
from casl.files import json_value
from casl.report.images import Covariance, covariance
from casl.spec.ablation import Ablation, Cell, Origin
from casl.spec.data_kinds import DataSet, Start
from casl.spec.kinds import Evaluate, Train
from casl.spec.profile import Profile
from casl.spec.run import DRAWS, Run
from casl.spec.stage import Stage, ancestors
from casl.spec.starts import Probe
from casl.tracking.text import UNDEFINED

SMALL = "SMALL PROFILE: does not test the paper's claim"
PUBLISHED = "published"  # status of a cell that quotes the paper and measures nothing
_WORST_FIRST = ("failed", "blocked", "running", "not run")


@dataclass(frozen=True)
class Repetition:
    """One seed of a cell. value: percent, None where there is none; note: why. kernels: as of Run. draws: of the
    bootstrap over images. shares: what the value rests on that other cells' do too, see `_shared`; None in a file of
    before that was noted."""

    seed: int
    name: str
    key: str
    status: str
    value: float | None
    note: str
    mlflow_run_id: str | None
    commit: str
    dirty: bool
    draws: tuple[float, ...] = ()
    kernels: str = ""
    shares: tuple[str, ...] | None = ()


@dataclass(frozen=True)
class TableCell:
    """One number of a table beside the paper's, in percent.

    value: mean over the seeds measured. std: sample standard deviation, None below two. values: the defined ones.
    seeds: how many those are. status: "done", "partial" (some seeds missing), PUBLISHED, or as in Run where none is
    measured. note: the spec's own, then what is missing and where to look. key, name, mlflow_run_id, commit: of the
    first seed measured, else of the first, empty where there is none; `repetitions` has them all. dirty: any of them.
    """

    row: str
    column: str
    metric: str
    figure: str
    paper: float | None
    value: float | None
    std: float | None
    values: tuple[float, ...]
    seeds: int
    status: str
    note: str
    key: str
    name: str
    mlflow_run_id: str | None
    commit: str
    dirty: bool
    repetitions: tuple[Repetition, ...]

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's; None unless both exist."""
        return None if self.value is None or self.paper is None else self.value - self.paper

    @property
    def by_seed(self) -> dict[int, float]:
        """Measured values by seed."""
        return {r.seed: r.value for r in self.repetitions if r.value is not None}

    @property
    def shares(self) -> dict[int, tuple[str, ...]]:
        """What measured values rest on that other cells' do too, by seed."""
        return {r.seed: r.shares or () for r in self.repetitions if r.value is not None}

    @property
    def draws(self) -> dict[int, tuple[float, ...]]:
        """The figure on draws of the images by seed, where an evaluation left them."""
        return {r.seed: r.draws for r in self.repetitions if r.draws}


@dataclass(frozen=True)
class Table:
    """A table ready to print. small: its numbers say nothing about the paper's claim; seeds: repetitions asked for.

    rows, columns: headings in the order of the cells; row_axis, column_axis: what they mean. figure, baseline,
    apart, origin: as in Ablation. image_covariance: of all pairs of cells over draws of the images, see
    casl.report.images.
    """

    name: str
    title: str
    source: str
    profile: str
    profile_title: str
    data: str
    small: bool
    seeds: int
    notes: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    folder: str
    row_axis: str
    column_axis: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[TableCell, ...]
    figure: str = "heat map"
    baseline: str = ""
    apart: tuple[str, ...] = ()
    origin: Origin | None = None
    image_covariance: Covariance = ()

    @property
    def warning(self) -> str:
        """The sentence that every printed form begins with; empty for a profile at the paper's size."""
        return SMALL if self.small else ""

    @property
    def measured(self) -> int:
        """How many cells have every seed measured."""
        return sum(cell.status == "done" for cell in self.cells)

    @property
    def with_a_number(self) -> int:
        """How many cells have a seed measured."""
        return sum(cell.status != PUBLISHED and cell.value is not None for cell in self.cells)

    @property
    def measurable(self) -> int:
        """How many cells are to be measured; the others only quote the paper."""
        return sum(cell.status != PUBLISHED for cell in self.cells)

    @property
    def commits(self) -> tuple[str, ...]:
        """Commits that measured something here, in order of appearance, "+ changes" where the tree was not clean."""
        found = [r for cell in self.cells for r in cell.repetitions if r.commit]
        return tuple(dict.fromkeys(r.commit[:10] + (" + changes" if r.dirty else "") for r in found))


def build_table(
    ablation: Ablation,
    profile: Profile,
    seeds: Sequence[tuple[Cell, ...]],
    runs: Mapping[str, Run],
    run_ids: Mapping[str, str],
) -> Table:
    """Join cells and runs.

    Args:
        seeds: the ablation's cells, one tuple a seed, all in the same order.
        runs: stage name -> Run, for evaluations, and for whatever failed or runs before them. A blocked run names the
            stage that blocks it in `error`; without it, a failed ancestor found in `runs` is named.
        run_ids: stage name -> MLflow's run id, where there is one.

    Raises:
        SpecError: seeds disagree on the cells, a cell asks for a figure its metric does not have, or the baseline is
            neither a column nor a row.
    """
    rows, columns = _headings(ablation, seeds)
    shares = _shared([[c.stage for c in same if c.stage] for same in zip(*seeds, strict=True)])
    cells = tuple(
        _table_cell([_repetition(c, c.stage, runs, run_ids, shares) for c in same if c.stage], same[0])
        for same in zip(*seeds, strict=True)
    )
    return Table(
        name=ablation.name,
        title=ablation.title,
        source=ablation.source,
        profile=profile.name,
        profile_title=profile.title,
        data=profile.data.name,
        small=profile.small,
        seeds=len(seeds),
        notes=(*profile.notes, *([ablation.origin.note] if ablation.origin else [])),
        options=profile.options,
        folder=profile.folder,
        row_axis=ablation.rows,
        column_axis=ablation.columns,
        rows=rows,
        columns=columns,
        cells=cells,
        figure=ablation.figure,
        baseline=ablation.baseline,
        apart=ablation.apart,
        origin=ablation.origin,
        image_covariance=covariance([cell.draws for cell in cells]),
    )


def _shared(cells: Sequence[Sequence[Evaluate | Probe]]) -> dict[str, tuple[str, ...]]:
    """What evaluations rest on that moves their numbers alike from seed to seed: name of the evaluation -> names.

    Those are data sets and trainings by name, and trainings by family, since longer ones begin as shorter ones do.
    Left out is what one evaluation alone rests on, and what a cell rests on whatever the seed.
    """
    found = {stage.name: {unit for each in ancestors(stage) for unit in _units(each)} for of in cells for stage in of}
    users = Counter(unit for units in found.values() for unit in units)
    of_all = [set.intersection(*(found[stage.name] for stage in of)) for of in cells if len({s.key for s in of}) > 1]
    kept = {unit for unit, count in users.items() if count > 1}.difference(*of_all)
    return {name: tuple(sorted(units & kept)) for name, units in found.items()}


def _units(stage: Stage) -> Iterator[str]:
    if isinstance(stage, DataSet | Start | Train):
        yield stage.name
    if isinstance(stage, Train):
        yield f"{stage.kind} family-{stage.family[:16]}"


def _headings(ablation: Ablation, seeds: Sequence[tuple[Cell, ...]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Headings of rows and columns, in order; the seeds and the baseline are checked."""
    first = seeds[0]
    for other in seeds[1:]:
        if [_place(c) for c in other] != [_place(c) for c in first]:
            raise SpecError(f"ablation {ablation.name!r}: its cells depend on the seed; rows and columns must not")
    rows = _in_order([[c.row for c in first if c.column == column] for column in {c.column: None for c in first}])
    columns = _in_order([[c.column for c in first if c.row == row] for row in {c.row: None for c in first}])
    if ablation.baseline and ablation.baseline not in (*rows, *columns):
        raise SpecError(unknown(f"baseline of {ablation.name}", ablation.baseline, (*rows, *columns)))
    return rows, columns


def _in_order(lines: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Headings in an order that agrees with every line's, as far as they agree; else as they first appear.

    A table with empty places may begin with a row that lacks its first columns, as Table 2 does.
    """
    left = list(dict.fromkeys(name for line in lines for name in line))
    before: dict[str, set[str]] = {name: set() for name in left}
    for line in (list(dict.fromkeys(line)) for line in lines):
        for i, name in enumerate(line):
            before[name] |= set(line[:i])
    ordered: list[str] = []
    while left:
        following = next((name for name in left if not before[name] & set(left)), left[0])
        ordered.append(following)
        left.remove(following)
    return tuple(ordered)


def _place(cell: Cell) -> tuple[object, ...]:
    return cell.row, cell.column, cell.metric, cell.figure, cell.paper, cell.stage is None


def _table_cell(repetitions: Sequence[Repetition], cell: Cell) -> TableCell:
    values = tuple(r.value for r in repetitions if r.value is not None)
    done = [r for r in repetitions if r.status == "done"]
    shown = next(iter(done or repetitions), None)
    return TableCell(
        row=cell.row,
        column=cell.column,
        metric=cell.metric,
        figure=cell.figure,
        paper=cell.paper,
        value=statistics.fmean(values) if values else None,
        std=statistics.stdev(values) if len(values) > 1 else None,
        values=values,
        seeds=len(values),
        status=_status(repetitions),
        note=_joined(cell.note, _note(repetitions)),
        key=shown.key if shown else "",
        name=shown.name if shown else "",
        mlflow_run_id=shown.mlflow_run_id if shown else None,
        commit=shown.commit if shown else "",
        dirty=any(r.dirty for r in repetitions),
        repetitions=tuple(repetitions),
    )


def _joined(of_cell: str, of_runs: str) -> str:
    """Both notes; the status alone says "not run" beside another note."""
    return "; ".join(n for n in (of_cell, "" if of_cell and of_runs == "not run" else of_runs) if n)


def _status(repetitions: Sequence[Repetition]) -> str:
    if not repetitions:
        return PUBLISHED
    states = {r.status for r in repetitions}
    if "done" in states:
        return "done" if states == {"done"} else "partial"
    return next(s for s in _WORST_FIRST if s in states)


def _note(repetitions: Sequence[Repetition]) -> str:
    """What all seeds say; where they differ, how many are measured and the others' notes by seed."""
    if not repetitions:
        return ""
    if len({r.note for r in repetitions}) == 1 and not any(r.status == "done" for r in repetitions[1:]):
        return repetitions[0].note
    notes: dict[str, list[str]] = {}
    for r in repetitions:
        if r.note:
            notes.setdefault(r.note, []).append(str(r.seed))
    words = [f"seed {', '.join(numbers)}: {note}" for note, numbers in notes.items()]
    done = sum(r.status == "done" for r in repetitions)
    if done < len(repetitions):
        words.insert(0, f"{done} of {len(repetitions)} seeds measured")
    commits = {r.commit for r in repetitions if r.commit}
    return "; ".join([*words, *(["seeds measured by different commits"] if len(commits) > 1 else [])])


def _repetition(
    cell: Cell,
    stage: Evaluate | Probe,
    runs: Mapping[str, Run],
    run_ids: Mapping[str, str],
    shares: Mapping[str, tuple[str, ...]],
) -> Repetition:
    run = runs.get(stage.name)
    value, note, status = None, "", "done"
    if run and run.status == "done" and _is_older(cell, run):
        status, note = "not run", f"measured before {cell.figure} was counted; run it with --rerun-moved"
    elif run and run.status == "done":
        value = _figure(cell, run)
        of_run = str(run.facts.get("note", ""))
        note = of_run if value is not None else "undefined (-1): there is nothing to measure it on"
    else:
        status, note = _missing(stage, run, runs)
    return Repetition(
        seed=stage.seed,
        name=stage.name,
        key=stage.key,
        status=status,
        value=value,
        note=note,
        mlflow_run_id=run_ids.get(stage.name),
        commit=run.commit if run else "",
        dirty=bool(run and run.dirty),
        kernels=run.kernels if run else "",
        draws=read_draws(run.folder) if run and value is not None and cell.is_headline else (),
        shares=shares[stage.name],
    )


def read_draws(folder: Path) -> tuple[float, ...]:
    """The draws of an evaluation, percent; empty where it has none, as of a metric without a bootstrap."""
    try:
        values = json_value((folder / DRAWS).read_bytes())
        return tuple(float(value) for value in values)
    except (OSError, ValueError, TypeError):  # absent, or damaged, which `casl store verify` names
        return ()


def _is_older(cell: Cell, run: Run) -> bool:
    """Whether a run lacks a figure because an earlier version of casl made it."""
    return cell.figure not in run.metrics and cell.figure in row("metric", cell.metric).later


def _figure(cell: Cell, run: Run) -> float | None:
    """The measured number; None where the metric is undefined."""
    if cell.figure not in run.metrics:
        raise SpecError(unknown(f"figure of {cell.metric}", cell.figure, run.metrics))
    value = float(run.metrics[cell.figure])
    return None if value == UNDEFINED or not math.isfinite(value) else value


def _missing(stage: Stage, run: Run | None, runs: Mapping[str, Run]) -> tuple[str, str]:
    """Status and note of a stage without a result."""
    if run and run.status == "failed":
        return "failed", f"failed: {_reason(run)}"
    if run and run.status == "running":
        return "running", "running"
    before = [runs[s.name] for s in ancestors(stage) if s.name in runs and s.name != stage.name]
    if run and run.status == "blocked" and run.error:
        blocker = runs.get(run.error)
        return "blocked", f"blocked by {_reason(blocker) if blocker else run.error}"
    if culprit := next((r for r in before if r.status == "failed"), None):
        return "blocked", f"blocked by {_reason(culprit)}"
    if busy := next((r for r in before if r.status == "running"), None):
        return "running", f"running: {busy.name}"
    return ("blocked", "blocked") if run and run.status == "blocked" else ("not run", "not run")


def _reason(run: Run) -> str:
    """What stopped a stage and where its log lies, in one line; the path is relative to the store."""
    first = (run.error.strip().splitlines() or ["no message"])[0]
    return f"{run.name}: {first}; log: {run.folder.parent.name}/{run.folder.name}/log.txt"
