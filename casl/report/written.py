"""Pages on the disk: written always, or only where other ones lie there.

Beside pages lies <folder>/.written/<name>, which says what they were made from and what was in each file, as digests.
They are written again where either is another: after other results, options or code, and where one was edited or
removed. The record follows the pages, each file in one step. So a kill, or two commands at once, cost one more
writing, and no page counts as what it is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from casl import catalog
from casl.files import own_code, recalled, sha256, write_atomic, write_json

RECORDS = ".written"
OPTION = "--reports (make: REPORTS=)"
DRAWING = ("matplotlib", "numpy", "pillow")

Contents = Mapping[str, str | bytes]  # by file name
Write = Callable[[Path, str, object, Callable[[], Contents]], list[Path]]


def suffixed(name: str, contents: Contents) -> Contents:
    """Contents by the suffixes of files of one name -> by the names of these files."""
    return {f"{name}.{suffix}": content for suffix, content in contents.items()}


def write_files(folder: Path, contents: Contents) -> list[Path]:
    """Write files by name; each is whole or as it was.

    Raises:
        StoreError: the folder cannot be written.
    """
    for name, content in contents.items():
        write_atomic(folder / name, _bytes(content), OPTION)
    return [folder / name for name in contents]


def anew(folder: Path, name: str, inputs: object, make: Callable[[], Contents]) -> list[Path]:
    """Write what `make` gives, whatever lies there; arguments as of `renew`."""
    del name, inputs
    return write_files(folder, make())


def renew(folder: Path, name: str, inputs: object, make: Callable[[], Contents]) -> list[Path]:
    """Write what `make` gives, unless the same lies there.

    Args:
        name: of these pages together, its own in the folder.
        inputs: all that they follow from, but for the code; its repr has to tell everything.

    Returns:
        Paths of the pages, written or not.

    Raises:
        StoreError: the folder cannot be written.
    """
    record = folder / RECORDS / name
    made_of = hashlib.sha256(f"{code()} {catalog.names('metric')!r} {inputs!r}".encode()).hexdigest()
    kept = recalled(record)
    if kept.get("made_of") == made_of and (files := _as_kept(folder, kept.get("files"))):
        return files
    contents = make()
    written = write_files(folder, contents)
    digests = {file: hashlib.sha256(_bytes(content)).hexdigest() for file, content in contents.items()}
    write_json(record, {"made_of": made_of, "files": list(digests.items())})
    return written


def _as_kept(folder: Path, files: Any) -> list[Path]:
    """Paths of the recorded files, none where one is not as it was written."""
    try:
        digests = {folder / file: digest for file, digest in files}
        return list(digests) if all(sha256(path) == digest for path, digest in digests.items()) else []
    except (TypeError, ValueError, OSError):  # another shape than is written here; a page that is gone
        return []


@cache
def code() -> str:
    """What tells this version of casl and of what draws from any other."""
    return f"{own_code()} {[version(package) for package in DRAWING]}"


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
