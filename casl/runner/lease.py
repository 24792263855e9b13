"""Leases: who works on a stage now, on a folder that any number of processes and machines may share.

leases/<stage>/<number> is one attempt. Its first line says who makes it; every heartbeat appends a dot; a last line
is written when it ends. Numbers only rise: only one process can make the next number; it then has the stage, and the
owner before has lost it. Nothing here compares clocks of two machines, or trusts one that may jump: an owner is dead
if it is on this machine and its process is gone, or if no heartbeat was seen for `stale_s` by this process's own
monotonic clock. Appending keeps the file itself, so that NFS shows a new heartbeat to everyone who opens it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from casl.files import disk_errors

BEAT_S = 5.0
STALE_S = 60.0  # twelve heartbeats; NFS may hide what is new for half of that


@dataclass(frozen=True)
class Lease:
    """One attempt at a stage, ours until a higher number appears."""

    folder: Path
    number: int
    began: float

    @property
    def path(self) -> Path:
        return self.folder / str(self.number)

    def is_ours(self) -> bool:
        """Whether no other process took the stage over. Asked before a result is committed."""
        return _numbers(self.folder)[-1:] == [self.number]

    def beat(self) -> bool:
        """Append a heartbeat; returns whether the lease is still ours."""
        try:
            with self.path.open("r+b", buffering=0) as file:  # never makes a file anew that was removed
                file.seek(0, os.SEEK_END)
                file.write(b".")
        except FileNotFoundError:
            return False
        return self.is_ours()

    def release(self) -> None:
        """Write the last line: this attempt has ended, finished or not. Without it the owner soon counts as dead."""
        with contextlib.suppress(OSError), self.path.open("r+b", buffering=0) as file:
            file.seek(0, os.SEEK_END)
            file.write(b"\n" + json.dumps({"seconds": round(time.monotonic() - self.began, 3)}).encode() + b"\n")

    @contextmanager
    def kept(self, on_lost: Callable[[], None], beat_s: float = BEAT_S) -> Iterator[None]:
        """Beat in a thread while the block runs, then release.

        Args:
            on_lost: called once from that thread when another process has the stage.
        """
        over = threading.Event()

        def beats() -> None:
            while not over.wait(beat_s):
                try:
                    alive = self.beat()
                except OSError:
                    continue  # a full disk or a file server that is away: others will see no heartbeat and take over
                if not alive:
                    on_lost()
                    return

        thread = threading.Thread(target=beats, name=f"heartbeat {self.folder.name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.release()


class Leases:
    """All leases of a store, and what this process has seen of them.

    Args:
        root: folder of all leases.
        stale_s: an owner without a heartbeat for so long is taken for dead.
    """

    def __init__(self, root: Path, stale_s: float = STALE_S) -> None:
        self.root = root
        self.stale_s = stale_s
        self._seen: dict[Path, tuple[int, float]] = {}

    def acquire(self, name: str) -> Lease | None:
        """A lease on a stage, or None while another process has it."""
        folder = self.root / name
        numbers = _numbers(folder)
        if numbers and not self._is_over(folder / str(numbers[-1])):
            return None
        number = (numbers[-1] if numbers else 0) + 1
        record = {"host": socket.gethostname(), "started": datetime.now(UTC).isoformat(timespec="seconds"), **_myself()}
        with disk_errors("take the lease on", folder):
            folder.mkdir(parents=True, exist_ok=True)
            draft = folder / f".{uuid.uuid4().hex}"
            try:
                draft.write_text(json.dumps(record) + "\n")
                os.link(draft, folder / str(number))  # atomic, on NFS too: one process only makes each number
            except (FileExistsError, FileNotFoundError):  # another was faster, to take the stage or to finish it
                return None
            finally:
                draft.unlink(missing_ok=True)
        return Lease(folder, number, time.monotonic())

    def is_held(self, name: str) -> bool:
        """Whether a process works on the stage, as far as this one knows."""
        folder = self.root / name
        numbers = _numbers(folder)
        return bool(numbers) and not self._is_over(folder / str(numbers[-1]))

    def attempts(self, name: str) -> list[dict[str, Any]]:
        """Every attempt so far, first to last: host, started, seconds (to the last heartbeat, if it did not end)."""
        folder = self.root / name
        return [_attempt(*_read(folder / str(n))) for n in _numbers(folder)]

    def forget(self, name: str) -> None:
        """Remove all leases of a finished stage."""
        shutil.rmtree(self.root / name, ignore_errors=True)

    def _is_over(self, path: Path) -> bool:
        try:
            record, beats, ended = _read(path)
        except FileNotFoundError:
            return True
        if ended is not None or _is_dead(record):
            return True
        known = self._seen.get(path)
        if known is None or known[0] != beats:
            self._seen[path] = (beats, time.monotonic())
            return False
        return time.monotonic() - known[1] > self.stale_s


def _numbers(folder: Path) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())  # noqa: PTH208
    except FileNotFoundError:
        return []


def _read(path: Path) -> tuple[dict[str, Any], int, dict[str, Any] | None]:
    """The owner, the heartbeats and the last line, if there is one. A damaged file gives only a size that may grow."""
    lines = path.read_text(errors="replace").split("\n")
    try:
        owner, ended = json.loads(lines[0]), json.loads(lines[2]) if len(lines) > 2 and lines[2] else None
    except (ValueError, RecursionError):
        return {}, sum(map(len, lines)), None
    if not _is_owner(owner) or not (ended is None or _is_end(ended)):
        return {}, sum(map(len, lines)), None
    return owner, lines[1].count(".") if len(lines) > 1 else 0, ended


def _is_owner(value: Any) -> bool:
    names = ("host", "started", "machine", "born")
    return (
        isinstance(value, dict)
        and isinstance(value.get("pid"), int)
        and all(isinstance(value.get(name), str) for name in names)
    )


def _is_end(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("seconds"), int | float)


def _attempt(record: Mapping[str, Any], beats: int, ended: Mapping[str, Any] | None) -> dict[str, Any]:
    seconds = ended["seconds"] if ended else beats * BEAT_S
    return {"host": record.get("host", ""), "started": record.get("started", ""), "seconds": seconds}


def _myself() -> dict[str, Any]:
    """This process, so that another one on the same machine can tell whether it lives."""
    return {"machine": machine(), "pid": os.getpid(), "born": born(os.getpid())}


def _is_dead(record: Mapping[str, Any]) -> bool:
    """Whether the owner is certainly gone: it was a process of this machine, and no longer is."""
    if not machine() or record.get("machine") != machine():
        return False
    return bool(born(record["pid"]) != record["born"])


def machine() -> str:
    """This boot of this machine and its process numbers; empty where that cannot be told apart (not Linux)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def born(pid: int) -> str:
    """When a process of this machine began, in its own units; empty if there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
