"""Reading the records of committed stages: inputs, beginning, version and source, which Run does not have.

Results of earlier versions recorded none of these; what can be found from their fields is, the rest is unknown.
"""

from __future__ import annotations

import difflib
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from casl.errors import SpecError, StoreError
from casl.files import read_json
from casl.runner.provenance import SOURCES
from casl.runner.record import read_record
from casl.runner.source import changed_files, digest_of, source_of
from casl.runner.store import Store
from casl.spec.freeze import thaw
from casl.spec.kinds import Train
from casl.spec.run import RESULT
from casl.spec.schedule import is_beginning
from casl.spec.stage import Stage, split_name

LOST = "(which files, the store does not know any more)"


def record_of(store: Store, name: str) -> Mapping[str, Any]:
    """The record of a committed stage; not to be changed.

    Raises:
        StoreError: it is damaged, or was removed meanwhile.
    """
    return read_record(store.folder(name) / RESULT)


def records(
    store: Store, names: Iterable[str] | None = None, besides: Mapping[str, Path] | None = None
) -> dict[str, Mapping[str, Any]]:
    """Records by name; damaged ones are left out, `casl store verify` names them.

    Args:
        names: default all.
        besides: also these, which lie elsewhere: name -> folder.
    """
    folders = {n: store.folder(n) for n in (store.names() if names is None else names)} | dict(besides or {})
    return readable({n: folder / RESULT for n, folder in folders.items()})


def readable(paths: Mapping[str, Path]) -> dict[str, Mapping[str, Any]]:
    """Records by name, of those paths that can be read."""
    found = {}
    for name, path in paths.items():
        try:
            found[name] = read_record(path)
        except StoreError:
            continue
    return found


def stage_of(record: Mapping[str, Any]) -> Stage | None:
    """The stage as this version of casl understands it; None if it does not."""
    try:
        stage = thaw(record["stage"])
    except SpecError:
        return None
    return stage if isinstance(stage, Stage) else None


def kind_of(record: Mapping[str, Any]) -> str:
    """Name of the kind of the stage that a record is about."""
    return str(record["stage"].get("type", "")).lower()


def inputs_of(name: str, record: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names of the stages a result was made from; None where neither its record nor its fields tell."""
    if "inputs" in record:
        return tuple(record["inputs"])
    stage = stage_of(record)
    return tuple(parent.name for parent in stage.inputs()) if stage is not None and stage.name == name else None


def beginnings_of(name: str, record: Mapping[str, Any], store: Store) -> tuple[str, ...]:
    """Names of the stored states it continued from; of an older result, all those it may have continued from."""
    if "resume" in record:
        return (record["resume"],) if record["resume"] else ()
    stage = stage_of(record)
    if not isinstance(stage, Train) or not record.get("facts", {}).get("started_at", 0):
        return ()
    return tuple(n for n, s in store.family(stage).items() if n != name and is_beginning(s, stage.schedule))


def parents_of(name: str, record: Mapping[str, Any], store: Store) -> tuple[str, ...]:
    """All a result was made from, inputs and beginnings, as far as known."""
    return (*(inputs_of(name, record) or ()), *beginnings_of(name, record, store))


def users(store: Store) -> dict[str, list[str]]:
    """Name -> the stored results that were made from it directly."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, record in records(store).items():
        for parent in parents_of(name, record, store):
            found[parent].append(name)
    return dict(found)


def closure(names: Iterable[str], links: Mapping[str, Iterable[str]]) -> list[str]:
    """Names and all that is reached from them, each once, the given ones first."""
    found: dict[str, None] = {}
    waiting = list(names)[::-1]
    while waiting:
        if (name := waiting.pop()) not in found:
            found[name] = None
            waiting.extend(links.get(name, ()))
    return list(found)


def find_stage(known: Iterable[str], asked: str, store: Path) -> str:
    """The one stage whose name or key begins so.

    Args:
        store: folder that the known ones are of, for the message.

    Raises:
        SpecError: none or several; the message names them, or those that look like it.
    """
    every = sorted(set(known))
    matches = [n for n in every if n.startswith(asked) or split_name(n).key.startswith(asked)]
    if asked in every or len(matches) == 1:
        return asked if asked in every else matches[0]
    if matches:
        shown = ", ".join(matches[:6]) + (" ..." if len(matches) > 6 else "")
        raise SpecError(f"{len(matches)} stages begin with {asked!r}: {shown}\n  give more of the name.")
    by_key = {split_name(n).key[: len(asked)]: n for n in every}
    near = [by_key.get(n, n) for n in difflib.get_close_matches(asked, [*every, *by_key], n=3, cutoff=0.5)]
    meant = f"  did you mean {' or '.join(dict.fromkeys(near))}?\n" if near else ""
    listed = f"`casl store ls --store {shlex.quote(str(store))}` lists them all"
    raise SpecError(f"no stage {asked!r} among the {len(every)} of {store}.\n{meant}  {listed}.")


def iterations_of(record: Mapping[str, Any], total: int) -> int:
    """Iterations that a training's recorded seconds stand for, of its total."""
    began = record.get("begins_at", record.get("facts", {}).get("started_at", 0))
    return total - int(began)


def changed_since(store: Store, record: Mapping[str, Any], stage: Stage) -> list[str]:
    """Files that differ between the code that made a result and the code of now; none if no source was recorded."""
    now, then = source_of(stage), str(record.get("source", ""))
    if then in ("", now.digest):
        return []
    listed = _listed(store.root / SOURCES / f"{then}.json")
    return changed_files(listed, now.files) if listed is not None else [LOST]


@lru_cache(maxsize=4096)
def _listed(path: Path) -> Mapping[str, str] | None:
    """The files of a source that the store keeps; None where it does not, or keeps something else in its place."""
    try:
        found = read_json(path)
    except StoreError:
        return None
    return found if isinstance(found, dict) and digest_of(found) == path.stem else None
