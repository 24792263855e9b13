"""A Table as Markdown, for a README or a pull request."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from casl.report.heading import tagged
from casl.report.layout import Gain, gains, positions
from casl.report.table import PUBLISHED, Table
from casl.report.wording import (
    best,
    commands,
    difference,
    difference_label,
    entry,
    gain_label,
    gained,
    has_paper,
    headline,
    missing,
    number,
    quoted,
    together,
)


def to_markdown(table: Table) -> str:
    """Grids: ours with the paper's number in brackets, the gains over the baseline, the difference to the paper."""
    compared = [r for r in table.rows if any(c.row == r and c.status != PUBLISHED for c in table.cells)]
    parts = [f"# {plain(table.title)} ({plain(table.name)})"]
    parts += [f"> **{table.warning}.**"] if table.warning else []
    parts += ["\n".join(f"{plain(line)}  " for line in headline(table) if line)]
    parts += [f"## {'Ours (paper)' if has_paper(table) else 'Ours'}", _ours(table)]
    if found := gains(table):
        parts += [f"## {plain(gain_label(table))}: ours (paper)", _gains(table, found)]
    if has_paper(table) and compared:
        parts += [
            f"## {difference_label(table)}",
            _grid(table, compared, table.columns, lambda at: difference(table, at)),
        ]
    if lines := missing(table):
        parts += ["## Missing or to be noted", listed(lines)]
    if lines := quoted(table):
        parts += ["## Quoted, not measured (in italics)", listed(lines)]
    parts += ["## Again", "\n".join(f"- {what}: `{command}`" for what, command in commands(table))]
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """Text that Markdown shall show as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|^~])", r"\\\1", " ".join(text.split()))


def heading(text: str) -> str:
    """Text with raised and lowered letters, which Markdown shows through HTML's tags."""
    return tagged(text, plain)


def listed(lines: Sequence[str]) -> str:
    """A list of lines."""
    return "\n".join(f"- {heading(line)}" for line in lines)


def rows_of(lines: Sequence[Sequence[str]], words: int = 1) -> str:
    """A table of texts that are Markdown already; the first line is its head, the first `words` columns hold words."""
    head, *body = lines
    rule = ["---" if i < words else "--:" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *body])


def _ours(table: Table) -> str:
    top, _ = best(table)

    def mark(i: int, text: str) -> str:
        if table.cells[i].status == PUBLISHED:
            return f"*{text}*"
        return f"**{text}**" if i in top else text

    return _grid(table, table.rows, table.columns, lambda at: entry(table, at, mark))


def _gains(table: Table, found: dict[int, Gain]) -> str:
    columns = [c for c in table.columns if any(table.cells[i].column == c for i in found)]
    rows = [r for r in table.rows if any(table.cells[i].row == r for i in found)]

    def text(i: int) -> str:
        if table.cells[i].status == PUBLISHED:
            return f"*{number(found[i].paper, signed=True)} ({PUBLISHED})*"
        return gained(found[i])

    return _grid(table, rows, columns, lambda at: together([text(i) for i in at if i in found]))


def _grid(table: Table, rows: Sequence[str], columns: Sequence[str], text: Callable[[list[int]], str]) -> str:
    lines = [[heading(f"{table.row_axis} / {table.column_axis}"), *map(heading, columns)]]
    lines += [[heading(row), *(text(positions(table, row, column)) for column in columns)] for row in rows]
    return rows_of(lines)
