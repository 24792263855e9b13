"""Connections to MLflow: databases are made whole, servers are asked with short waits, errors say what to do.

MLflow is imported inside functions only: it takes over a second, and nothing but a sync or `make ui` needs it.
"""

from __future__ import annotations

import base64
import fcntl
import logging
import os
import sqlite3
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from casl.errors import TrackingError, unknown

PATIENCE_S = 5.0
HOST, PORT = "127.0.0.1", 5000  # where `casl ui` serves, unless another port is named
# MLflow's pages open in a mode for language-model apps unless the address asks for the other.
TRAINING_MODE = "?workflowType=machine_learning"
START_PAGE = f"#/experiments{TRAINING_MODE}"
SQLITE = "sqlite:///"
ARTIFACTS = "mlartifacts"  # folder in a store
# what addresses that MLflow takes begin with; packages may offer others
_KINDS = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "file", "databricks", "databricks-uc", "uc")
SECRET = 3  # letters of the shortest password that is looked for in what others say
_QUIET = {
    "GIT_PYTHON_REFRESH": "quiet",  # a machine without git: the commit comes from the run, not from here
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_OF_MLFLOW = "ignore:starlette.middleware.wsgi is deprecated"  # a warning about what MLflow imports
_BRIEF = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # No connection outlives its use: a database removed or replaced meanwhile is then seen, and forks are harmless.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}


@contextmanager
def quiet_settings() -> Iterator[None]:
    """Set MLflow's variables for short waits and little output, unless the user set them, and undo it afterwards."""
    added = {name: value for name, value in (_QUIET | _BRIEF).items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Short waits and no log lines while MLflow works."""
    with quiet_settings(), ExitStack() as stack:
        import mlflow  # noqa: F401  sets its loggers' levels on import, so import before silencing them

        for name in ("mlflow", "alembic", "urllib3"):
            stack.enter_context(_silent(logging.getLogger(name)))
        yield


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _damage_told(uri: str, store: Path) -> Iterator[None]:
    """Turn any error into one that says what to remove, if MLflow's database in a file is damaged."""
    try:
        yield
    except Exception as error:
        try:
            check_whole(uri, store)
        except TrackingError as told:
            raise told from error
        raise


def check_whole(uri: str, store: Path) -> None:
    """
    Raises:
        TrackingError: MLflow's database is in a file, and that is damaged; says what to remove.
    """
    if uri.startswith(SQLITE) and is_damaged(database(uri)):
        raise TrackingError(
            f"the database of MLflow, {database(uri)}, is damaged; the results are whole in {store}.\n"
            "  remove that file, and `casl sync` logs all of them into a new one."
        )


@contextmanager
def tracking_errors(uri: str, store: Path, *, reading: bool = False) -> Iterator[None]:
    """Turn errors of MLflow, its database and the network into one TrackingError that says that nothing is lost."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with _damage_told(uri, store):
            yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError, HTTPException) as error:
        reason = _without_user((str(error).strip().splitlines() or [type(error).__name__])[0], uri)
        if reading:  # without its cause, whose text may hold a password
            raise TrackingError(f"cannot read from MLflow at {spoken(uri)}: {reason}") from None
        raise TrackingError(unreachable(uri, store, reason)) from None


def unreachable(uri: str, store: Path, reason: str) -> str:
    """Message for results that could not be logged."""
    return (
        f"cannot log to MLflow at {spoken(uri)}: {reason}\n"
        f"  nothing is lost: the results wait in {store}.\n"
        "  send them later: casl sync"
    )


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file; the kernel releases it if the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def open_client(uri: str, artifacts: Path) -> Any:
    """An MlflowClient that is known to answer. Call inside `quiet_mlflow` and `tracking_errors`.

    Args:
        uri: http(s) address of a server, or a database such as sqlite:////folder/mlflow.db (made if missing).
        artifacts: folder for files of a database's own default experiment.
    """
    from mlflow import MlflowClient

    check_address(uri)
    if uri.startswith(SQLITE):
        make_database(uri, artifacts)
        _check_free(database(uri))
    elif is_server(uri):
        _check_up(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def is_server(uri: str) -> bool:
    """Whether an address is that of a server; all others are databases."""
    return uri.startswith(("http://", "https://"))


def database(uri: str) -> Path:
    """The file behind an sqlite:/// address."""
    return Path(uri.removeprefix(SQLITE))


def is_damaged(path: Path) -> bool:
    """Whether a file is no SQLite database, or one with damaged pages; False where that cannot be told."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
    except sqlite3.OperationalError:  # held by another process
        return False
    except sqlite3.DatabaseError:
        return True


def make_database(uri: str, artifacts: Path) -> None:
    """Create an SQLite database with MLflow's tables unless it exists.

    The first open of an empty database runs every migration, for seconds; two processes at once, or a kill in between,
    would leave it broken for good. So one process at a time makes it aside and moves it into place whole.
    """
    path = database(uri)
    lock = path.with_name(f"{path.name}.lock")
    with exclusive(lock):
        if path.exists():
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            SqlAlchemyStore(f"{SQLITE}{aside}", str(artifacts)).engine.dispose()
            with closing(sqlite3.connect(aside)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            lock.write_text(uuid.uuid4().hex)
            aside.replace(path)
        finally:
            for left in path.parent.iterdir():  # ours, and what a killed attempt left: the lock is ours
                if left.name.startswith(f".{path.name}."):
                    left.unlink(missing_ok=True)


def identity(uri: str) -> str | None:
    """What tells a database from one made in its place later; None if it is missing, "" for a server."""
    if not uri.startswith(SQLITE):
        return ""
    path = database(uri)
    lock = path.with_name(f"{path.name}.lock")
    return (lock.read_text() if lock.exists() else "") if path.exists() else None


def _check_free(path: Path) -> None:
    """Fail within seconds if another process holds the database; MLflow itself would retry for minutes."""
    with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def _check_up(uri: str) -> None:
    parts = _split(uri)
    request = urllib.request.Request(f"{_nameless(uri).rstrip('/')}/health")  # urllib takes a user for the host
    if parts.username is not None:
        told = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(told.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S):
            pass
    except urllib.error.HTTPError:
        return  # a server answers; MLflow itself reports what is wrong
    except (HTTPException, ValueError) as error:  # ValueError: it sends on to an address that is none
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConnectionError(f"what answers there is no MLflow server ({said!r:.80})") from error


def check_address(uri: str) -> None:
    """Refuse the address of a server that none can have, before any work whose results are to be sent there.

    Raises:
        TrackingError: MLflow knows no such kind; its host or its port cannot be, or it has letters that are written
            otherwise in an address.
    """
    if wrong := _wrong_with(uri) if is_server(uri) else _wrong_kind(uri):
        raise TrackingError(f"the address of MLflow, {spoken(uri)}, is none: {wrong}.\n  name another with --mlflow.")


def _wrong_kind(uri: str) -> str:
    """Why MLflow will take no address that begins so; empty if it may. What has no :// is a folder or a word of its."""
    scheme, mark, _ = uri.partition("://")
    kind = scheme.partition("+")[0]  # postgresql+psycopg://
    offered = (point.name for point in metadata.entry_points(group="mlflow.tracking_store"))
    if mark and kind not in _KINDS and kind not in offered:
        return unknown("beginning", kind, _KINDS).removesuffix(".")
    if kind == "sqlite" and mark and not uri.partition("://")[2].startswith("/"):
        return f"a database in a file has three slashes, {SQLITE}folder/mlflow.db"
    return ""


def _wrong_with(uri: str) -> str:
    """Why an address is none; empty if it is one. What it says of a user is not looked at."""
    parts = _split(uri)
    user = parts.netloc.rpartition("@")[0]
    host = parts.hostname or ""
    if not host:
        return "it names no host"
    if strange := [c for c in uri.replace(f"{user}@", "", 1) if not "!" <= c <= "~" and c.lower() not in host]:
        return f"it has {strange[0]!r}, which is written %.. in an address"
    if strange := [c for c in host if not c.isalnum() and c not in "-._:%"]:
        return f"its host has {strange[0]!r}"
    try:
        host.encode("idna")
    except UnicodeError:
        return f"there is no host {host!r:.80}"
    try:
        return "" if parts.port != 0 else "there is no port 0"
    except ValueError as error:
        return str(error)


def spoken(uri: str) -> str:
    """An address as it may be printed: with dots in the place of a user and a password."""
    user, at, host = _split(uri).netloc.rpartition("@")
    return uri.replace(f"//{user}{at}{host}", f"//...@{host}", 1) if at else uri


def pages(uri: str, port: int) -> str:
    """Address of the root of MLflow's pages: that of a server, without its user, or that at which `casl ui` serves."""
    if not is_server(uri):
        return f"http://{HOST}:{port}"
    return _nameless(uri).rstrip("/")


def _nameless(uri: str) -> str:
    parts = _split(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _without_user(text: str, uri: str) -> str:
    """What others said about an address, without the user and the password in it."""
    user = _split(uri).netloc.rpartition("@")[0]
    for secret in (user, unquote(user), user.partition(":")[2], unquote(user.partition(":")[2])):
        if len(secret) >= SECRET:
            text = text.replace(secret, "...")
    return text


def _split(uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise TrackingError(f"the address of MLflow is none: {error}.\n  name another with --mlflow.") from error


def ui_command(store: Path, uri: str | None, port: int) -> tuple[list[str], dict[str, str]]:
    """The command that serves a store's MLflow pages on this machine; call after a sync.

    Args:
        store: the store's folder. uri: None, or the database that `Mirror` was given.

    Returns:
        Arguments of the process, and variables to add to its environment: the database, whose address may hold a
        password, while all users of a machine can read the arguments of its processes; one worker and no job execution,
        a quarter of the memory and start-up time of MLflow's defaults; no lines but warnings, and none of these about
        what MLflow itself imports.

    Raises:
        TrackingError: uri is a server already, or the database cannot be made.
    """
    where = uri or default_uri(store)
    if is_server(where):
        raise TrackingError(f"MLflow runs at {spoken(where)} already; open that address in a browser.")
    artifacts = artifact_root(store)
    if where.startswith(SQLITE) and not database(where).exists():
        with quiet_mlflow(), tracking_errors(where, store):
            make_database(where, artifacts)
    command = [sys.executable, "-m", "mlflow", "server", "--artifacts-destination", artifacts.as_uri()]
    command += ["--host", HOST, "--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning"]
    databases = dict.fromkeys(("MLFLOW_BACKEND_STORE_URI", "MLFLOW_REGISTRY_STORE_URI"), where)
    unsaid = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), _OF_MLFLOW)))
    return command, {**_QUIET, **databases, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": unsaid}


def default_uri(store: Path) -> str:
    """A database inside the store.

    Raises:
        TrackingError: the store's path has a question mark, at which such an address ends.
    """
    if "?" in str(store.resolve()):
        raise TrackingError(
            f"the path {store.resolve()} has a '?', where the address of MLflow's database in this store would end.\n"
            "  name another folder with --store, or a server with --mlflow."
        )
    return f"{SQLITE}{store.resolve() / 'mlflow.db'}"


def artifact_root(store: Path) -> Path:
    """Where a database's artifacts go; a server decides for itself."""
    return store.resolve() / ARTIFACTS
