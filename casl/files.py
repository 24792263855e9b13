"""Files that are either whole or absent: written aside, synced, renamed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from casl.errors import SpecError, StoreError, nearest

PACKAGE = Path(__file__).resolve().parent
SYNC_THREADS = 16
HELD = ".held"
_ASIDE = re.compile(r"\.[0-9a-f]{8}\.tmp")
FULL = "the disk is full. Free some space and repeat the command; nothing finished is lost."


@contextmanager
def disk_errors(what: str, path: Path, option: str = "") -> Iterator[None]:
    """Turn a full or read-only disk into a StoreError that says which file and what to do.

    option: what names the place on the command line, where that is known: "--store (make: STORE=)".
    """
    try:
        yield
    except OSError as error:
        choose = f"Choose another place{f' with {option}' if option else ''}"
        if is_full(error):
            advice = FULL
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            advice = f"the folder cannot be written. {choose}, or change its permissions."
        else:
            advice = f"{error.strerror or error}. {choose}."
        raise StoreError(f"cannot {what} {path}: {advice}") from error


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk is full, also one of a library that has no number for it."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT))


@contextmanager
def if_writable() -> Iterator[None]:
    """Go without what a block writes only to spare work later, where its place cannot be written: that is slow and not
    wrong. A full disk is still told, since nothing else will find room there either.
    """
    try:
        yield
    except (OSError, StoreError) as error:
        if is_full(error.__cause__ or error):
            raise


def write_atomic(path: Path, data: bytes, option: str = "") -> None:
    """Replace a file's content in one step; a reader sees the old or the new, a crash leaves one of both.

    option: as of `disk_errors`.

    Raises:
        StoreError: the disk is full or read-only; or a folder, a pipe or a device is there, which stays.
    """
    with disk_errors("write", path, option):
        if path.is_dir():
            raise OSError(errno.EISDIR, "it is a folder, where a file is meant")
        if path.exists() and not path.is_file():  # renaming would put a file in the place of /dev/null
            raise OSError(errno.EEXIST, "what is there is no file but a pipe or a device")
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
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


def refuse_foreign(
    path: Path, is_ours: Callable[[Path], bool], what: str, way_out: str = "name another file with --out"
) -> None:
    """Refuse to write a file where anything is but a file that would be written there: a person's would be lost.

    Args:
        is_ours: whether a file, a regular one, is such as would be written.
        what: such a file, after "no": "archive of `casl store export`".
        way_out: what a user does who means another place.

    Raises:
        SpecError: another file is there, a folder, a link, a pipe or a device; it stays as it is.
    """
    if path.is_symlink():
        there = f"is a link to {path.readlink()}"
    elif path.is_dir():
        there = "is a folder"
    elif not path.exists():
        return
    elif not path.is_file():  # opening a pipe waits for ever, and a device may have no end
        there = "is no file but a pipe or a device"
    elif is_ours(path):
        return
    else:
        there, way_out = f"is there and is no {what}", f"{way_out}, or remove this one"
    raise SpecError(f"{path} {there}, so it is left as it is.\n  {way_out}.")


def begins_with(path: Path, beginning: bytes) -> bool:
    """Whether a file begins so; one that cannot be read does not."""
    try:
        with path.open("rb") as file:
            return file.read(len(beginning)) == beginning
    except OSError:
        return False


def write_json(path: Path, value: object) -> None:
    """Atomically write JSON, sorted and indented so that people can read and diff it."""
    write_atomic(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


class JsonError(ValueError):
    """Text that is JSON by its letters, and yet cannot be taken: its message is one sentence without a full stop."""


def json_value(text: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        JsonError: nested too deep, a whole number of thousands of digits, one name twice in an object, or more than
            fits in memory.
        ValueError: it is no JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (json.JSONDecodeError, UnicodeDecodeError, JsonError):
        raise
    except ValueError:  # all else that json raises is Python's limit for the digits of one number
        raise JsonError(f"a number in it has more than {sys.get_int_max_str_digits()} digits") from None
    except RecursionError:
        raise JsonError("its values are nested too deep") from None
    except MemoryError:
        raise JsonError("its values do not fit in the memory of this machine") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Python would keep the last of two values of one name, and say nothing of the others."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise JsonError(f"the name {twice!r:.80} stands in one object twice")
    return found


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        StoreError: unreadable or damaged; the message names the file.
    """
    try:
        return json_value(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is damaged or unreadable ({error}).") from error


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


def instead(path: Path) -> str:
    """A line about what is at a path where no file is, or else beside it under a name like it; empty if nothing is."""
    if path.is_symlink() and not path.exists():
        return f"\n  it is a link to {path.readlink()}, and nothing is there."
    if path.exists() and not path.is_dir():  # opening a pipe would wait for ever
        return "\n  what is there is no file but a pipe or a device."
    there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = nearest(path.name, there)
    return f"\n  did you mean {path.with_name(near)}?" if near else ""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder, for what is not whole yet, and hold it while the block runs: `is_left` tells others that it is in
    use. The kernel lets go of it with the process, however that ends. Its file HELD is no part of what is made there.
    """
    folder.mkdir(parents=True)
    handle = os.open(folder / HELD, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with suppress(OSError):  # a file system without locks: what is left there is never told from what is in use
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def is_left(folder: Path) -> bool:
    """Whether a folder of `held` was left by a process that is gone."""
    try:
        handle = os.open(folder / HELD, os.O_RDWR)
    except FileNotFoundError:  # an earlier version held none
        return folder.is_dir()
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def inside(folder: Path) -> Path:
    """A new name in a folder for what fills it once it is whole; `remove_left` knows it."""
    return folder / f".{uuid.uuid4().hex[:8]}.tmp"


def remove_left(folder: Path) -> None:
    """Remove what killed processes have left in a folder that they were to fill, so that it is as empty as it looks."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if _ASIDE.fullmatch(path.name) and not path.is_symlink() and is_left(path):
            shutil.rmtree(path, ignore_errors=True)


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


@cache
def own_code() -> str:
    """What tells this version of casl from any other, for what is kept only as long as the code is the same."""
    found = hashlib.sha256(sys.version.encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        found.update(f"{path.relative_to(PACKAGE)} {sha256(path)}\n".encode())
    return found.hexdigest()


def state_of(paths: Iterable[Path]) -> str:
    """Digest of names, sizes and times of files: another one after any of them was written, added or removed."""
    return hashlib.sha256(repr([_look(path) for path in sorted(paths)]).encode()).hexdigest()


def _look(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:  # removed since the folder was listed, which is a change too
        return str(path), -1, -1
    return str(path), found.st_size, found.st_mtime_ns
