"""Archives: stages with all that they were made from, as one tar file, to take to another store.

    manifest.json                what is in it
    sources/<digest>.json|diff   the code the results came from
    stages/<name>/...            results as they lie in the store

An archive is foreign until proven sound: its members are plain files at the places above, and each stage is compared
with the checksums of its own record before one rename makes it a result.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from casl.errors import StoreError
from casl.files import disk_errors, read_json, sha256, sync_folder, write_json
from casl.runner.provenance import SOURCES
from casl.runner.record import RESULT, read_record
from casl.runner.results import inputs_of, record_of, stage_of
from casl.runner.source import digest_of
from casl.runner.store import Store
from casl.spec.kinds import Train
from casl.spec.stage import split_name

MANIFEST = "manifest.json"
SCHEMA = 1
STAGE_NAME = re.compile(r"[a-z]+-[0-9a-f]{16}")
SOURCE_NAME = re.compile(r"[0-9a-f]{64}\.(json|diff)")
FIELDS = ("metrics", "seconds", "started", "host", "commit", "dirty", "versions", "facts")  # that every record has
COPY = 1 << 20  # bytes at a time

Progress = Callable[[int, int], None]


def with_ancestors(store: Store, names: Iterable[str]) -> list[str]:
    """Finished stages and all they were made from, inputs before users.

    Raises:
        StoreError: one of them, or something it was made from, is not in the store.
    """
    order: dict[str, None] = {}
    stack = [(name, "", False) for name in reversed(list(names))]
    while stack:
        name, user, left = stack.pop()
        if left:
            order[name] = None
        elif name not in order:
            if not store.is_done(name):
                because = f", which {user} was made from" if user else ""
                raise StoreError(f"{store.root} has no finished stage {name}{because}.")
            stack.append((name, user, True))
            parents = inputs_of(name, record_of(store, name)) or ()
            stack += [(parent, name, False) for parent in reversed(parents)]
    return list(order)


def write_archive(
    store: Store, names: Iterable[str], target: Path, progress: Progress = lambda done, all_: None
) -> list[str]:
    """Write stages with their ancestors to a tar file, which is whole or absent.

    Returns:
        The names inside.

    Raises:
        StoreError: something is missing or damaged, or the file cannot be written.
    """
    inside = with_ancestors(store, names)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    with disk_errors("write", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(aside, "w", format=tarfile.PAX_FORMAT) as tar:
                _add_text(tar, MANIFEST, json.dumps({"schema": SCHEMA, "stages": inside}, indent=1))
                for path in _sources(store, inside):
                    _add_file(tar, path, f"{SOURCES}/{path.name}")
                for n, name in enumerate(inside, start=1):
                    store.check(name)
                    for file in [RESULT, *store.run(name).files]:
                        _add_file(tar, store.folder(name) / file, f"stages/{name}/{file}")
                    progress(n, len(inside))
            aside.replace(target)
            sync_folder(target.parent)
        finally:
            aside.unlink(missing_ok=True)
    return inside


@dataclass
class Imported:
    """Names of an archive's stages by outcome. damaged: name -> what is wrong with it."""

    added: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)


def read_archive(store: Store, archive: Path, progress: Progress = lambda done, all_: None) -> Imported:
    """Take over every stage of an archive that the store lacks.

    Raises:
        StoreError: no archive, one of another version, or one with a member that no export writes; the store is as
            before then.
    """
    incoming = store.root / "incoming" / uuid.uuid4().hex[:8]
    with disk_errors("unpack into", incoming):
        incoming.mkdir(parents=True)
        try:
            names = _unpack(archive, incoming)
            _keep_sources(incoming / SOURCES, store)
            return _take_over(incoming / "stages", names, store, progress)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def _take_over(folder: Path, names: list[str], store: Store, progress: Progress) -> Imported:
    outcome = Imported()
    for n, name in enumerate(names, start=1):
        if store.is_done(name):
            outcome.skipped.append(name)
        elif problem := _problem(folder / name, name):
            outcome.damaged[name] = problem
        elif _adopt(folder / name, name, store):
            outcome.added.append(name)
        else:
            outcome.skipped.append(name)
        progress(n, len(names))
    return outcome


