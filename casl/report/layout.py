"""Relations between the cells of a table, read off rows, columns and metrics: comparable groups, gains, panels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from casl.report.additive import Estimate
from casl.report.fitted import difference, fitted
from casl.report.significance import LEVEL
from casl.report.table import Table, TableCell

NOT_RUN = "not run"  # a status


@dataclass(frozen=True)
class Gain:
    """A cell minus its baseline. ours: by the table's additive model, or None; paper: the published numbers'."""

    ours: Estimate | None
    paper: float | None


@dataclass(frozen=True)
class Series:
    """The numbers of a column, one a row. cells: None where the table has no number."""

    heading: str
    cells: tuple[TableCell | None, ...]


@dataclass(frozen=True)
class Panel:
    """Numbers that one pair of axes can show."""

    heading: str
    series: tuple[Series, ...]


def positions(table: Table, row: str, column: str) -> list[int]:
    """Positions in table.cells of the numbers of one place, in printing order."""
    return [i for i, c in enumerate(table.cells) if (c.row, c.column) == (row, column)]


def quantity(cell: TableCell) -> str:
    """Metric and figure of a number: "ap_det AP50"."""
    return f"{cell.metric} {cell.figure}"


def columns_are_quantities(table: Table) -> bool:
    """Whether each column holds one kind of number and not all the same kind, as Tables 2, 3 and 9."""
    return _one_kind_each([[c for c in table.cells if c.column == column] for column in table.columns])


def rows_are_quantities(table: Table) -> bool:
    """Whether each row holds one kind of number and not all the same kind, as Table 10."""
    return _one_kind_each([[c for c in table.cells if c.row == row] for row in table.rows])


def _one_kind_each(lines: Sequence[Sequence[TableCell]]) -> bool:
    kinds = [{quantity(c) for c in line} for line in lines]
    return all(len(k) == 1 for k in kinds) and len(set.union(*kinds)) > 1


def comparable(table: Table) -> list[int]:
    """For each cell the number of its group; within a group the highest is best and colours share a scale."""
    by_column, by_row = columns_are_quantities(table), rows_are_quantities(table)
    keys = [(quantity(c), c.column if by_column else "", c.row if by_row else "") for c in table.cells]
    numbers = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    return [numbers[key] for key in keys]


def column_groups(table: Table) -> list[tuple[str, tuple[str, ...]]]:
    """Neighbouring columns that begin with the same word, such as "warmup AP^e": the word and the columns.

    A column by itself, and every column of a table whose columns are no quantities, has the word "".
    """
    if not columns_are_quantities(table):
        return [("", (column,)) for column in table.columns]
    groups: list[tuple[str, tuple[str, ...]]] = []
    for column in table.columns:
        word = column.rpartition(" ")[0]
        if groups and groups[-1][0] == word:
            groups[-1] = (word, (*groups[-1][1], column))
        else:
            groups.append((word, (column,)))
    return [(word if len(columns) > 1 else "", columns) for word, columns in groups]


def shown_rows(table: Table) -> tuple[str, ...]:
    """Rows that a picture has something to draw of: without those that are not run and that the paper has not either.

    All rows where that would leave none, so that the picture says why it is empty.
    """
    there = {c.row for c in table.cells if c.status != NOT_RUN or c.paper is not None}
    return tuple(row for row in table.rows if row in there) or table.rows


def panels(table: Table) -> list[Panel]:
    """Panels of a picture, one pair of axes each: a column where columns are quantities, else all numbers of one kind.

    Where rows are quantities, as in Table 10, their kinds share one panel.
    """
    if columns_are_quantities(table):
        return [Panel(column, (_series(table, column, None),)) for column in table.columns]
    kinds = [None] if rows_are_quantities(table) else list(dict.fromkeys(quantity(c) for c in table.cells))
    return [Panel(kind or "", tuple(_series(table, column, kind) for column in table.columns)) for kind in kinds]


def _series(table: Table, column: str, kind: str | None) -> Series:
    cells = {c.row: c for c in table.cells if c.column == column and kind in (None, quantity(c))}
    return Series(column, tuple(cells.get(row) for row in table.rows))


def half_bar(table: Table, cell: TableCell | None) -> float | None:
    """Half of the error bar of a number of ours: its standard deviation over seeds; of a table of one seed half of the
    95 % interval over images alone. None where neither is known."""
    if cell is None or cell.value is None:
        return None
    if table.seeds > 1 or not table.image_covariance:
        return cell.std
    at = next(i for i, one in enumerate(table.cells) if one is cell)
    variance = table.image_covariance[at][at]
    return None if variance is None else NormalDist().inv_cdf(1 - LEVEL / 2) * math.sqrt(variance)


def what_bars_are(table: Table) -> str:
    """What error bars of the table's numbers are, as a sentence; "" where there are none."""
    if all(half_bar(table, cell) is None for cell in table.cells):
        return ""
    if table.seeds > 1:
        return "Error bars are one sample standard deviation over seeds."
    return "Error bars are 95 % intervals over images alone: one seed tells no other spread."


def gains(table: Table) -> dict[int, Gain]:
    """Position in table.cells -> gain over the baseline column or row, for every cell that has one."""
    if not table.baseline:
        return {}
    in_columns = table.baseline in table.columns
    at = {(c.row, c.column, quantity(c)): c for c in table.cells}
    model = fitted([table])
    found = {}
    for i, cell in enumerate(table.cells):
        row, column = (cell.row, table.baseline) if in_columns else (table.baseline, cell.column)
        base = at.get((row, column, quantity(cell)))
        if base is not None and base is not cell:
            found[i] = Gain(difference(model, table.name, cell, base), _papers(cell, base))
    return found


def _papers(cell: TableCell, base: TableCell) -> float | None:
    return None if cell.paper is None or base.paper is None else cell.paper - base.paper
