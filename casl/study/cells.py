"""Which cells a study has, and with which values: `--set`, `--cell` and `--row`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from casl.errors import SpecError, unknown
from casl.spec.ablation import Ablation, Cell
from casl.spec.profile import Profile
from casl.spec.varied import resolve, varied
from casl.study.request import StudyRequest

Cells = dict[str, list[tuple[Cell, ...]]]  # table -> those of each seed


def values_of(given: Sequence[str]) -> dict[str, str]:
    """Path -> value, as typed, of every PATH=VALUE.

    Raises:
        SpecError: one is none, or a path is given twice.
    """
    found: dict[str, str] = {}
    for text in given:
        path, sign, value = text.partition("=")
        if not sign:
            raise SpecError(f"--set takes PATH=VALUE, such as warmup.threshold=0.4; got {text!r}, without a value")
        if path in found:
            raise SpecError(f"--set gives {path} twice: {found[path]} and {value}; a cell has one value")
        found[path] = value
    return found


def with_values(cells: Cells, profile: Profile, values: Mapping[str, str]) -> Cells:
    """The cells with other values, each in every chain that has such a field; chains without stay.

    Raises:
        SpecError: no cell has such a field, or a stage refuses the value.
    """
    for path, text in values.items():
        cells = _with_value(cells, profile, path, text)
    return cells


def chosen(cells: Cells, request: StudyRequest) -> Cells:
    """The part of the cells that is asked for, all where none is.

    Raises:
        SpecError: a table has no such place or row, or nothing is to be run there.
    """
    if request.cell:
        cells = {n: [_at(n, repetition, *request.cell) for repetition in seeds] for n, seeds in cells.items()}
    return _in_rows(cells, request.rows) if request.rows else cells


def of_a_part(table: Ablation, cells: Sequence[Cell]) -> Ablation:
    """A table of which these cells are left: without its baseline where that is none of them."""
    headings = {heading for cell in cells for heading in (cell.row, cell.column)}
    return table if table.baseline in headings else replace(table, baseline="")


def _with_value(cells: Cells, profile: Profile, path: str, text: str) -> Cells:
    from casl.tune.space import parse

    refused: list[SpecError] = []

    def changed(cell: Cell) -> Cell:
        try:
            argument = resolve(path, cell.measurement, profile)
        except SpecError as error:
            refused.append(error)
            return cell
        return varied(cell, path, parse(argument, text), profile)

    found = {n: [tuple(map(changed, seed)) for seed in seeds] for n, seeds in cells.items()}
    if len(refused) == sum(len(seed) for seeds in cells.values() for seed in seeds):
        raise refused[0]
    return found


def _at(table: str, cells: tuple[Cell, ...], row: str, column: str) -> tuple[Cell, ...]:
    """The measured cells at one place of a table."""
    if row not in (rows := list(dict.fromkeys(c.row for c in cells))):
        raise SpecError(unknown(f"row of {table}", row, rows))
    if column not in (columns := [c.column for c in cells if c.row == row]):
        raise SpecError(unknown(f"column of {table} in row {row!r}", column, columns))
    found = tuple(c for c in cells if (c.row, c.column) == (row, column) and c.stage)
    if not found:
        raise SpecError(f"{table}: {row}, {column} is only quoted from the paper; there is nothing to run")
    return found


def _in_rows(cells: Cells, rows: Sequence[str]) -> Cells:
    """The cells in the named rows of tables, of which each is a row of one table at least; tables without any go."""
    known = {name: {c.row: None for cells in repetitions for c in cells} for name, repetitions in cells.items()}
    measured = {c.row for repetitions in cells.values() for cells in repetitions for c in cells if c.stage}
    for row in rows:
        if not any(row in found for found in known.values()):
            raise SpecError(unknown(f"row of {', '.join(known)}", row, [r for found in known.values() for r in found]))
        if row not in measured:
            raise SpecError(f"{', '.join(known)}: {row} is only quoted from the paper; there is nothing to run")
    chosen = {n: [tuple(c for c in cells if c.row in rows) for cells in seeds] for n, seeds in cells.items()}
    return {n: seeds for n, seeds in chosen.items() if any(c.stage for cells in seeds for c in cells)}
