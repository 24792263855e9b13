"""Garbage collection: results that no study needs are removed, and those that a study needs stay.

A study is remembered when it is run or reported: roots/<study>.json holds the stages its tables ask for, of every seed,
finished or not. Everything reachable from those is kept: their inputs, and the shared beginnings they came from. Losing
anything else can cost time and never a wrong number, since a missing result is computed again.

Removal renames into trash/ first and looks at the roots once more, so that a study that starts meanwhile gets its
results back whole.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casl.errors import StoreError, unknown
from casl.files import disk_errors, is_left, read_json, write_json
from casl.runner.moved import SUPERSEDED, in_progress
from casl.runner.plan import Plan
from casl.runner.results import beginnings_of, inputs_of, records
from casl.runner.store import INCOMING, Store

ROOTS, TRASH, QUARANTINE = "roots", "trash", "quarantine"


@dataclass(frozen=True)
class Root:
    """What a study needs. asked: stage -> tables that ask for it.

    continued: shared beginnings that unfinished trainings will continue from.
    """

    study: str
    asked: Mapping[str, Sequence[str]]
    continued: Sequence[str]


@dataclass(frozen=True)
class Garbage:
    """A folder that no study needs.

    why: "unasked", "beginning", "unfinished", "incoming", "quarantine", "superseded" or "trash".
    """

    name: str
    why: str
    path: Path
    bytes: int


def remember_roots(store: Store, study: str, plan: Plan) -> None:
    """Note what a study's tables ask for, before anything of it is read or run. Replaces what it asked for before.

    Args:
        study: name made of all that tells one study from another: tables, profile, data.
        plan: of all its tables and seeds.
    """
    asked = {name: sorted({use.table for use in places}) for name, places in plan.uses.items()}
    continued = {name for name, node in plan.nodes.items() if not node.asked}
    continued |= {node.resume.name for node in plan.nodes.values() if node.resume is not None and not node.done}
    record = {"study": study, "asked": asked, "continued": sorted(continued - asked.keys())}
    path = _root_path(store, study)
    if not _says(path, record):
        write_json(path, record)


def _says(path: Path, record: Mapping[str, Any]) -> bool:
    try:
        return bool(path.exists() and read_json(path) == record)
    except StoreError:  # damaged; what the study asks for is written anew
        return False


def forget_roots(store: Store, study: str) -> None:
    """Forget a study, so that its results are no longer kept for it.

    Raises:
        StoreError: no such study; the message lists them.
    """
    _check_remembered(store, study)
    _root_path(store, study).unlink()


def _check_remembered(store: Store, study: str) -> None:
    if study not in (known := [root.study for root in roots(store)]):
        raise StoreError(
            unknown("study", study, known, f"{store.root} remembers the studies that were run or reported.")
        )


def roots(store: Store) -> list[Root]:
    """Every remembered study.

    Raises:
        StoreError: one is damaged; nothing is collected then.
    """
    folder = store.root / ROOTS
    return [_root(path) for path in sorted(folder.glob("*.json"))] if folder.exists() else []


def _root(path: Path) -> Root:
    advice = "Remove it, and report its study again: what only that study needs is not kept until then."
    try:
        record = read_json(path)
    except StoreError as error:
        raise StoreError(f"{error}\n  {advice}") from error
    if not _is_root(record):
        raise StoreError(f"{path} is damaged: it does not say what a study asks for.\n  {advice}")
    return Root(record["study"], record["asked"], record["continued"])


def _is_root(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("study"), str)
        and isinstance(asked := value.get("asked"), dict)
        and all(map(_is_names, [*asked.values(), value.get("continued")]))
    )


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def tables_of(store: Store) -> dict[str, list[str]]:
    """Stage -> the tables of remembered studies that ask for it."""
    found: dict[str, set[str]] = {}
    for root in roots(store):
        for name, tables in root.asked.items():
            found.setdefault(name, set()).update(tables)
    return {name: sorted(tables) for name, tables in found.items()}


def find(
    store: Store, *, segments: bool = False, leftovers: bool = False, forgotten: Sequence[str] = ()
) -> list[Garbage]:
    """What could be removed.

    Args:
        segments: also finished beginnings that no table asks for and no unfinished training of a study waits for.
            Longer trainings that come later start at their first iteration then.
        leftovers: also unfinished work that no process holds and no study asks for, what killed imports unpacked,
            quarantine and superseded results.
        forgotten: studies for which nothing is kept, as if they were forgotten.

    Raises:
        StoreError: no study is remembered, so everything would go, or not one of `forgotten`.
    """
    for study in forgotten:
        _check_remembered(store, study)
    if not (known := [root for root in roots(store) if root.study not in forgotten]):
        raise StoreError(
            f"{store.root} remembers no study, so nothing in it could be kept.\n"
            "  run or report the tables whose results you need first: casl report TABLE --store ..."
        )
    kept, wanted = _kept(store, known, segments=False), _kept(store, known, segments=segments)
    found = [
        Garbage(name, "unasked" if name not in kept else "beginning", store.folder(name), _size(store.folder(name)))
        for name in store.names()
        if name not in wanted
    ]
    return found + (list(_leftovers(store, wanted)) if leftovers else []) + _moved_in(store, TRASH)


def remove(store: Store, garbage: Iterable[Garbage], *, segments: bool = False) -> list[Garbage]:
    """Remove what `find` found, unless it is needed by now.

    Returns:
        What was removed.

    Raises:
        StoreError: a stage is in progress that no remembered study asks for, so what it reads is not known.
    """
    wanted = _kept(store, roots(store), segments=segments)
    if stray := in_progress(store, but=wanted):
        raise StoreError(
            f"{stray[0]} is in progress in {store.root}; no remembered study asks for it: what it reads is unknown.\n"
            "  wait until it is done, and repeat the command."
        )
    moved = [(g, place) for g in garbage if (place := _to_trash(store, g)) is not None]
    wanted = _kept(store, roots(store), segments=segments, besides={g.name: p for g, p in moved if _is_result(g)})
    removed = []
    for item, place in moved:
        if _is_result(item) and item.name in wanted:
            _give_back(place, item.path)
        else:
            shutil.rmtree(place, ignore_errors=True)
            removed.append(item)
    return removed


def _kept(
    store: Store, known: Sequence[Root], *, segments: bool, besides: Mapping[str, Path] | None = None
) -> set[str]:
    """Names to keep.

    Args:
        segments: whether beginnings that finished trainings came from may go.
        besides: results that lie elsewhere just now: name -> folder.
    """
    stored = records(store, besides=besides)
    kept: set[str] = set()
    waiting = [name for root in known for name in (*root.asked, *root.continued)]
    while waiting:
        if (name := waiting.pop()) in kept:
            continue
        kept.add(name)
        if name in stored:
            waiting += inputs_of(name, stored[name]) or ()
            waiting += () if segments else beginnings_of(name, stored[name], store)
    return kept


def _is_result(item: Garbage) -> bool:
    return item.why in ("unasked", "beginning")


def _to_trash(store: Store, item: Garbage) -> Path | None:
    """Where the folder went; None if it was gone, or a process began to work on the stage."""
    place = store.root / TRASH / f"{item.name}.{uuid.uuid4().hex[:8]}"
    if item.why == "trash":
        return item.path
    lease = store.leases.acquire(item.name) if item.why == "unfinished" else None
    if item.why == "unfinished" and lease is None:
        return None
    with disk_errors("move", item.path):
        place.parent.mkdir(exist_ok=True)
        try:
            item.path.replace(place)
        except FileNotFoundError:
            return None
        finally:
            if lease is not None:
                lease.release()
    return place


def _give_back(place: Path, target: Path) -> None:
    with suppress(OSError):  # it was computed again meanwhile, and this copy is not needed
        place.rename(target)
        return
    shutil.rmtree(place, ignore_errors=True)


def _leftovers(store: Store, wanted: Collection[str]) -> Iterator[Garbage]:
    for path in sorted(store.working.iterdir()):
        needed = path.name in wanted and not store.is_done(path.name)
        if not needed and not store.leases.is_held(path.name):
            yield Garbage(path.name, "unfinished", path, _size(path))
    yield from (item for item in _moved_in(store, INCOMING) if is_left(item.path))
    yield from _moved_in(store, QUARANTINE)
    yield from _moved_in(store, SUPERSEDED)


def _moved_in(store: Store, folder: str) -> list[Garbage]:
    path = store.root / folder
    inside = sorted(path.iterdir()) if path.exists() else []
    return [Garbage(p.name.partition(".")[0], folder, p, _size(p)) for p in inside]


def _root_path(store: Store, study: str) -> Path:
    readable = re.sub(r"[^a-z0-9]+", "-", study.lower()).strip("-")[:60]
    return store.root / ROOTS / f"{readable}-{hashlib.sha256(study.encode()).hexdigest()[:8]}.json"


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another process removed it
            total += path.stat().st_size if path.is_file() else 0
    return total
