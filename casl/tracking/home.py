"""A store that was copied or moved, with MLflow's database in it.

MLflow keeps the absolute place of every file. In the copy of a store these places are the original's, into which all
that is logged from then on would be written; of a store that moved they are gone. The database tells: its first
experiment, which MLflow makes with it, says where it was made.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from casl.errors import TrackingError
from casl.tracking.experiment import NOTE_TAG
from casl.tracking.index import Index
from casl.tracking.owner import OWNER, copied_id
from casl.tracking.server import (
    ARTIFACTS,
    PATIENCE_S,
    SQLITE,
    database,
    default_uri,
    exclusive,
    is_damaged,
    unreachable,
)

_PLACES = ("artifact_location", "artifact_uri", "source", "storage_location")  # columns of MLflow's tables
_FIRST = "0"  # id of the experiment that a database begins with


def settle(store: Path, uri: str) -> bool:
    """Make the database in a store keep its files in this very store; runs, models and what people noted stay.

    Call it before what the store remembers of MLflow is read, since that moves too.

    Args:
        store: its folder. uri: of the MLflow that is used; only the store's own database is looked at.

    Returns:
        Whether the store was elsewhere before.

    Raises:
        TrackingError: the database is held by another process, or cannot be written.
    """
    path, here = database(uri), store.resolve()
    if not uri.startswith(SQLITE) or path.resolve() != database(default_uri(store)) or not path.is_file():
        return False
    try:
        if _made_in(path) in (None, here):
            return False
        with exclusive(path.with_name(f"{path.name}.lock")):
            if (before := _made_in(path)) in (None, here):
                return False  # another process did it meanwhile
            _bring_memory(before, store)
            _rewrite(path, before, here, copied_id(store, before))
    except (sqlite3.Error, OSError) as error:
        if is_damaged(path):
            return False  # which opening it tells, with what to remove
        raise TrackingError(unreachable(uri, store, str(error))) from error
    return True


def _made_in(path: Path) -> Path | None:
    """The store in which a database was made; None if that was no store, or it has no tables yet."""
    with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return None
        asked = "SELECT artifact_location FROM experiments WHERE experiment_id = ?"
        found = connection.execute(asked, (_FIRST,)).fetchone()
    place = Path(found[0] or "") if found else Path()
    store = place.parent.parent
    return store if place == store / ARTIFACTS / _FIRST else None


def _bring_memory(before: Path, store: Path) -> None:
    """Move what the store remembers of the database to where it is looked for now; it is called after the address."""
    old, new = (Index(store, uri).folder for uri in (f"{SQLITE}{before / 'mlflow.db'}", None))
    for file in [path for path in old.rglob("*") if path.is_file()]:
        target = new / file.relative_to(old)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
    shutil.rmtree(old, ignore_errors=True)


def _rewrite(path: Path, before: Path, here: Path, ids: tuple[str, str] | None) -> None:
    """Put the new folder in the place of the old one wherever the database names a file, all of it or nothing.

    ids: of the store that this is a copy of, and its own; None where the store is the same.
    """
    with closing(sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for table, column in _columns(connection):
            for old, new in ((str(before), str(here)), (before.as_uri(), here.as_uri())):
                connection.execute(
                    f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) WHERE substr("{column}", 1, ?) = ?',
                    (new, len(old) + 1, len(old) + 1, f"{old}/"),
                )
        if ids:
            for table in ("tags", "experiment_tags"):
                connection.execute(f"UPDATE {table} SET value = ? WHERE key = ? AND value = ?", (ids[1], OWNER, ids[0]))
        connection.execute(
            "UPDATE tags SET value = replace(value, ?, ?) WHERE key = ?", (f"{before}/", f"{here}/", NOTE_TAG)
        )
        connection.execute("COMMIT")


def _columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Every (table, column) that holds places of files."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        for _, column, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            if column in _PLACES:
                yield table, column
