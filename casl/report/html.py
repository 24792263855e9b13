"""A Table as one self-contained page: coloured grid, picture, and where every number comes from."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape

from casl.report.heading import tagged
from casl.report.layout import Gain, column_groups, comparable, gains, positions, quantity
from casl.report.page import listed, page, rows_of, run_address, run_link, warned
from casl.report.table import PUBLISHED, Repetition, Table, TableCell
from casl.report.wording import (
    best,
    commands,
    difference_label,
    has_paper,
    headline,
    missing,
    number,
    ours,
    quoted,
    tested,
    together,
)


@dataclass(frozen=True)
class _View:
    """A table with what its cells need to know of each other. top: best cells; groups: comparable ones."""

    table: Table
    top: set[int]
    groups: list[int]
    gains: dict[int, Gain]
    mlflow_page: str


def to_html(table: Table, picture: bytes, mlflow_page: str) -> str:
    """The page.

    Args:
        picture: the table's PNG, embedded.
        mlflow_page: address of MLflow's pages; links to runs start with it.
    """
    title = f"{table.title} ({table.name})"
    image = base64.b64encode(picture).decode()
    view = _View(table, best(table)[0], comparable(table), gains(table), mlflow_page)
    return page(
        title,
        [
            warned(table.warning),
            *(f"<p>{escape(line)}</p>" for line in headline(table) if line),
            _grid(view),
            f"<p><small>{escape(_legend(table))}</small></p>",
            listed("Missing or to be noted", missing(table)),
            listed("Quoted, not measured", quoted(table)),
            "<h2>Again</h2>",
            *(f"<p>{escape(what)}: <code>{escape(command)}</code></p>" for what, command in commands(table)),
            f'<h2>Picture</h2><img alt="{escape(title)}" src="data:image/png;base64,{image}">',
            "<h2>Where each number comes from</h2>",
            sources(table, mlflow_page),
        ],
    )


def _legend(table: Table) -> str:
    words = ["Large: ours, linked to its run in MLflow (start the pages with: make ui).", "Framed: best."]
    if has_paper(table):
        words.append(f"In brackets after the paper's number: {difference_label(table).lower()}.")
    if table.baseline:
        words.append(f"Gain: over {table.baseline}{', paired by seed' if table.seeds > 1 else ''}.")
    if table.measurable < len(table.cells):
        words.append("Grey italics on stripes: published figures that are only quoted, not measured here.")
    if any(not positions(table, row, column) for row in table.rows for column in table.columns):
        words.append("Empty: no number in this table.")
    return " ".join(words)


def _grid(view: _View) -> str:
    table = view.table
    lines = ['<div class="scroll"><table class="grid"><thead>', *_heads(table), "</thead><tbody>"]
    for row in table.rows:
        places = "".join(_place(view, positions(table, row, column)) for column in table.columns)
        lines.append(f"<tr><th>{tagged(row)}</th>{places}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _heads(table: Table) -> list[str]:
    """One line of column headings, or two where columns share their first word."""
    corner = escape(f"{table.row_axis} / {table.column_axis}")
    groups = column_groups(table)
    if not any(word for word, _ in groups):
        return [f"<tr><th>{corner}</th>{''.join(f'<th>{tagged(c)}</th>' for c in table.columns)}</tr>"]
    upper, lower = [f'<th rowspan="2">{corner}</th>'], []
    for word, columns in groups:
        if word:
            upper.append(f'<th class="group" colspan="{len(columns)}">{escape(word)}</th>')
            lower += [f"<th>{tagged(column.removeprefix(word).strip())}</th>" for column in columns]
        else:
            upper += [f'<th rowspan="2">{tagged(column)}</th>' for column in columns]
    return [f"<tr>{''.join(upper)}</tr>", f"<tr>{''.join(lower)}</tr>"]


def _place(view: _View, at: list[int]) -> str:
    """All numbers of one place, then the paper's and the gains."""
    if not at:
        return "<td></td>"
    cells = [view.table.cells[i] for i in at]
    numbers = together([_number(view, i) for i in at])
    small = "".join(f"<small>{line}</small>" for line in (_paper(cells), _gain(view, at)) if line)
    hover = escape("\n".join(_hover(view.table, cell) for cell in cells), quote=True)
    return f'<td title="{hover}" {_style(view, at[0])}>{numbers}{small}</td>'


