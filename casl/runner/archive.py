"""Archives: stages with all that they were made from, as one tar file, to take to another store.

    manifest.json                what is in it
    sources/<digest>.json|diff   the code the results came from
    stages/<name>/...            results as they lie in the store

An archive of numbers holds evaluations alone, each with its record and its draws over images: enough for reports and
their statistics, some kilobytes each, and nothing to train on. Their records say which files were left out.

An archive is foreign until proven sound (casl/runner/foreign.py): its members are plain files at the places above, and
each stage is compared with the checksums of its own record, and its fields with its key, before one rename makes it a
result.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casl.errors import SpecError, StoreError
from casl.files import disk_errors, held, json_value, read_json, refuse_foreign, sha256, sync_folder
from casl.runner.foreign import MANIFEST, TOTAL_BYTES, BoundedFile, Members, Verdict, judge
from casl.runner.provenance import SOURCES
from casl.runner.record import with_digest
from casl.runner.results import inputs_of, record_of, records, stage_of
from casl.runner.source import digest_of
from casl.runner.store import INCOMING, Store
from casl.spec.kinds import Train
from casl.spec.run import DRAWS, RESULT

SCHEMA = 1
# as casl.runner.provenance adds a file; one that git knows has a line of its index there
_ADDED = re.compile(r"^diff --git a/(.*) b/\1\nnew file mode \d+\n--- /dev/null$", re.MULTILINE)
COPY = 1 << 20  # bytes at a time

Progress = Callable[[int, int], None]


def with_ancestors(store: Store, names: Iterable[str]) -> list[str]:
    """Finished stages and all they were made from, inputs before users.

    Raises:
        StoreError: one of them, or something it was made from, is not in the store, or a record is damaged.
    """
    order: dict[str, None] = {}
    under_way: set[str] = set()
    stack = [(name, "", False) for name in reversed(list(names))]
    while stack:
        name, user, left = stack.pop()
        if left:
            order[name] = None
        elif name in under_way and name not in order:
            raise StoreError(
                f"the record of {user} in {store.root} is damaged: it says that {name} was made from itself.\n"
                f"  move {store.folder(user)} away, and `casl run` makes it again."
            )
        elif name not in order:
            under_way.add(name)
            if name in store.names() and not store.is_done(name):
                store.check(name)  # says what is damaged
            if not store.is_done(name):
                because = f", which {user} was made from" if user else ""
                numbers = user and store.run(user).left_out
                advice = f"\n  {user} is here as numbers alone, which --numbers writes." if numbers else ""
                raise StoreError(f"{store.root} has no finished stage {name}{because}.{advice}")
            stack.append((name, user, True))
            parents = inputs_of(name, record_of(store, name)) or ()
            stack += [(parent, name, False) for parent in reversed(parents)]
    return list(order)


def check_target(target: Path, *, folder: bool = False) -> None:
    """Check that an archive may be written to a place: nothing is there, or an archive to be replaced.

    Args:
        folder: whether the place was written as that of a folder, with a slash at its end.

    Raises:
        SpecError: a folder, another file, a link, a pipe or a device is there.
    """
    if folder or target.is_dir():
        raise SpecError(f"-o names a file, such as {target / 'results.tar'}, and {target} is a folder.")
    refuse_foreign(target, _begins_as_archive, "archive of `casl store export`", "name another file with -o")


def _begins_as_archive(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:") as tar:
            first = tar.next()
    except (tarfile.TarError, OSError):
        return False
    return first is not None and first.name == MANIFEST


def write_archive(
    store: Store,
    names: Iterable[str],
    target: Path,
    progress: Progress = lambda done, all_: None,
    *,
    numbers: bool = False,
    about: Sequence[str] = (),
) -> list[str]:
    """Write stages with their ancestors to a tar file, which is whole or absent.

    Args:
        numbers: only the numbers of evaluations, without what these were made from.
        about: words of a command line, the study that the stages are of.

    Returns:
        The names inside.

    Raises:
        StoreError: something is missing or damaged, or the file cannot be written.
        SpecError: the numbers of a stage were asked for that is no evaluation.
    """
    inside = _evaluations(store, names) if numbers else with_ancestors(store, names)
    manifest = {"schema": SCHEMA, "stages": inside, **({"about": [*about]} if about else {})}
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    with disk_errors("write", target, "-o"):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(aside, "w", format=tarfile.PAX_FORMAT) as tar:
                _add_text(tar, MANIFEST, json.dumps(manifest, indent=1))
                for path in _sources(store, inside):
                    _add_file(tar, path, f"{SOURCES}/{path.name}")
                for n, name in enumerate(inside, start=1):
                    store.check(name)
                    record = record_of(store, name)
                    kept = {f: e for f, e in record["files"].items() if not numbers or f == DRAWS}
                    if numbers:
                        left_out = sorted({*record.get("left_out", ()), *(record["files"].keys() - kept.keys())})
                        numbers_alone = with_digest({**record, "files": kept, "left_out": left_out})
                        text = json.dumps(numbers_alone, indent=1, sort_keys=True)
                        _add_text(tar, f"stages/{name}/{RESULT}", f"{text}\n")
                    else:
                        _add_file(tar, store.folder(name) / RESULT, f"stages/{name}/{RESULT}")
                    for file in kept:
                        _add_file(tar, store.folder(name) / file, f"stages/{name}/{file}")
                    progress(n, len(inside))
            aside.replace(target)
            sync_folder(target.parent)
        finally:
            aside.unlink(missing_ok=True)
    return inside


def _evaluations(store: Store, names: Iterable[str]) -> list[str]:
    """The names, each once, if all are evaluations: what others are made from is no result without its files."""
    inside = list(dict.fromkeys(names))
    for name in inside:
        stage = stage_of(record_of(store, name))
        if stage is None or not stage.measures:
            raise SpecError(
                f"{name} is no evaluation, and only these have numbers of their own; "
                "without --numbers it is written with all that it was made from."
            )
    return inside


def outside_git(store: Store, names: Iterable[str]) -> list[str]:
    """Files that git did not know when stages were made, whose content an archive of these takes along, sorted."""
    diffs = {path for path in _sources(store, names) if path.suffix == ".diff"}
    return sorted({name for path in diffs for name in _ADDED.findall(path.read_text(errors="replace"))})


@dataclass
class Imported:
    """Names of an archive's stages by outcome. damaged: name -> what is wrong with it. about: as it was written."""

    added: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    about: list[str] = field(default_factory=list)


