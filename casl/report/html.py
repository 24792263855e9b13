"""A Table as one self-contained page: coloured grid, picture, and where every number comes from."""

from __future__ import annotations

import base64
from html import escape

from casl.report.table import Repetition, Table, TableCell
from casl.report.wording import (
    best,
    difference_label,
    has_paper,
    headline,
    missing,
    number,
    ours,
    positions,
)

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c1c1c; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p { margin: .2rem 0; } .warning { background: #b3261e; color: #fff; font-weight: 600; padding: .5rem .8rem;
border-radius: .3rem; margin: .6rem 0; display: inline-block; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; }
th { font-weight: 600; padding: .3rem .7rem; text-align: left; } thead th { text-align: center; }
.grid td { padding: .45rem .8rem; text-align: center; border: 2px solid #fff; min-width: 6.5rem; }
.grid small { display: block; font-size: .75rem; opacity: .85; } .grid td.gap { background: #eee; color: #666; }
.grid b { font-size: 1.1rem; font-weight: 500; }
.grid .best { font-weight: 800; border: 2px solid; border-radius: .3rem; padding: 0 .35rem; }
.grid a { color: inherit; text-decoration: none; } .grid a:hover { text-decoration: underline; }
.grid hr { border: 0; border-top: 1px solid currentColor; opacity: .3; margin: .3rem 0; }
.list td, .list th { border-bottom: 1px solid #ddd; padding: .2rem .6rem; font-size: .85rem; text-align: left; }
.list td:not(:last-child) { white-space: nowrap; } code { font-size: .8rem; } img { max-width: 100%; }
"""


def to_html(table: Table, picture: bytes, mlflow_page: str) -> str:
    """The page.

    Args:
        picture: the table's PNG, embedded.
        mlflow_page: address of MLflow's pages; links to runs start with it.
    """
    title = escape(f"{table.title} ({table.name})")
    warning = f'<p class="warning">{escape(table.warning)}</p>' if table.warning else ""
    gaps = "".join(f"<li>{escape(line)}</li>" for line in missing(table))
    image = base64.b64encode(picture).decode()
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head><body>',
            f"<h1>{title}</h1>",
            warning,
            *(f"<p>{escape(line)}</p>" for line in headline(table)),
            _grid(table, mlflow_page),
            f"<p><small>{escape(_legend(table))}</small></p>",
            f"<h2>Missing or to be noted</h2><ul>{gaps}</ul>" if gaps else "",
            f'<h2>Picture</h2><img alt="{title}" src="data:image/png;base64,{image}">',
            "<h2>Where each number comes from</h2>",
            _sources(table, mlflow_page),
            "</body></html>\n",
        ]
    )


def _legend(table: Table) -> str:
    words = "Large: ours, linked to its run in MLflow (start the pages with: make ui). Framed: best."
    if has_paper(table):
        words += f" In brackets: {difference_label(table).lower()}."
    return words


def _grid(table: Table, mlflow_page: str) -> str:
    heads = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    corner = escape(f"{table.row_axis} / {table.column_axis}")
    top, _ = best(table)
    lines = [f'<div class="scroll"><table class="grid"><thead><tr><th>{corner}</th>{heads}</tr></thead><tbody>']
    for row in table.rows:
        places = "".join(_place(table, positions(table, row, column), top, mlflow_page) for column in table.columns)
        lines.append(f"<tr><th>{escape(row)}</th>{places}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _place(table: Table, at: list[int], top: set[int], mlflow_page: str) -> str:
    if not at:
        return "<td></td>"
    cells = [table.cells[i] for i in at]
    numbers = "<hr>".join(_number(table, table.cells[i], i in top, mlflow_page) for i in at)
    hover = escape("\n".join(_hover(table, cell) for cell in cells), quote=True)
    style = _colour(table, cells[0])
    return f'<td title="{hover}" {style}>{numbers}</td>' if style else f'<td title="{hover}" class="gap">{numbers}</td>'


def _number(table: Table, cell: TableCell, best: bool, mlflow_page: str) -> str:
    text = escape(ours(cell, table.seeds))
    if cell.mlflow_run_id:
        text = f'<a href="{_address(mlflow_page, cell.mlflow_run_id)}">{text}</a>'
    text = f'<b class="best">{text}</b>' if best else f"<b>{text}</b>"
    if cell.paper is None:
        return text
    apart = f" ({number(cell.difference, signed=True)})" if cell.difference is not None else ""
    return f"{text}<small>paper {number(cell.paper)}{apart}</small>"


def _address(mlflow_page: str, run_id: str) -> str:
    return escape(f"{mlflow_page.rstrip('/')}/#/runs/{run_id}", quote=True)


def _hover(table: Table, cell: TableCell) -> str:
    parts = [f"{cell.metric} {cell.figure}: {ours(cell, table.seeds)}"]
    if cell.paper is not None:
        parts.append(f"paper {number(cell.paper)}")
    if cell.difference is not None:
        parts.append(f"{difference_label(table).lower()}: {number(cell.difference, signed=True)}")
    return ", ".join([*parts, f"seeds {cell.seeds}", cell.name, *([cell.note] if cell.note else [])])


def _colour(table: Table, cell: TableCell) -> str:
    """Light to dark blue over the numbers of the same metric and figure; "" for a gap."""
    if cell.value is None:
        return ""
    same = [c.value for c in table.cells if (c.metric, c.figure) == (cell.metric, cell.figure) and c.value is not None]
    low, high = min(same), max(same)
    share = (cell.value - low) / (high - low) if high > low else 0.5
    pale, deep = (237, 244, 252), (24, 91, 158)
    shade = ", ".join(str(round(a + (b - a) * share)) for a, b in zip(pale, deep, strict=True))
    return f'style="background: rgb({shade}); color: {"#fff" if share > 0.55 else "#111"}"'


def _sources(table: Table, mlflow_page: str) -> str:
    heads = ("row", "column", "metric", "seed", "value", "status", "stage", "MLflow", "commit", "note")
    lines = [_source(cell, one, mlflow_page) for cell in table.cells for one in cell.repetitions]
    top = "".join(f"<th>{head}</th>" for head in heads)
    return "\n".join(['<div class="scroll"><table class="list">', f"<tr>{top}</tr>", *lines, "</table></div>"])


def _source(cell: TableCell, one: Repetition, mlflow_page: str) -> str:
    run = f'<a href="{_address(mlflow_page, one.mlflow_run_id)}">run</a>' if one.mlflow_run_id else "–"
    commit = escape(one.commit[:10]) + (" + changes" if one.dirty else "")
    value = "–" if one.value is None else f"{one.value:.2f}"
    texts = [escape(t) for t in (cell.row, cell.column, f"{cell.metric} {cell.figure}", str(one.seed))]
    texts += [value, escape(one.status), f"<code>{escape(one.name)}</code>", run, f"<code>{commit}</code>"]
    return "<tr>" + "".join(f"<td>{text}</td>" for text in [*texts, escape(one.note)]) + "</tr>"