def _problem(folder: Path, name: str) -> str:
    """What is wrong with an unpacked stage; empty if nothing."""
    try:
        record = read_record(folder / RESULT)
        key, files = str(record["key"]), dict(record["files"])
        expected = {file: (entry["sha256"], entry["bytes"]) for file, entry in files.items()}
        if lacking := sorted(set(FIELDS) - record.keys()):
            raise KeyError(lacking[0])
    except (StoreError, KeyError, TypeError, ValueError) as error:
        return f"its record cannot be read ({error!r})"
    if split_name(name).key != key[:16]:
        return f"its record is that of another stage, key {key[:16]}"
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    del found[RESULT]
    if odd := sorted(found.keys() ^ expected.keys()):
        return f"{odd[0]} is {'missing' if odd[0] in expected else 'not part of its record'}"
    changed = [
        f for f, (digest, size) in expected.items() if (found[f].stat().st_size, sha256(found[f])) != (size, digest)
    ]
    return f"{changed[0]} differs from what was committed" if changed else ""


def _adopt(folder: Path, name: str, store: Store) -> bool:
    """Make an unpacked stage a result; False if another process has just made it."""
    try:
        folder.rename(store.folder(name))
    except OSError:
        if store.is_done(name):
            return False
        raise
    sync_folder(store.stages)
    stage = stage_of(record_of(store, name))
    if isinstance(stage, Train) and stage.name == name:  # so that longer trainings find it
        pieces = [list(piece) for piece in stage.schedule]
        write_json(store.root / "families" / stage.family[:16] / name, pieces)
    return True


def _unpack(archive: Path, target: Path) -> list[str]:
    """Every member as a file under `target`; the names of the stages."""
    names: dict[str, None] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            _check_manifest(tar, archive)
            for member in tar:
                place = _place(member, archive)
                if place.parts[0] == "stages":
                    names[place.parts[1]] = None
                (target / place).parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                assert source is not None  # a regular file
                with source, (target / place).open("xb") as file:
                    shutil.copyfileobj(source, file, COPY)
    except (tarfile.TarError, EOFError, FileExistsError) as error:
        raise StoreError(f"{archive} is damaged, or no archive of `casl store export` ({error}).") from error
    return list(names)


def _check_manifest(tar: tarfile.TarFile, archive: Path) -> None:
    first = tar.next()
    file = tar.extractfile(first) if first is not None and first.name == MANIFEST and first.isreg() else None
    if file is None:
        raise StoreError(f"{archive} is no archive of `casl store export`: it does not begin with {MANIFEST}.")
    try:
        schema = json.loads(file.read())["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{archive}: {MANIFEST} is damaged ({error!r}).") from error
    if schema != SCHEMA:
        raise StoreError(f"{archive} has layout {schema!r}, this version of casl knows {SCHEMA}; update casl.")


def _place(member: tarfile.TarInfo, archive: Path) -> PurePosixPath:
    """Where a member may be unpacked, relative to the target."""
    path = PurePosixPath(member.name)
    parts = path.parts
    inside = ".." not in parts and not path.is_absolute() and "\\" not in member.name and "\0" not in member.name
    known = (
        parts == (MANIFEST,)
        or (len(parts) > 2 and parts[0] == "stages" and STAGE_NAME.fullmatch(parts[1]))
        or (len(parts) == 2 and parts[0] == SOURCES and SOURCE_NAME.fullmatch(parts[1]))
    )
    if not (member.isreg() and inside and known):
        raise StoreError(f"{archive} holds {member.name!r}, which no export writes; nothing of it was taken over.")
    return path


def _sources(store: Store, names: Iterable[str]) -> Iterator[Path]:
    files = set()
    for record in (record_of(store, name) for name in names):
        files |= {f"{record.get('source', '')}.json", f"{record.get('diff', '')}.diff"}
    yield from (path for name in sorted(files) if (path := store.root / SOURCES / name).is_file())


def _keep_sources(folder: Path, store: Store) -> None:
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        target = store.root / SOURCES / path.name
        sound = digest_of(read_json(path)) if path.suffix == ".json" else sha256(path)
        if sound == path.stem and not target.exists():
            target.parent.mkdir(exist_ok=True)
            path.replace(target)


def _add_file(tar: tarfile.TarFile, path: Path, name: str) -> None:
    info = _info(name, path.stat().st_size)
    with path.open("rb") as file:
        tar.addfile(info, file)


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    tar.addfile(_info(name, len(data)), io.BytesIO(data))


def _info(name: str, size: int) -> tarfile.TarInfo:
    """A plain file without owner and time, so that equal stages make equal archives."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info
