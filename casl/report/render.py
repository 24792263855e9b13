"""A Table as JSON, CSV and Markdown, and all of its files at once.

The same table gives the same bytes: no dates, no machine names.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from casl.files import write_atomic
from casl.report.figure import draw
from casl.report.html import to_html
from casl.report.latex import to_latex
from casl.report.table import Table, TableCell
from casl.report.wording import best, difference, difference_label, entry, has_paper, headline, missing, positions

MLFLOW_PAGE = "http://127.0.0.1:5000"
_CELL_FIELDS = (
    "row",
    "column",
    "metric",
    "figure",
    "paper",
    "value",
    "std",
    "difference",
    "seeds",
    "values",
    "status",
    "note",
    "key",
    "name",
    "mlflow_run_id",
    "commit",
    "dirty",
)
_TABLE_FIELDS = (
    "name",
    "title",
    "source",
    "profile",
    "profile_title",
    "data",
    "small",
    "warning",
    "seeds",
    "notes",
    "rows",
    "columns",
)


def write_table(table: Table, folder: Path, mlflow_page: str = MLFLOW_PAGE) -> list[Path]:
    """Write <folder>/<name>.json, .csv, .md, .tex, .png and .html; each file is whole or as it was.

    Args:
        mlflow_page: address that links to runs start with.

    Raises:
        StoreError: the folder cannot be written.
    """
    picture = draw(table)
    contents = {
        "json": to_json(table).encode(),
        "csv": to_csv(table).encode(),
        "md": to_markdown(table).encode(),
        "tex": to_latex(table).encode(),
        "png": picture,
        "html": to_html(table, picture, mlflow_page).encode(),
    }
    paths = [folder / f"{table.name}.{suffix}" for suffix in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        write_atomic(path, content)
    return paths


def to_json(table: Table) -> str:
    """One object: the table's fields and a list `cells`; numbers at full precision, null where there is none."""
    head = {name: getattr(table, name) for name in _TABLE_FIELDS}
    return json.dumps({**head, "cells": [_record(c) for c in table.cells]}, indent=1, allow_nan=False) + "\n"


def _record(cell: TableCell) -> dict[str, Any]:
    record = {name: getattr(cell, name) for name in _CELL_FIELDS}
    return {**record, "repetitions": [dataclasses.asdict(r) for r in cell.repetitions]}


def to_csv(table: Table) -> str:
    """One line a cell, fields as in JSON; several values are separated by spaces, the last field is the warning."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_CELL_FIELDS, "warning"])
    for cell in table.cells:
        record = {**_record(cell), "values": " ".join(str(v) for v in cell.values)}
        writer.writerow([*("" if record[n] is None else record[n] for n in _CELL_FIELDS), table.warning])
    return text.getvalue()


def to_markdown(table: Table) -> str:
    """Two grids: ours with the paper's number in brackets, and the difference."""
    top, _ = best(table)
    parts = [f"# {_md(table.title)} ({_md(table.name)})"]
    parts += [f"> **{table.warning}.**"] if table.warning else []
    parts += ["\n".join(f"{_md(line)}  " for line in headline(table))]
    parts += [f"## {'Ours (paper)' if has_paper(table) else 'Ours'}"]
    parts += [_md_grid(table, lambda at: entry(table, at, lambda i, text: f"**{text}**" if i in top else text))]
    if has_paper(table):
        parts += [f"## {difference_label(table)}", _md_grid(table, lambda at: difference(table, at))]
    if lines := missing(table):
        parts += ["## Missing or to be noted", "\n".join(f"- {_md(line)}" for line in lines)]
    return "\n\n".join(parts) + "\n"


def _md_grid(table: Table, text: Callable[[list[int]], str]) -> str:
    lines = [[_md(f"{table.row_axis} / {table.column_axis}"), *(_md(c) for c in table.columns)]]
    lines.append(["---", *("--:" for _ in table.columns)])
    lines += [[_md(row), *(text(positions(table, row, column)) for column in table.columns)] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _md(text: str) -> str:
    """Text that Markdown shall show as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|^~])", r"\\\1", " ".join(text.split()))
