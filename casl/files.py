"""Files that are either whole or absent: written aside, synced, renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from casl.errors import StoreError

SYNC_THREADS = 16
FULL = "the disk is full. Free some space and repeat the command; nothing finished is lost."


@contextmanager
def disk_errors(what: str, path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a StoreError that says which file and what to do."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            advice = FULL
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            advice = (
                "the folder cannot be written. Choose another with STORE=... or REPORTS=..., or change its permissions."
            )
        else:
            advice = f"{error.strerror or error}. Choose another folder with STORE=... or REPORTS=..."
        raise StoreError(f"cannot {what} {path}: {advice}") from error


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk is full, also one of a library that has no number for it."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT))


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file's content in one step; a reader sees the old or the new, a crash leaves one of both."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with disk_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        sync_folder(path.parent)


def write_json(path: Path, value: object) -> None:
    """Atomically write JSON, sorted and indented so that people can read and diff it."""
    write_atomic(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        StoreError: unreadable or damaged; the message names the file.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is damaged or unreadable ({error}).") from error
    except RecursionError as error:
        raise StoreError(f"{path} is damaged or unreadable (its values are nested too deep).") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Parse a JSON file that holds an object.

    Raises:
        StoreError: unreadable, damaged, or it holds something else; the message names the file.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise StoreError(f"{path} is damaged: it holds no object but {type(found).__name__}.")
    return found


def recalled(path: Path) -> dict[str, Any]:
    """What a file remembers only to spare work: empty where it is absent or damaged, so that the work is done again."""
    try:
        return read_json_object(path)
    except StoreError:
        return {}


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(paths: Sequence[Path]) -> None:
    """Make files and folders durable, several at once: a commit of the file system's journal then serves many."""
    if len(paths) < 2:
        for path in paths:
            sync_folder(path)
        return
    with ThreadPoolExecutor(min(SYNC_THREADS, len(paths))) as threads:
        list(threads.map(sync_folder, paths))


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
