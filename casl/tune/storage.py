"""Opening an Optuna storage, so that a kill or a second process at the wrong moment cannot leave half a database."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import SQLAlchemyError

from casl.errors import StoreError
from casl.files import disk_errors
from casl.tracking.server import exclusive, is_damaged

SQLITE = "sqlite:///"
PATIENCE_S = 60
JOURNALS = (".log", ".journal")


def default_url(store: Path) -> str:
    """A database inside the store."""
    return f"{SQLITE}{store.resolve() / 'optuna.db'}"


def open_storage(url: str) -> BaseStorage:
    """An Optuna storage.

    Args:
        url: any database address that Optuna takes, or the path of a journal file ending in .log or .journal.

    Raises:
        StoreError: it cannot be opened; the message says why.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if "://" not in url:
            return _journal(url)
        if not url.startswith(SQLITE):
            return RDBStorage(url)
        _make_sqlite(Path(url.removeprefix(SQLITE)))
        return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": PATIENCE_S}})
    except (SQLAlchemyError, sqlite3.Error, ImportError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        if url.startswith(SQLITE) and is_damaged(path := Path(url.removeprefix(SQLITE))):
            raise StoreError(
                f"the Optuna storage {path} is damaged ({reason[0]}); the stages of its trials are whole.\n"
                f"  remove {path}, and the same command searches anew, with every stage that it finds done."
            ) from error
        raise StoreError(
            f"cannot open the Optuna storage {url}: {reason[0]}\n"
            "  any address that Optuna takes will do, such as sqlite:////folder/study.db or postgresql://user@host/name"
        ) from error


def _journal(path: str) -> BaseStorage:
    if not path.endswith(JOURNALS):
        raise ValueError(f"neither an address with :// nor a journal file ending in {' or '.join(JOURNALS)}")
    with disk_errors("write", Path(path)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(path))


def _make_sqlite(path: Path) -> None:
    """Make a database with Optuna's tables, aside and then whole into its place, one process at a time.

    Optuna makes them in the file itself: processes that start together break it, and a killed one leaves half of it.
    """
    with disk_errors("make", path), exclusive(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return
        for left in path.parent.glob(f".{path.name}.*.new"):  # what a killed attempt left; the lock is ours
            left.unlink()
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.new")
        RDBStorage(f"{SQLITE}{aside}").engine.dispose()
        aside.replace(path)
