"""Recall beside the precision of labelers and warmups: what is not found is in no label, however well the rest ranks.

The figures are counted from the predictions that evaluations kept, so they stand apart from the table's own numbers and
from the paper's, which has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from casl.report import blocks
from casl.report.table import Table, TableCell
from casl.report.wording import mean_and_spread, spread_said

# By the name of an evaluation: {"metric", "AR1", "AR10", "AR100"}, text that says why not, None where none is asked for
Figures = Callable[[str], Any]
SHOWN = {"AR1": "AR@1", "AR10": "AR@10", "AR100": "AR@100"}
_HOW = (
    "How many of the objects are found, whatever they are called, with at most 1, 10 and 100 predictions an image: "
    "percent, mean over IoU .50:.05:.95. Counted from the predictions that evaluations of labelers and warmups kept; "
    "the paper has no such figures."
)


@dataclass(frozen=True)
class RecallLine:
    """The recall of one model in a table. column: "all" where one evaluation gives its whole row.

    values: figure -> percent of each seed that has one, in the order of the seeds. notes: why another seed has none.
    """

    row: str
    column: str
    metric: str
    values: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...]

    def text(self, figure: str) -> str:
        """Mean and spread over seeds, a dash where there is none."""
        return mean_and_spread(self.values[figure])


def recall_lines(table: Table, figures: Figures) -> list[RecallLine]:
    """One line for each measured labeler and warmup of a table, in its order."""
    groups: dict[tuple[str, tuple[str, ...]], list[TableCell]] = {}
    for cell in table.cells:
        if cell.status in ("done", "partial"):
            groups.setdefault((cell.row, tuple(one.name for one in cell.repetitions)), []).append(cell)
    found = []
    for cells in groups.values():
        counted = {one.seed: figures(one.name) for one in cells[0].repetitions}
        if all(value is not None for value in counted.values()):
            found.append(_line(table, cells, counted))
    return found


def _line(table: Table, cells: Sequence[TableCell], counted: Mapping[int, Any]) -> RecallLine:
    known = [value for value in counted.values() if not isinstance(value, str)]
    row, columns = cells[0].row, list(dict.fromkeys(c.column for c in cells))
    whole = len(columns) > 1 and columns == list(dict.fromkeys(c.column for c in table.cells if c.row == row))
    return RecallLine(
        row=row,
        column="all" if whole else ", ".join(columns),
        metric=known[0]["metric"] if known else "",
        values={name: tuple(float(v[name]) for v in known if v[name] >= 0) for name in SHOWN},
        notes=notes_of_seeds(counted),
    )


def notes_of_seeds(counted: Mapping[int, Any]) -> tuple[str, ...]:
    """Why seeds have no figures, given their figures or the reason as text."""
    many = len(counted) > 1
    return tuple(f"seed {s}: {why}" if many else why for s, why in counted.items() if isinstance(why, str))


def by_note(places: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """One line for each note, with all the places that it is about."""
    found: dict[str, list[str]] = {}
    every = list(places)
    for place, notes in every:
        for note in notes:
            found.setdefault(note, []).append(place)
    return [f"{'all' if len(noted) == len(every) > 1 else '; '.join(noted)}: {note}" for note, noted in found.items()]


def section(table: Table, lines: Sequence[RecallLine]) -> list[blocks.Block]:
    """The heading, a grid and what is missing; nothing for a table without labelers and warmups."""
    if not lines:
        return []
    heads = [table.row_axis, table.column_axis, "recall", *SHOWN.values()]
    rows: list[list[blocks.Text]] = [
        [blocks.Raised(line.row), blocks.Raised(line.column), line.metric or "–", *map(line.text, SHOWN)]
        for line in lines
    ]
    notes = [blocks.Raised(note) for note in by_note((f"{line.row}, {line.column}", line.notes) for line in lines)]
    spread = spread_said(values for line in lines for values in line.values.values())
    return [
        blocks.Heading("Recall without classes", "recall"),
        blocks.Paragraph(f"{_HOW} {spread}".rstrip()),
        blocks.Rows(heads, rows, words=3),
        *([blocks.Bullets(notes)] if notes else []),
    ]
