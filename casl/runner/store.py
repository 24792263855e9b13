"""The store: one folder that holds every result. A stage is done if and only if its folder is under stages/.

    store.json                 version of this layout
    stages/<name>/             committed results: result.json, metrics, weights, pictures, log
    work/<name>/<attempt>/     the unfinished attempt: checkpoints, log, failure.json
    families/<family>/<name>   trainings that differ in length only, to find shared beginnings
    leases/<name>/<attempt>    who works on a stage
    incoming/                  archives that are being unpacked, or whose import was killed
    quarantine/                damaged results, moved out of the way
    weights/                   pretrained backbones, unless another folder is named: <backbone>.safetensors

Readers take no lease. Work happens in work/, and one rename of the folder commits it. An attempt that takes over from
one that died goes on in that one's folder under its own number, so that an owner that only slept cannot write there.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casl.errors import StoreError, nearest
from casl.files import disk_errors, read_json, sha256, sync_all, sync_folder, write_json
from casl.runner.lease import STALE_S, Lease, Leases
from casl.runner.probes import FILE as PROBES
from casl.runner.record import is_sound, read_record, with_digest
from casl.spec.freeze import freeze
from casl.spec.kinds import Train
from casl.spec.run import FAILURE, RESULT, Run
from casl.spec.schedule import Schedule
from casl.spec.stage import Stage, split_name

SCHEMA = 1
OPTION = "--store (make: STORE=)"
# what may lie in a store before its first stage: weights, data sets met there, rates that a plan measured, what a
# making that was killed has left; and hidden files and MLflow's, by how their names begin
_DIGESTS, _OF_MANIFESTS = "digests.json", "digests"
_BESIDE = frozenset(("weights", "sets.json", _DIGESTS, _OF_MANIFESTS, "checked.json", PROBES, "store-id"))
INCOMING = "incoming"  # archives that are being unpacked
_BEGUN = frozenset((INCOMING, "leases", "families", "work"))
_BEGINNINGS = (".", "mlflow", "mlartifacts")
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
_LATER_FIELDS = ("source", "attempts", "arithmetic", "left_out")  # results of earlier versions lack them


def strangers(root: Path) -> list[str]:
    """What a folder that is no store holds and a new store would not, by name; nothing of a store or of no folder."""
    if not root.is_dir() or (root / "store.json").exists() or (root / "stages").exists():
        return []
    names = {path.name for path in root.iterdir()} - _BESIDE - _BEGUN
    return sorted(name for name in names if not name.startswith(_BEGINNINGS))


class Store:
    """Results of stages, by name.

    Args:
        root: its folder.
        make: make the folder if it is missing; without, a store that is not there is empty, and nothing is written.
        stale_s: an owner of a stage without a heartbeat for so long is taken for dead.

    Raises:
        StoreError: the folder cannot be made, is damaged, or was written by a newer version.
    """

    def __init__(self, root: Path, stale_s: float = STALE_S, *, make: bool = True) -> None:
        self.root = root
        self.stages = root / "stages"
        self.working = root / "work"
        self.leases = Leases(root / "leases", stale_s)
        if make:
            self._check_place()
            with disk_errors("make the store", root, OPTION):
                for folder in (self.stages, self.working, self.leases.root, root / "families"):
                    folder.mkdir(parents=True, exist_ok=True)
        elif root.exists() and not root.is_dir():
            raise StoreError(f"{root} is a file; a store is a folder: name another one with {OPTION}.")
        self._check_schema(make)

    def _check_place(self) -> None:
        """Refuse a folder of other things: what is a store is tidied, exported and removed as a whole."""
        with disk_errors("read", self.root, OPTION):
            others = strangers(self.root)
        if others:
            raise StoreError(
                f"{self.root} is no store and holds {', '.join(others[:3])}{' ...' if len(others) > 3 else ''}.\n"
                f"  a store is a folder of its own: name an empty or a new one with {OPTION}."
            )

    def _check_schema(self, make: bool) -> None:
        marker = self.root / "store.json"
        if not marker.exists():
            if make:
                write_json(marker, {"schema": SCHEMA})
            return
        try:
            found = read_json(marker)["schema"]
        except (StoreError, KeyError, TypeError):
            found = None
        if not isinstance(found, int):
            raise StoreError(
                f"{marker} is damaged: it says which layout the store has, {json.dumps({'schema': SCHEMA})}.\n"
                "  remove it if this version of casl, or an earlier one, wrote the store; no result is lost with it."
            )
        if found > SCHEMA:
            raise StoreError(
                f"{self.root} was written by a newer version of casl (store schema {found}, this one knows {SCHEMA}).\n"
                f"  update casl, or choose another folder with {OPTION}."
            )

    def check_writable(self) -> None:
        """Write a file and remove it, so that a store that cannot be written fails before the first stage.

        Raises:
            StoreError: the folder is read-only, or full.
        """
        probe = self.root / f".probe-{uuid.uuid4().hex[:8]}"
        with disk_errors("write to the store", self.root, OPTION):
            probe.write_bytes(b"0" * 4096)
            probe.unlink()

    @property
    def digests(self) -> Path:
        """The file in which content hashes of data sets on disk are remembered."""
        return self.root / _DIGESTS

    def folder(self, name: str) -> Path:
        """Where a committed stage lies."""
        return self.stages / name

    def work(self, name: str) -> Path:
        """Where the newest attempt at an unfinished stage lies."""
        folder = self.working / name
        attempts = [int(p.name) for p in folder.iterdir() if p.name.isdecimal()] if folder.exists() else []
        return folder / str(max(attempts, default=0))

    def attempt(self, lease: Lease) -> Path:
        """Where the attempt of a lease lies."""
        return self.working / lease.folder.name / str(lease.number)

    def begin(self, lease: Lease) -> Path:
        """Make the folder of an attempt, with what the one before it left there."""
        before, mine = self.work(lease.folder.name), self.attempt(lease)
        with disk_errors("make", mine):
            if before.exists() and before != mine:
                before.replace(mine)
            mine.mkdir(parents=True, exist_ok=True)
        return mine

    def is_done(self, name: str) -> bool:
        """Whether the stage is committed, and its record is sound; one with a damaged record is to be made again."""
        return is_sound(self.stages / name / RESULT)

    def run(self, name: str) -> Run:
        """All that is known of a stage: done, failed, running, or not run.

        Raises:
            StoreError: its record is damaged.
        """
        kind, key = split_name(name)
        marker = self.stages / name / RESULT
        if marker.exists():
            record = read_record(marker)
            known = {f: record[f] for f in _RUN_FIELDS} | {f: record[f] for f in _LATER_FIELDS if f in record}
            return Run(name, record["key"], kind, "done", marker.parent, **known)
        work = self.work(name)
        if self.leases.is_held(name):
            return Run(name, key, kind, "running", work, attempts=self.leases.attempts(name))
        if (work / FAILURE).exists():
            return Run(name, key, kind, "failed", work, **_failure(work / FAILURE))
        return Run(name, key, kind, "not run", work)

    def names(self) -> list[str]:
        """Every committed stage, sorted; also those whose record is damaged."""
        return sorted(name for name in self.folders() if (self.stages / name / RESULT).exists())

    def folders(self) -> set[str]:
        """Names of the folders of results, unread: of every committed stage, and of what else lies there."""
        return {p.name for p in self.stages.iterdir()} if self.stages.exists() else set()

    def check(self, name: str, *, content: bool = True) -> None:
        """Compare a committed stage's files with what was committed.

        Args:
            content: compare checksums; otherwise only presence and size, which needs no reading.

        Raises:
            StoreError: names the file that is missing, truncated or changed.
        """
        run = self.run(name)
        if not run.key.startswith(split_name(name).key):
            raise StoreError(f"{run.folder / RESULT} is damaged: it is the record of another stage, key {run.key}.")
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

    def commit(self, stage: Stage, record: Mapping[str, Any], lease: Lease | None = None) -> Run:
        """Make the newest attempt a result, in one rename.

        Args:
            stage: what was computed.
            record: the fields of Run except files and stage, which are taken here.
            lease: of the caller; without one the caller must know that no other process works on the stage.

        Raises:
            StoreError: another process took the stage over meanwhile.
        """
        work = self.attempt(lease) if lease else self.work(stage.name)
        with disk_errors("commit", work):
            (work / FAILURE).unlink(missing_ok=True)
            files = {str(p.relative_to(work)): p for p in sorted(work.rglob("*")) if p.is_file() and p.name != RESULT}
            entries = {n: {"sha256": sha256(p), "bytes": p.stat().st_size} for n, p in files.items()}
            result = with_digest({**record, "key": stage.key, "files": entries, "stage": freeze(stage)})
            text = json.dumps(result, indent=1, sort_keys=True) + "\n"
            (work / RESULT).write_text(text)  # not yet where readers look: the rename below puts it there
            sync_all([*files.values(), work / RESULT, work])
            if lease and not lease.is_ours():
                raise StoreError(f"{stage.name} was taken over by another process, whose result will count")
            if self.folder(stage.name).exists() and not self.is_done(stage.name):
                self.quarantine(stage.name)  # its record was damaged, so the stage was computed again
            work.replace(self.stages / stage.name)
            sync_folder(self.stages)
        self.discard_work(stage.name)
        if isinstance(stage, Train):
            self.remember_family(stage)
        return self.run(stage.name)

    def fail(self, stage: Stage, error: str, started: str = "", seconds: float = 0.0) -> None:
        """Record why a stage stopped; a later attempt overwrites it."""
        record = {"error": error, "stage": freeze(stage), "started": started, "seconds": round(seconds, 3)}
        write_json(self.work(stage.name) / FAILURE, record)

    def discard_work(self, name: str) -> None:
        """Forget unfinished attempts."""
        shutil.rmtree(self.working / name, ignore_errors=True)

    def remember_family(self, stage: Train) -> None:
        """Note a committed training where longer ones of its family look for beginnings."""
        write_json(self._family(stage) / stage.name, [list(piece) for piece in stage.schedule])

    def _family(self, stage: Train) -> Path:
        return self.root / "families" / stage.family[:16]

    def family(self, stage: Train) -> dict[str, Schedule]:
        """Committed trainings that differ from this one in length only: name -> schedule."""
        folder = self._family(stage)
        if not folder.exists():
            return {}
        names = [p.name for p in folder.iterdir() if not p.name.startswith(".") and self.is_done(p.name)]
        found = {n: _schedule(folder / n) or self._recorded_schedule(n) for n in sorted(names)}
        return {n: schedule for n, schedule in found.items() if schedule}

    def _recorded_schedule(self, name: str) -> Schedule:
        """From the record of the training, where the file of its family is damaged."""
        return _as_schedule(read_record(self.folder(name) / RESULT)["stage"].get("schedule"))


def need_store(root: Path) -> None:
    """Nothing, if there is a store, also one without any result; for commands that only look at one.

    Raises:
        StoreError: the folder is missing or no store; stores beside it whose names are alike are named.
    """
    Store(root, make=False)
    if _is_store(root):
        return
    beside = [p.name for p in root.parent.iterdir() if _is_store(p)] if root.parent.is_dir() else []
    near = nearest(root.name, beside)
    meant = f"  did you mean {str(root.with_name(near))!r}?\n" if near else ""
    found = "that folder holds none" if root.exists() else "that folder does not exist"
    raise StoreError(
        f"there is no store at {root}: {found}.\n{meant}  `casl run` makes one; --store names another folder."
    )


def _is_store(folder: Path) -> bool:
    return (folder / "store.json").is_file() or (folder / "stages").is_dir()


def _schedule(path: Path) -> Schedule:
    """() where the file is damaged."""
    try:
        return _as_schedule(read_json(path))
    except StoreError:
        return ()


def _as_schedule(value: Any) -> Schedule:
    try:
        return tuple((int(until), float(factor)) for until, factor in value)
    except (TypeError, ValueError, OverflowError):
        return ()


def _failure(path: Path) -> dict[str, Any]:
    """What is recorded of a failed attempt, as fields of Run."""
    try:
        record = {"stage": {}, "started": "", "seconds": 0.0, **read_json(path)}
        told = {"error": str(record["error"]), "stage": dict(record["stage"])}
        return {**told, "started": str(record["started"]), "seconds": float(record["seconds"])}
    except (StoreError, KeyError, TypeError, ValueError):
        return {"error": f"the reason cannot be read: {path} is damaged; the log beside it may tell"}
