"""The name under which a data set on disk has its reports, its MLflow experiment and its registered models.

A set is called as its folder is. Another set whose folder has the same name is called with the first digits of its
content after it, so that two sets never share a place. Labels that are corrected in place keep theirs.

    <store>/sets.json      name -> its folder, and digests of what it held so far, the present one last
    <reports>/data.json    the data set of that folder of reports, as casl.spec.described has it
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from casl.errors import DataError, StoreError, nearest
from casl.files import read_json_object, recalled, write_json
from casl.spec.data_sets import FolderData
from casl.spec.described import content, described
from casl.spec.profile import Profile
from casl.spec.run import REPORTED
from casl.tracking.server import exclusive

SETS = "sets.json"
DIGITS = 8


@dataclass(frozen=True)
class Placed:
    """A data set under its name in a store, and what a person should hear about that name."""

    data: FolderData
    said: tuple[str, ...] = ()


def check_folder(path: Path) -> None:
    """Check what a data set is said to be in.

    Raises:
        DataError: it is a file, or nothing is there; folders beside it whose names are alike are named.
    """
    if path.is_file():
        raise DataError(f"{path} is a file; a data set is a folder with annotations/ and images in it.")
    if path.exists():
        return
    beside = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    near = nearest(path.name, beside)
    meant = f"\n  did you mean {str(path.with_name(near))!r}?" if near else ""
    raise DataError(f"{path}: no such folder. A data set is a folder with annotations/ and images in it.{meant}")


def placed(data: FolderData, root: Path, store: Path) -> Placed:
    """The set under the name that the store has for it, chosen and remembered when it comes for the first time.

    Args:
        data: as opened from `root`.
        store: folder of the store.
    """
    digest, path = content(data), str(root.resolve())
    known = _known(store)
    if (name := _name(known, data.name, digest, path)) and known[name]["contents"][-1] == digest:
        return _called(data, name, known)
    if not os.access(store, os.W_OK):  # nothing can be remembered there, and nothing is measured with it either
        return _called(data, name or _free(known, data.name, digest), known)
    with exclusive(store / ".sets.lock"):
        known = _known(store)
        name = _name(known, data.name, digest, path)
        edited = bool(name)
        name = name or _free(known, data.name, digest)
        record = known.setdefault(name, {"root": path, "name": data.name, "contents": []})
        record["contents"] = [*(d for d in record["contents"] if d != digest), digest]
        write_json(store / SETS, known)
    found = _called(data, name, known)
    said = f"  {name} is not as it was: what was measured before leaves its reports and its places in MLflow"
    return replace(found, said=(*found.said, said)) if edited else found


def claim_reports(folder: Path, profile: Profile, store: Path) -> None:
    """Say in a folder of reports which data they are of.

    Raises:
        DataError: it holds reports of another set.
    """
    data = profile.data
    if not isinstance(data, FolderData):
        return
    digest, path = content(data), folder / REPORTED
    found = recalled(path)  # one that is damaged is written anew, as all files of a folder of reports are
    was = found.get("content", digest)
    if was != digest and was not in _known(store).get(data.name, {"contents": []})["contents"]:
        raise DataError(
            f"{folder} holds reports of another data set that is called {data.name}, of content {was[:DIGITS]};\n"
            f"  this one has content {digest[:DIGITS]}. Write its reports into another folder: --reports FOLDER."
        )
    if found != (now := described(data)):
        write_json(path, now)


def _known(store: Path) -> dict[str, dict[str, Any]]:
    """Names of the sets of a store.

    Raises:
        StoreError: the file is damaged.
    """
    path = store / SETS
    try:
        known = read_json_object(path) if path.exists() else {}
        if wrong := next((name for name, record in known.items() if not _is_sound(record)), None):
            raise StoreError(f"{path} is damaged: of {wrong!r} it says {known[wrong]!r:.80}.")
    except StoreError as error:
        advice = "remove the file: sets are then called as their folders are, in the order in which they come."
        raise StoreError(f"{error}\n  {advice}") from error
    return known


def _is_sound(record: Any) -> bool:
    """Whether a set is remembered as `placed` writes it."""
    if not isinstance(record, dict) or not all(isinstance(record.get(field), str) for field in ("root", "name")):
        return False
    contents = record.get("contents")
    return isinstance(contents, list) and bool(contents) and all(isinstance(digest, str) for digest in contents)


def _name(known: dict[str, dict[str, Any]], name: str, digest: str, path: str) -> str | None:
    """The name of a set whose folder has this name: that of the same content, else of the same folder."""
    alike = {n: k for n, k in known.items() if k["name"] == name}
    same = [n for n, k in alike.items() if k["contents"][-1] == digest]
    return next(iter([*same, *(n for n, k in alike.items() if k["root"] == path)]), None)


def _free(known: dict[str, dict[str, Any]], name: str, digest: str) -> str:
    """The name of a set that comes for the first time."""
    return name if name not in known else f"{name}-{digest[:DIGITS]}"


def _called(data: FolderData, name: str, known: dict[str, dict[str, Any]]) -> Placed:
    if name == data.name:
        return Placed(data)
    first = known[data.name]["root"] if data.name in known else ""
    said = f"  another set called {data.name} is known here, {first}: this one is {name} in reports and in MLflow"
    return Placed(replace(data, name=name), (said,))
