"""Moved results: stages whose source files changed since their result was made, while their VERSION did not.

Only the author of a change knows whether it moves numbers. So moved results stay valid, are listed, and are set aside
on request (`--rerun-moved`). A result that recorded no source, from an earlier version of casl, is never counted.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from casl.errors import StoreError
from casl.files import disk_errors, sync_folder
from casl.runner.plan import Plan
from casl.runner.results import changed_since, closure, records, stage_of, users
from casl.runner.store import Store
from casl.spec.stage import Stage, split_name

SUPERSEDED = "superseded"


def moved(plan: Plan, store: Store) -> dict[str, list[str]]:
    """Finished stages of a plan, and the stored beginnings it continues from, whose source changed since.

    Returns:
        name -> the files that changed, sorted; what depends on these stages is not listed.
    """
    found = {name: changed_since(store, record, stage) for name, (stage, record) in _finished(plan, store).items()}
    return {name: files for name, files in found.items() if files}


def unrecorded(plan: Plan, store: Store) -> list[str]:
    """Finished stages of a plan whose record does not say which code made them."""
    return [name for name, (_, record) in _finished(plan, store).items() if not record.get("source")]


def by_kind(found: Mapping[str, list[str]]) -> dict[str, int]:
    """Kind of stage -> how many of its results moved, most first."""
    return dict(Counter(split_name(name).kind for name in found).most_common())


def set_aside(names: Iterable[str], store: Store) -> list[str]:
    """Move results, and all that was made from them, to superseded/; they count as not run from then on.

    What depends on a result goes first: its key would stay the same, so an interruption must not leave it behind.

    Returns:
        Names in the order in which they were moved.

    Raises:
        StoreError: a stage is in progress that may be reading what would be moved.
    """
    if not (wanted := list(names)):
        return []
    if busy := in_progress(store):
        raise StoreError(
            f"{busy[0]} is in progress in {store.root} and may read what would be set aside.\n"
            "  wait until nothing runs there, and repeat the command."
        )
    return [name for name in _users_first(wanted, users(store)) if _move(name, store)]


def in_progress(store: Store, but: Collection[str] = ()) -> list[str]:
    """Stages that a process works on now, apart from those in `but`.

    A machine that died leaves its leases behind. They are told from live ones by a missing heartbeat, so this may take
    as long as the store waits for one.
    """
    busy = sorted(p.name for p in store.leases.root.iterdir() if p.name not in but and store.leases.is_held(p.name))
    deadline = time.monotonic() + 1.1 * store.leases.stale_s
    while busy and time.monotonic() < deadline:
        time.sleep(store.leases.stale_s / 20)
        busy = [name for name in busy if store.leases.is_held(name)]
    return busy


class Without(Store):
    """A view of a store in which some results count as not done, for planning."""

    def __init__(self, store: Store, hidden: Iterable[str]) -> None:
        super().__init__(store.root)
        self.hidden = frozenset(hidden)

    def is_done(self, name: str) -> bool:
        """Whether the stage is committed and not hidden."""
        return name not in self.hidden and super().is_done(name)


def plan_without_moved(make: Callable[[Store], Plan], store: Store) -> tuple[Plan, dict[str, list[str]]]:
    """The plan that would be left after setting aside all moved results.

    Args:
        make: plans with a store.

    Returns:
        The plan, and the moved results, which may include beginnings that only came up once others were gone.
    """
    found: dict[str, list[str]] = {}
    plan = make(store)
    while more := {n: files for n, files in moved(plan, store).items() if n not in found}:
        found |= more
        plan = make(Without(store, closure(found, users(store))))
    return plan, found


def _finished(plan: Plan, store: Store) -> dict[str, tuple[Stage, Mapping[str, Any]]]:
    """Finished stages of a plan and the beginnings they came from or will continue from, with their records."""
    stages = {name: node.stage for name, node in plan.nodes.items() if node.done}
    stages |= {node.resume.name: node.resume for node in plan.nodes.values() if node.resume is not None}
    found: dict[str, tuple[Stage, Mapping[str, Any]]] = {}
    while stages:
        known = records(store, stages)
        found |= {name: (stages[name], record) for name, record in known.items()}
        earlier = {record.get("resume", "") for record in known.values()} - found.keys() - {""}
        read = {name: stage_of(record) for name, record in records(store, sorted(earlier)).items()}
        stages = {name: stage for name, stage in read.items() if stage is not None}
    return found


def _users_first(names: list[str], links: Mapping[str, list[str]]) -> list[str]:
    """The names and all that was made from them, each after those made from it."""
    order: list[str] = []
    seen: set[str] = set()
    stack = [(name, False) for name in names]
    while stack:
        name, left = stack.pop()
        if left:
            order.append(name)
        elif name not in seen:
            seen.add(name)
            stack.append((name, True))
            stack += [(user, False) for user in links.get(name, ())]
    return order


def _move(name: str, store: Store) -> bool:
    target = store.root / SUPERSEDED / f"{name}.{uuid.uuid4().hex[:8]}"
    with disk_errors("move", store.folder(name)):
        target.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another process was faster, or it was never done
            store.folder(name).replace(target)
            sync_folder(store.stages)
            return True
    return False
