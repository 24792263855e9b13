"""Snapshot: the code as it is when a plan starts, so that editing the working tree meanwhile changes nothing.

    code/<digest>/casl, ablations     sources and data files of the packages
                 /provenance.json     commit, whether there were changes, digest of changes.diff
                 /changes.diff        the changes, if any
                 /my_pkg              a package that offers rows of the catalog
                 /my_pkg-1.0.dist-info/METADATA, entry_points.txt      by which it is found

Packages that were copied into a folder of installed packages are not copied again: they are not edited there, and
workers find them as this process does.

One folder a content and commit, made aside and renamed, so any number of processes may take the same one at once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from casl.catalog import offered
from casl.files import disk_errors, sync_folder, write_atomic, write_json
from casl.offers import ENTRY_POINTS
from casl.runner.provenance import DIFF, PROVENANCE, Code, read_code
from casl.runner.source import PACKAGES, ROOT, files_of, inside, top_of

CODE = "code"
INSTALLED = {"site-packages", "dist-packages"}  # names of folders that installers copy packages into


def take(store_root: Path, root: Path = ROOT) -> Path:
    """Copy the packages into the store, unless the same content of the same commit is there.

    Args:
        root: folder that holds the packages; a checkout, an installation or itself a snapshot.

    Returns:
        The folder to put on PYTHONPATH, absolute; see `environment`.

    Raises:
        StoreError: the store cannot be written.
    """
    state, files = read_code(root), {name: path.read_bytes() for name, path in _wanted(root).items()}
    identity = json.dumps([_digests(files), state.commit, state.digest], sort_keys=True)
    target = store_root.resolve() / CODE / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if _is_whole(target, files):
        return target
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    with disk_errors("write", target):
        try:
            _fill(aside, files, state)
            _put(aside, target, files)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return target


def environment(code: Path, around: Mapping[str, str]) -> dict[str, str]:
    """The environment of a Python process that imports the snapshot before anything else of that name.

    Args:
        code: what `take` gave.
        around: the environment to extend. PYTHONSAFEPATH keeps `python -m` from looking in its working directory first.
    """
    behind = around.get("PYTHONPATH", "")
    return {**around, "PYTHONPATH": f"{code}:{behind}" if behind else str(code), "PYTHONSAFEPATH": "1"}


def _wanted(root: Path) -> dict[str, Path]:
    """Path inside a snapshot -> file to copy."""
    found = {name: path for package in PACKAGES for name, path in files_of(package, root).items()}
    for offer in offered():
        tops = {top_of(row) for rows in offer.rows.values() for row in rows.values()}
        own = [files_of(top) for top in sorted({*tops, offer.place.partition(".")[0].partition(":")[0]} - {*PACKAGES})]
        edited = {name: path for files in own for name, path in files.items() if not INSTALLED & set(path.parts)}
        if edited:
            metadata = [offer.metadata / name for name in ("METADATA", "PKG-INFO", ENTRY_POINTS)]
            found |= edited | {f"{offer.metadata.name}/{p.name}": p for p in metadata if p.is_file()}
    return found


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def _is_whole(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Whether a snapshot is there with this content: its files are not synced, so a power cut may have emptied some."""
    if not (folder / PROVENANCE).exists():
        return False
    found = {name: path.read_bytes() for name, path in inside(folder).items() if name not in (PROVENANCE, DIFF)}
    return _digests(found) == _digests(files)


def _fill(folder: Path, files: Mapping[str, bytes], state: Code) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    if state.diff:
        write_atomic(folder / DIFF, state.diff.encode())
    write_json(folder / PROVENANCE, {"commit": state.commit, "dirty": bool(state.diff), "diff": state.digest})


def _put(aside: Path, target: Path, files: Mapping[str, bytes]) -> None:
    if target.exists() and not _is_whole(target, files):
        target.rename(aside.with_name(f"{aside.name}.damaged"))
    try:
        aside.rename(target)
        sync_folder(target.parent)
    except OSError:
        if not _is_whole(target, files):  # else another process was faster, with the same content
            raise
