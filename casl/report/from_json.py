"""Tables as their JSON files have them, to be judged and printed again where no store is at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casl.errors import DataError
from casl.report.images import Covariance
from casl.report.table import Repetition, Table, TableCell


def read_json(path: Path) -> Any:
    """The content of a JSON report.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; `casl report all` writes it") from error


def read_table(path: Path) -> Table:
    """A table from its JSON; what its axes mean is not in the file and stays empty, as the draws over images.

    Raises:
        DataError: the file cannot be read, or lacks what a table has.
    """
    record = read_json(path)
    try:
        return _table(record)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no table of casl ({error!r}); `casl report` writes it") from error


def read_tables(folder: Path) -> list[Table]:
    """The paper's tables in a folder of reports, by number.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    paths = sorted(folder.glob("table*.json"), key=lambda path: (len(path.stem), path.stem))
    if not paths:
        raise DataError(f"{folder} has no table*.json; `casl report all` writes them")
    return [read_table(path) for path in paths]


def _table(record: Mapping[str, Any]) -> Table:
    names = ("name", "title", "source", "profile", "profile_title", "data", "small", "seeds", "folder", "figure")
    return Table(
        **{name: record[name] for name in names},
        notes=tuple(record["notes"]),
        options=tuple((name, value) for name, value in record["options"]),
        row_axis="",
        column_axis="",
        rows=tuple(record["rows"]),
        columns=tuple(record["columns"]),
        cells=tuple(_cell(cell) for cell in record["cells"]),
        baseline=record["baseline"],
        image_covariance=_covariance(record.get("image_covariance", ())),
    )


def _cell(record: Mapping[str, Any]) -> TableCell:
    names = (
        *("row", "column", "metric", "figure", "paper", "value", "std", "seeds", "status", "note", "key", "name"),
        *("mlflow_run_id", "commit", "dirty"),
    )
    repetitions = tuple(Repetition(**one) for one in record["repetitions"])
    return TableCell(**{name: record[name] for name in names}, values=tuple(record["values"]), repetitions=repetitions)


def _covariance(rows: Any) -> Covariance:
    return tuple(map(tuple, rows))
