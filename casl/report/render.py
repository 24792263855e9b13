"""A Table as JSON and CSV, and all of its files at once.

The same table gives the same bytes: no dates, no machine names.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from casl.report.blocks import Link
from casl.report.curves import curves_name
from casl.report.error_kinds import errors_name
from casl.report.figure import drawing
from casl.report.latex import to_latex
from casl.report.layout import Gain, gains
from casl.report.per_class import classes_name
from casl.report.recall import RecallLine
from casl.report.setting import PLAIN, Setting
from casl.report.table import Table, TableCell
from casl.report.table_page import to_html, to_markdown
from casl.report.written import Contents, Write, anew, suffixed

_CELL_FIELDS = (
    *("row", "column", "metric", "figure", "paper", "value", "std", "difference", "seeds", "values", "status", "note"),
    *("key", "name", "mlflow_run_id", "commit", "dirty"),
)
_GAIN_FIELDS = ("gain", "gain_interval", "gain_p", "gain_images", "paper_gain")
_INTERVALS = ("gain_interval", "gain_images")
_TABLE_FIELDS = (
    *("name", "title", "source", "profile", "profile_title", "data", "small", "warning", "seeds", "notes", "options"),
    *("folder", "row_axis", "column_axis", "rows", "columns", "figure", "baseline"),
)

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # the last four are the wide forms of the others


def write_table(
    table: Table,
    folder: Path,
    recall: Sequence[RecallLine] = (),
    write: Write = anew,
    setting: Setting = PLAIN,
) -> list[Path]:
    """Write <folder>/<name>.json, .csv, .md, .tex, .png, .svg and .html; each file is whole or as it was.

    Args:
        recall: of its labelers and warmups, for the pages and JSON. Pages on classes and curves are linked if there.
        write: whether always, or only what is another.
        setting: of the folder; a table that was just made from the store is none of other code.

    Raises:
        StoreError: the folder cannot be written.
    """

    def make() -> Contents:
        picture = drawing(table, setting.today.on_picture(setting.today.of_table(table)))
        contents: dict[str, str | bytes] = {
            "json": to_json(table, recall),
            "csv": to_csv(table),
            "md": to_markdown(table, recall, setting),
            "tex": to_latex(table),
            "png": picture.png,
            "svg": picture.svg,
            "html": to_html(table, picture.svg, recall, others, setting),
        }
        return suffixed(table.name, contents)

    others = others_of(table, folder)
    return write(folder, table.name, (table, recall, others, setting), make)


def others_of(table: Table, folder: Path) -> list[Link]:
    """Links to further pages about a table that are in its folder."""
    pages = {
        "AP of each class": f"{classes_name(table)}.html",
        "kinds of errors": f"{errors_name(table)}.html",
        "training curves": f"{curves_name(table)}.html",
    }
    return [Link(words, page) for words, page in pages.items() if (folder / page).is_file()]


def to_json(table: Table, recall: Sequence[RecallLine] = ()) -> str:
    """One object: the table's fields, a list `cells`, and `image_covariance`, a list for each cell in their order;
    a list `recall` where the table has labelers or warmups.

    Numbers are at full precision, covariances have six decimals; null where there is none.
    """
    head = {name: getattr(table, name) for name in _TABLE_FIELDS}
    if table.apart:  # few tables have such rows
        head["apart"] = table.apart
    if table.origin:  # a table of casl's own has no such field
        head["origin"] = dataclasses.asdict(table.origin)
    body: dict[str, Any] = {"cells": _records(table), "image_covariance": table.image_covariance}
    if recall:
        body["recall"] = [dataclasses.asdict(line) for line in recall]
    return json.dumps({**head, **body}, indent=1, allow_nan=False) + "\n"


def _records(table: Table) -> list[dict[str, Any]]:
    gained = gains(table)
    return [_record(cell, gained.get(i, Gain(None, None))) for i, cell in enumerate(table.cells)]


def _record(cell: TableCell, gain: Gain) -> dict[str, Any]:
    """gain, gain_interval, gain_p: of ours over the baseline, by the table's additive model; the interval, of 95 %,
    holds seeds and images. gain_images: an interval over images alone. paper_gain: the published numbers'."""
    ours = gain.ours
    return {
        **{name: getattr(cell, name) for name in _CELL_FIELDS},
        "gain": ours.value if ours else None,
        "gain_interval": ours.interval if ours else None,
        "gain_p": ours.p if ours else None,
        "gain_images": ours.over_images if ours else None,
        "paper_gain": gain.paper,
        "repetitions": [
            {f.name: getattr(r, f.name) for f in dataclasses.fields(r) if f.name != "draws"} for r in cell.repetitions
        ],
    }


def to_csv(table: Table) -> str:
    """One line a cell, fields as in JSON; several values are separated by spaces, the last field is the warning."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fields = [*_CELL_FIELDS, *_GAIN_FIELDS]
    writer.writerow([*fields, "warning"])
    for record in _records(table):
        several = {name: " ".join(str(v) for v in record[name] or ()) for name in ("values", *_INTERVALS)}
        writer.writerow([several.get(n, csv_field(record[n])) for n in fields] + [csv_field(table.warning)])
    return text.getvalue()


def csv_field(value: object) -> object:
    """A value that a spreadsheet shows: text that it would compute, or take for another field, gets an apostrophe.

    Numbers stay as they are, and so does text that is one number, such as "-1.2".

    Source: OWASP, CSV Injection: a field is not to begin with = + - @ (or a wide form of them), tab or line break.
    """
    if not isinstance(value, str):
        return "" if value is None else value
    begins = value[:1] in ("\t", "\r", "\n") or value.lstrip()[:1] in _FORMULA
    return f"'{value}" if value and begins and not _NUMBER.fullmatch(value) else value