def read_archive(
    store: Store, archive: Path, progress: Progress = lambda done, all_: None, most: int = TOTAL_BYTES
) -> Imported:
    """Take over every stage of an archive that the store lacks, or has as numbers alone where the archive has all.

    Args:
        most: bytes that the archive may unpack to.

    Raises:
        StoreError: no archive, one of another version or over the limit, or one that holds what no export writes; the
            store is as before then.
    """
    incoming = store.root / INCOMING / uuid.uuid4().hex[:8]
    with disk_errors("unpack into", incoming):
        try:
            with held(incoming):
                return _read(store, archive, incoming, progress, most)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def _read(store: Store, archive: Path, incoming: Path, progress: Progress, most: int) -> Imported:
    """As `read_archive`, by way of a folder."""
    names, about = _unpack(archive, incoming, Members(archive, most))
    lacking = [n for n in names if not store.is_done(n) or store.run(n).left_out]
    verdict = judge({n: incoming / "stages" / n for n in lacking}, records(store))
    if verdict.forged:
        listed = "".join(f"\n  {name}: {problem}" for name, problem in verdict.forged.items())
        raise StoreError(f"{archive} holds what no export writes; nothing of it was taken over.{listed}")
    _keep_sources(incoming / SOURCES, verdict.records.values(), store)
    outcome = _take_over(incoming / "stages", names, verdict, store, progress)
    outcome.about = about
    return outcome


