"""The store: one folder that holds every result. A stage is done if and only if its folder is under stages/.

    store.json                 version of this layout
    stages/<name>/             committed results: result.json, metrics, weights, pictures, log
    work/<name>/               unfinished attempts: checkpoints, log, failure.json
    families/<family>/<name>   trainings that differ in length only, to find shared beginnings
    locks/<name>               one lock a stage, released by the kernel when its owner dies
    quarantine/                damaged results, moved out of the way

Readers take no lock. Work happens in work/, and one rename of the folder commits it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from casl.errors import StoreError
from casl.files import disk_errors, read_json, sha256, sync_folder, write_json
from casl.spec.freeze import freeze
from casl.spec.kinds import Train
from casl.spec.run import Run
from casl.spec.schedule import Schedule
from casl.spec.stage import Stage

SCHEMA = 1
RESULT = "result.json"
FAILURE = "failure.json"
_RUN_FIELDS = (
    "metrics",
    "seconds",
    "started",
    "host",
    "commit",
    "dirty",
    "versions",
    "files",
    "stage",
    "facts",
)
_LATER_FIELDS = ("source", "attempts")  # results of earlier versions lack them


class Store:
    """Results of stages, by name.

    Raises:
        StoreError: the folder cannot be made, is damaged, or was written by a newer version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stages = root / "stages"
        self.working = root / "work"
        with disk_errors("make the store", root):
            for folder in (self.stages, self.working, root / "locks", root / "families"):
                folder.mkdir(parents=True, exist_ok=True)
        self._check_schema()

    def _check_schema(self) -> None:
        marker = self.root / "store.json"
        if not marker.exists():
            write_json(marker, {"schema": SCHEMA})
            return
        found = read_json(marker).get("schema")
        if not isinstance(found, int) or found > SCHEMA:
            raise StoreError(
                f"{self.root} was written by a newer version of casl (store schema {found}, this one knows {SCHEMA}).\n"
                "  update casl, or choose another folder with STORE=..."
            )

    def folder(self, name: str) -> Path:
        """Where a committed stage lies."""
        return self.stages / name

    def work(self, name: str) -> Path:
        """Where an unfinished stage lies."""
        return self.working / name

    def is_done(self, name: str) -> bool:
        """Whether the stage is committed."""
        return (self.stages / name / RESULT).exists()

    def run(self, name: str) -> Run:
        """All that is known of a stage: done, failed, running, or not run.

        Raises:
            StoreError: its record is damaged.
        """
        kind, _, key = name.partition("-")
        marker, failure = self.stages / name / RESULT, self.working / name / FAILURE
        if marker.exists():
            record = read_json(marker)
            known = {f: record[f] for f in _RUN_FIELDS} | {f: record[f] for f in _LATER_FIELDS if f in record}
            return Run(name, record["key"], kind, "done", marker.parent, **known)
        if self.is_locked(name):
            return Run(name, key, kind, "running", self.working / name)
        if failure.exists():
            record = read_json(failure)
            known = {f: record[f] for f in ("stage", "started", "seconds") if f in record}
            return Run(name, key, kind, "failed", failure.parent, error=str(record["error"]), **known)
        return Run(name, key, kind, "not run", self.working / name)

    def names(self) -> list[str]:
        """Every committed stage, sorted."""
        return sorted(p.name for p in self.stages.iterdir() if (p / RESULT).exists())

    def check(self, name: str, *, content: bool = True) -> None:
        """Compare a committed stage's files with what was committed.

        Args:
            content: compare checksums; otherwise only presence and size, which needs no reading.

        Raises:
            StoreError: names the file that is missing, truncated or changed.
        """
        run = self.run(name)
        for file, expected in run.files.items():
            path = run.folder / file
            if not path.exists():
                raise StoreError(f"{path} is missing from a finished stage.")
            if path.stat().st_size != expected["bytes"]:
                raise StoreError(f"{path} is damaged: {path.stat().st_size} bytes, {expected['bytes']} were committed.")
            if content and sha256(path) != expected["sha256"]:
                raise StoreError(f"{path} is damaged: its content differs from what was committed.")

    def quarantine(self, name: str) -> Path:
        """Move a damaged result out of the way, so that the stage counts as not run."""
        target = self.root / "quarantine" / f"{name}.{uuid.uuid4().hex[:8]}"
        with disk_errors("move", self.stages / name):
            target.parent.mkdir(exist_ok=True)
            (self.stages / name).replace(target)
        return target

    def commit(self, stage: Stage, record: Mapping[str, Any]) -> Run:
        """Make work/<name> a result, in one rename.

        Args:
            stage: what was computed; the caller holds its lock.
            record: the fields of Run except files and stage, which are taken here.
        """
        work = self.work(stage.name)
        with disk_errors("commit", work):
            (work / FAILURE).unlink(missing_ok=True)
            files = {str(p.relative_to(work)): p for p in sorted(work.rglob("*")) if p.is_file() and p.name != RESULT}
            for path in files.values():
                _sync_file(path)
            entries = {n: {"sha256": sha256(p), "bytes": p.stat().st_size} for n, p in files.items()}
            write_json(work / RESULT, {**record, "key": stage.key, "files": entries, "stage": freeze(stage)})
            work.replace(self.stages / stage.name)
            sync_folder(self.stages)
        if isinstance(stage, Train):
            self._remember_family(stage)
        return self.run(stage.name)

    def fail(self, stage: Stage, error: str, started: str = "", seconds: float = 0.0) -> None:
        """Record why a stage stopped; a later attempt overwrites it."""
        record = {"error": error, "stage": freeze(stage), "started": started, "seconds": round(seconds, 3)}
        write_json(self.work(stage.name) / FAILURE, record)

    def discard_work(self, name: str) -> None:
        """Forget an unfinished attempt."""
        shutil.rmtree(self.work(name), ignore_errors=True)

    def _remember_family(self, stage: Train) -> None:
        write_json(self.root / "families" / stage.family[:16] / stage.name, [list(piece) for piece in stage.schedule])

    def family(self, stage: Train) -> dict[str, Schedule]:
        """Committed trainings that differ from this one in length only: name -> schedule."""
        folder = self.root / "families" / stage.family[:16]
        if not folder.exists():
            return {}
        names = [p.name for p in folder.iterdir() if not p.name.startswith(".") and self.is_done(p.name)]
        return {n: tuple((int(u), float(f)) for u, f in read_json(folder / n)) for n in sorted(names)}

    @contextmanager
    def lock(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold the stage's lock; yields whether it was got. The kernel releases it if the process dies."""
        handle = os.open(self.root / "locks" / name, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            yield _flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(handle)

    def is_locked(self, name: str) -> bool:
        """Whether some process works on the stage now."""
        path = self.root / "locks" / name
        if not path.exists():
            return False
        handle = os.open(path, os.O_RDONLY)
        try:
            return not _flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        finally:
            os.close(handle)


def _flock(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        return False
    return True


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
