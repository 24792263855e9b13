"""Whose runs these are: several stores may send to one server, and none may take another's results for its own.

<store>/store-id     32 digits, made at the first sync; they stay with the store wherever it is moved, and a copy with
                     MLflow's database in it gets its own
"""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

from casl.errors import TrackingError
from casl.files import disk_errors, write_atomic

STORE_ID = "store-id"
OWNER = "casl.store"  # tag of runs and experiments, with the id of the store that they are of
DIGITS = 8
_WHOLE = re.compile(r"[0-9a-f]{32}")


def store_id(store: Path) -> str:
    """The id of a store, made if it has none; two processes that ask at once get the same.

    Raises:
        TrackingError: the file that keeps it is damaged.
        StoreError: it cannot be written.
    """
    path = store / STORE_ID
    if not has_id(store):
        aside = path.with_name(f".{STORE_ID}.{uuid.uuid4().hex}")
        write_atomic(aside, f"{uuid.uuid4().hex}\n".encode())
        with disk_errors("write", path):
            try:
                os.link(aside, path)
            except FileExistsError:  # another process was faster
                pass
            finally:
                aside.unlink()
    known = path.read_text(errors="replace").strip()
    if not _WHOLE.fullmatch(known):
        raise TrackingError(
            f"{path} is damaged: it holds no 32 digits.\n"
            "  remove it: results are then logged once more, in experiments of their own."
        )
    return known


def copied_id(store: Path, original: Path) -> tuple[str, str] | None:
    """Give a copy an id of its own.

    Returns:
        The original's id and the copy's; None if the original is gone, since then the store has moved.
    """
    if not (has_id(store) and has_id(original)):
        return None
    before, own = store_id(original), store_id(store)
    if own == before:
        own = uuid.uuid4().hex
        write_atomic(store / STORE_ID, f"{own}\n".encode())
    return before, own  # also when an earlier call was killed before it could use them


def has_id(store: Path) -> bool:
    """Whether a store has an id already, as after its first sync."""
    return (store / STORE_ID).exists()


def own_name(experiment: str, store: Path) -> str:
    """The name of an experiment whose plain name is another store's."""
    return f"{experiment} {store_id(store)[:DIGITS]}"