def _take_over(folder: Path, names: list[str], verdict: Verdict, store: Store, progress: Progress) -> Imported:
    outcome = Imported(damaged=verdict.damaged)
    for n, name in enumerate(names, start=1):
        record = verdict.records.get(name, {})
        more = record and not (record.get("left_out") and store.is_done(name))
        if more and _adopt(folder / name, name, store):
            outcome.added.append(name)
        elif name not in verdict.damaged:
            outcome.skipped.append(name)
        progress(n, len(names))
    return outcome


def _adopt(folder: Path, name: str, store: Store) -> bool:
    """Make an unpacked stage a result; False if another process has just made it."""
    numbers = None
    if store.folder(name).exists() and not store.is_done(name):
        store.quarantine(name)
    elif store.is_done(name) and store.run(name).left_out:
        numbers = store.quarantine(name)
    try:
        folder.rename(store.folder(name))
    except OSError:
        if store.is_done(name):
            return False
        raise
    sync_folder(store.stages)
    if numbers is not None:  # all of them are in what took their place, and only now are they not needed
        shutil.rmtree(numbers)
    stage = stage_of(record_of(store, name))
    if isinstance(stage, Train) and stage.name == name:
        store.remember_family(stage)
    return True


def _unpack(archive: Path, target: Path, members: Members) -> tuple[list[str], list[str]]:
    """Every member as a file under `target`; the names of the stages, and the study that they are of."""
    names: dict[str, None] = {}
    try:
        with BoundedFile(archive) as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
            about = _about(tar, archive, members)
            for member in tar:
                place = members.place(member)
                if place.parts[0] == "stages":
                    names[place.parts[1]] = None
                (target / place).parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                assert source is not None  # a regular file
                with source, (target / place).open("xb") as file:
                    shutil.copyfileobj(source, file, COPY)
    except (tarfile.TarError, EOFError, ValueError, FileExistsError, NotADirectoryError, RecursionError) as error:
        raise StoreError(f"{archive} is damaged, or no archive of `casl store export` ({error}).") from error
    return list(names), about


def _about(tar: tarfile.TarFile, archive: Path, members: Members) -> list[str]:
    """Check the manifest; the study that it names, as words of a command line."""
    file = tar.extractfile(members.manifest(tar.next()))
    assert file is not None  # a regular file
    try:
        manifest = json_value(file.read())
        schema = manifest["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{archive}: {MANIFEST} is damaged ({type(error).__name__}).") from error
    if schema != SCHEMA:
        raise StoreError(f"{archive} has layout {schema!r:.40}, this version of casl knows {SCHEMA}; update casl.")
    about = manifest.get("about", [])
    if not (isinstance(about, list) and all(isinstance(word, str) and word.isprintable() for word in about)):
        raise StoreError(f"{archive}: {MANIFEST} is damaged: 'about' is no list of words.")
    return about


def _sources(store: Store, names: Iterable[str]) -> Iterator[Path]:
    files = set()
    for name in names:
        files |= _source_files(record_of(store, name))
    yield from (path for name in sorted(files) if (path := store.root / SOURCES / name).is_file())


def _source_files(record: Mapping[str, Any]) -> set[str]:
    return {f"{record.get('source', '')}.json", f"{record.get('diff', '')}.diff"}


def _keep_sources(folder: Path, made: Iterable[Mapping[str, Any]], store: Store) -> None:
    """Take over the sources that some records name, if they are what their names say."""
    named = {name for record in made for name in _source_files(record)}
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        target = store.root / SOURCES / path.name
        if path.name in named and not target.exists() and _source_digest(path) == path.stem:
            target.parent.mkdir(exist_ok=True)
            path.replace(target)


def _source_digest(path: Path) -> str:
    if path.suffix != ".json":
        return sha256(path)
    try:
        files = read_json(path)
    except StoreError:  # damaged on its way; what was made with it counts as of unknown code
        return ""
    return digest_of(files) if isinstance(files, dict) else ""


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
