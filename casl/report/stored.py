"""Tables read back from the JSON files of a folder of reports, so that a page over all of them agrees with each.

The draws over images of an evaluation are in the store and in no report; a table's JSON has their covariance.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from casl import catalog
from casl.errors import CaslError, DataError, StoreError
from casl.files import read_json_object
from casl.report.story import RECORD
from casl.report.table import Repetition, Table, TableCell, read_draws
from casl.spec.ablation import Origin

CLAIMS = "claims.json"
FOLLOW = (CLAIMS, RECORD)  # from the tables
_JOINED = ("cells", "origin", "apart")  # fields of Table that are objects of their own, or not in every record


DrawsOf = Callable[[str], tuple[float, ...]]  # by the name of an evaluation
RunId = Callable[[str], str | None]  # by the name of a stage


def stored_tables(folder: Path, stage_folder: Callable[[str], Path], run_id: RunId) -> tuple[list[Table], list[str]]:
    """Every table that a folder of reports holds, those of casl first and in order, and what could not be read.

    Args:
        stage_folder: where the store has a stage; the draws of evaluations are there and in no report.
        run_id: of a stage in MLflow now, None if it has no run there or none is to be shown.

    Returns:
        Tables, and one line for each file that an earlier version wrote or that is damaged.
    """
    tables, unread = [], []
    for path, record in _records(folder):
        try:
            tables.append(_table(record, lambda name: read_draws(stage_folder(name)), run_id))
        except (CaslError, KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            unread.append(f"{path} cannot be read ({reason}); `casl report` of that table writes it anew")
    return _in_order(tables), unread


def read_table(path: Path) -> Table:
    """A table from its JSON alone, without draws over images and links to runs.

    Raises:
        DataError: the file cannot be read, or lacks what a table has.
    """
    record = read_report(path)
    try:
        return _table(record, lambda _: (), lambda _: None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is no table of casl ({error!r}); `casl report` writes it") from error


def read_tables(folder: Path) -> list[Table]:
    """Every table in a folder of reports, those of casl first and in order, without draws over images.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    paths = [path for path in folder.glob("*.json") if "cells" in read_report(path)]
    if not paths:
        raise DataError(f"{folder} has no table; `casl report all` writes them")
    return _in_order(read_table(path) for path in paths)


def _in_order(tables: Iterable[Table]) -> list[Table]:
    known = {name: n for n, name in enumerate(catalog.ABLATIONS)}
    return sorted(tables, key=lambda t: (known.get(t.name, len(known)), t.name))


def read_report(path: Path) -> dict[str, Any]:
    """The content of a JSON report.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return read_json_object(path)
    except StoreError as error:
        raise DataError(f"{path} cannot be read: {error}; `casl report all` writes it") from error


def fingerprint(folder: Path) -> str:
    """What changes whenever a table of a folder does."""
    found = hashlib.sha256()
    for path in sorted(set(folder.glob("*.json")) - {folder / name for name in FOLLOW}):
        found.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def _records(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """JSON files with cells, which claims, labels and searches have not; one that is no JSON may have been a table."""
    for path in sorted(folder.glob("*.json")):
        try:
            record = read_json_object(path)
        except StoreError:
            record = {"cells": []}
        if "cells" in record:
            yield path, record


def _table(record: Mapping[str, Any], draws: DrawsOf, run_id: RunId) -> Table:
    fields = [f.name for f in dataclasses.fields(Table) if f.name not in _JOINED]
    return Table(
        **{name: _frozen(record[name]) for name in fields},
        apart=_frozen(record.get("apart", [])),
        cells=tuple(_cell(cell, draws, run_id) for cell in record["cells"]),
        origin=Origin(**record["origin"]) if "origin" in record else None,
    )


def _cell(record: Mapping[str, Any], draws: DrawsOf, run_id: RunId) -> TableCell:
    drawn = catalog.row("metric", record["metric"]).headline == record["figure"]
    repetitions = []
    for one in record["repetitions"]:
        own = draws(one["name"]) if drawn and one["value"] is not None else ()
        more = {"mlflow_run_id": run_id(one["name"]), "draws": own, "shares": _frozen(one.get("shares"))}
        repetitions.append(Repetition(**{**one, **more}))
    fields = [f.name for f in dataclasses.fields(TableCell) if f.name not in ("repetitions", "mlflow_run_id")]
    return TableCell(
        **{name: _frozen(record[name]) for name in fields},
        mlflow_run_id=run_id(record["name"]) if record["name"] else None,
        repetitions=tuple(repetitions),
    )


def _frozen(value: Any) -> Any:
    """A JSON value with tuples in place of lists, as tables have them."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