def _number(view: _View, i: int) -> str:
    cell = view.table.cells[i]
    text = escape(ours(cell, view.table.seeds))
    if cell.mlflow_run_id:
        text = f'<a href="{run_address(view.mlflow_page, cell.mlflow_run_id)}">{text}</a>'
    return f'<b class="best">{text}</b>' if i in view.top else f"<b>{text}</b>"


def _paper(cells: list[TableCell]) -> str:
    cells = [c for c in cells if c.status != PUBLISHED]
    if all(c.paper is None for c in cells):
        return ""
    apart = [number(c.difference, signed=True) for c in cells]
    known = any(c.difference is not None for c in cells)
    words = together([number(c.paper) for c in cells])
    return f"paper {words}" + (f" ({', '.join(apart)})" if known else "")


def _gain(view: _View, at: list[int]) -> str:
    found = [view.gains[i] for i in at if i in view.gains]
    if not found or all(g.ours is None and g.paper is None for g in found):
        return ""
    paper = together([number(g.paper, signed=True) for g in found])
    if all(g.ours is None for g in found):
        return f"paper's gain {paper}"
    text = together([escape(tested(g.ours)) if g.ours else "–" for g in found])
    return f"gain {text}" + (f", paper {paper}" if any(g.paper is not None for g in found) else "")


def _hover(table: Table, cell: TableCell) -> str:
    parts = [f"{quantity(cell)}: {ours(cell, table.seeds)}"]
    if cell.paper is not None and cell.status != PUBLISHED:
        parts.append(f"paper {number(cell.paper)}")
    if cell.difference is not None:
        parts.append(f"{difference_label(table).lower()}: {number(cell.difference, signed=True)}")
    if cell.name:
        parts += [f"seeds {cell.seeds}", cell.name]
    return ", ".join([*parts, *([cell.note] if cell.note else [])])


def _style(view: _View, i: int) -> str:
    """Light to dark blue over comparable numbers; a class for what has none."""
    cell = view.table.cells[i]
    if cell.status == PUBLISHED:
        return 'class="quoted"'
    if cell.value is None:
        return 'class="gap"'
    pairs = zip(view.table.cells, view.groups, strict=True)
    same = [c.value for c, group in pairs if group == view.groups[i] and c.value is not None]
    low, high = min(same), max(same)
    share = (cell.value - low) / (high - low) if high > low else 0.5
    pale, deep = (237, 244, 252), (24, 91, 158)
    shade = ", ".join(str(round(a + (b - a) * share)) for a, b in zip(pale, deep, strict=True))
    return f'style="background: rgb({shade}); color: {"#fff" if share > 0.55 else "#111"}"'


def sources(table: Table, mlflow_page: str) -> str:
    """One line for each seed of each measured cell: value, status, stage, run, commit."""
    heads = ("row", "column", "metric", "seed", "value", "status", "stage", "MLflow", "commit", "note")
    lines = [_source(cell, one, mlflow_page) for cell in table.cells for one in cell.repetitions]
    return rows_of(heads, lines) if lines else "<p>Nothing here is measured.</p>"


def _source(cell: TableCell, one: Repetition, mlflow_page: str) -> list[str]:
    commit = escape(one.commit[:10]) + (" + changes" if one.dirty else "")
    value = "–" if one.value is None else f"{one.value:.2f}"
    texts = [tagged(cell.row), tagged(cell.column), escape(quantity(cell)), str(one.seed), value, escape(one.status)]
    link = run_link(mlflow_page, one.mlflow_run_id)
    return [*texts, f"<code>{escape(one.name)}</code>", link, f"<code>{commit}</code>", escape(one.note)]
