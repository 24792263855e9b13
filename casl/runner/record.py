"""The record of a committed stage, result.json: what it must hold to count as a result, and reading it."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from casl.errors import StoreError
from casl.files import read_json

LARGEST = 1 << 64  # of whole numbers; JSON has them of any length, and floating point only some hundred digits
DEEPEST = 100  # lists and objects inside one another; the frozen stages of a long chain are some twenty deep
DIGEST = "sha256"  # of a record's other values; results of earlier versions have none
_HEX = re.compile(r"[0-9a-f]{64}")


def read_record(path: Path) -> Mapping[str, Any]:
    """A record by its path, parsed once a process; not to be changed.

    Raises:
        StoreError: it is missing, unreadable, or no record.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise StoreError(f"{path} is damaged or unreadable ({error}).") from error
    return _parsed(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1 << 13)  # some ten kilobytes each
def _parsed(path: Path, changed_ns: int, size: int) -> Mapping[str, Any]:
    del changed_ns, size  # tell one content from another
    store = shlex.quote(str(path.parent.parent.parent))
    advice = (
        f"  `casl store verify --quarantine --store {store}` moves it out of the way; `casl run` computes it again."
    )
    try:
        record = read_json(path)
    except StoreError as error:
        raise StoreError(f"{error}\n{advice}") from error
    if problem := problem_of(record) or problem_of_digest(record):
        raise StoreError(f"{path} is damaged: {problem}.\n{advice}")
    return dict(record)


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as JSON values, with the SHA-256 of them in hexadecimal as one more.

    `read_record` computes it again: a number that was edited, or a bit that was flipped, makes the record damaged. An
    edit that also replaces the digest goes unnoticed.
    """
    values: dict[str, Any] = json.loads(json.dumps({**record}))  # as they will be read
    return {**values, DIGEST: _digest_of(values)}


def problem_of_digest(record: Mapping[str, Any]) -> str:
    """Why a sound record is not as it was written; "" if it is, or if it has no digest."""
    same = DIGEST not in record or record[DIGEST] == _digest_of(record)
    return "" if same else "its content differs from what was committed"


def _digest_of(record: Mapping[str, Any]) -> str:
    values = {name: value for name, value in record.items() if name != DIGEST}
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_sound(path: Path) -> bool:
    """Whether there is a record that can be read."""
    try:
        read_record(path)
    except StoreError:
        return False
    return True


def problem_of(record: Any) -> str:
    """What keeps JSON values from being a record of a stage; "" if nothing does."""
    if not isinstance(record, dict):
        return f"a record of a stage is an object, and this is {_kind(record)}"
    if wrong := _problem_of_values(record):
        return wrong
    for name, legal in _REQUIRED.items():
        if name not in record:
            return f"it has no {name!r}"
        if not legal(record[name]):
            return f"its {name!r} is of a wrong type or form"
    for name, legal in _OPTIONAL.items():
        if name in record and not legal(record[name]):
            return f"its {name!r} is of a wrong type or form"
    return ""


def _kind(value: object) -> str:
    names = {list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _problem_of_values(record: object) -> str:
    level: list[Any] = [record]
    for _ in range(DEEPEST + 1):
        inner = [v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        if not inner:
            return ""
        level = [v for values in inner for v in values]
        if any(type(v) is int and not -LARGEST < v < LARGEST for v in level):
            return "it has a whole number of more than 64 bits"
    return f"its values are nested more than {DEEPEST} deep"


def _text(value: object) -> bool:
    return isinstance(value, str)


def _hex(value: object) -> bool:
    return isinstance(value, str) and bool(_HEX.fullmatch(value))


def _digest(value: object) -> bool:
    return value == "" or _hex(value)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(value: Any) -> bool:
    return _number(value) and math.isfinite(value) and value >= 0


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _when(value: object) -> bool:
    """ISO 8601."""
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _object(legal: Callable[[Any], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(legal, value.values()))


def _list(legal: Callable[[Any], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(legal, value))


def _file(value: object) -> bool:
    return isinstance(value, dict) and _hex(value.get("sha256")) and _count(value.get("bytes"))


def _facts(value: object) -> bool:
    return isinstance(value, dict) and _count(value.get("started_at", 0)) and _count(value.get("images", 0))


def _stage(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str)


def _attempt(value: object) -> bool:
    return isinstance(value, dict) and _seconds(value.get("seconds"))


_REQUIRED: Mapping[str, Callable[[Any], bool]] = {
    "key": _hex,
    "stage": _stage,
    "files": _object(_file),
    "metrics": _object(_number),
    "seconds": _seconds,
    "started": _when,
    "host": _text,
    "commit": _text,
    "dirty": lambda value: isinstance(value, bool),
    "versions": _object(_text),
    "facts": _facts,
}
_OPTIONAL: Mapping[str, Callable[[Any], bool]] = {  # results of earlier versions lack them
    DIGEST: _hex,
    "source": _digest,
    "diff": _digest,
    "version": _count,
    "inputs": _list(_text),
    "resume": _text,
    "begins_at": _count,
    "attempts": _list(_attempt),
    "arithmetic": _object(_text),
    "left_out": _list(_text),
}
