"""The shepherd: one small process above every worker, the same under every launcher.

It takes the lease on a stage, hands the job to its worker and keeps the heartbeat. When the worker dies, runs out of
time or loses the lease, or when the shepherd is told to stop, every process of the worker's tree is killed, those in
sessions of their own included. They are found by an environment variable that all of them inherit. What a shepherd
leaves behind that was itself killed, the next one on this machine and store kills.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from casl.errors import StoreError
from casl.runner.job import Job, Placement, in_smaller_pieces
from casl.runner.lease import BEAT_S, Lease, born
from casl.runner.store import Store
from casl.runner.worker import die_with, send

START_S = 300.0  # for a worker to import what it needs, from a slow file server too
GRACE_S = 20.0  # from a request to stop to the end: time for an iteration and a checkpoint
MARK = "CASL_TREE"
PR_SET_CHILD_SUBREAPER = 36
WAIT_S = 0.5
_TAKEN = "taken over by another process"


def main(arguments: list[str]) -> int:
    """Usage: python -m casl.runner.shepherd STORE PARENT_PID        jobs on standard input, events on standard output
           or: python -m casl.runner.shepherd STORE --job FILE [PARENT_PID]
                                                                   one job; waits for the stage if others work on it

    Returns:
        0 all done; 1 a stage failed; 75 stopped or lost, worth another attempt.
    """
    store = Store(Path(arguments[0]))
    single = arguments[1] == "--job"
    if parent := arguments[3:] if single else arguments[1:2]:
        die_with(int(parent[0]), signal.SIGTERM)
    shepherd = Shepherd(store, sys.stdout)
    try:
        if single:
            return _ENDINGS.get(shepherd.wait_and_do(json.loads(Path(arguments[2]).read_text())), 1)
        for line in sys.stdin:
            shepherd.do(json.loads(line))
            if shepherd.told_to_stop:
                break
    finally:
        shepherd.close()
    return 0


_ENDINGS = {"done": 0, "stopped": 75, "lost": 75, "busy": 75}


class Shepherd:
    """Carries jobs out in a worker of its own, one after the other.

    Args:
        store: where leases and results are.
        events: where events go, as JSON lines.
    """

    def __init__(self, store: Store, events: Any) -> None:
        self.store, self.events = store, events
        self.told_to_stop = False  # no Event, whose lock a signal would wait for that comes while one is handled
        self.mark = f"{_identity(store)}.{os.getpid()}.{born(os.getpid())}"
        self._worker: _Worker | None = None
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGUSR1, self._on_stop)  # Slurm's warning before the time limit
        signal.signal(signal.SIGQUIT, self._on_end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sweep(store)

    def _on_stop(self, *_: object) -> None:
        self.told_to_stop = True
        if self._worker:
            self._worker.stop()

    def _on_end(self, *_: object) -> None:
        kill_tree(self.mark)
        os._exit(1)

    def do(self, request: Mapping[str, Any]) -> str:
        """Carry out {"job": ...}; tells how it ended as an event, and returns that.

        Endings are those of `carry_out`, "busy" when another process works on the stage, "lost" when the worker died.
        """
        job = Job.from_json(request["job"])
        name = job.stage.name
        ending: dict[str, Any] = {"event": "busy"}
        try:
            if self.store.is_done(name):
                ending = {"event": "done"}
            elif lease := self.store.leases.acquire(name):
                ending = self._hold(job, lease)
        except StoreError as error:
            ending = {"event": "failed", "error": str(error)}
        self._tell({"name": name, **ending})
        return str(ending["event"])

    def _tell(self, event: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the runner is gone; what is done is done
            send(self.events, event)

    def wait_and_do(self, request: Mapping[str, Any]) -> str:
        """As `do`, but wait while another process works on the stage, and cut batches where memory is too small."""
        while True:
            status = self.do(request)
            if status == "memory" and (smaller := in_smaller_pieces(Job.from_json(request["job"]))):
                request = {"job": smaller.to_json()}
            elif status != "busy" or self._is_told_within(WAIT_S):
                return status

    def _is_told_within(self, seconds: float) -> bool:
        time.sleep(seconds)
        return self.told_to_stop

    def close(self) -> None:
        """End the worker and all that it started."""
        if self._worker:
            self._worker.close()
            self._worker = None
        kill_tree(self.mark)

    def _hold(self, job: Job, lease: Lease) -> dict[str, Any]:
        name = job.stage.name
        lost = threading.Event()
        with lease.kept(lost.set, min(BEAT_S, self.store.leases.stale_s / 12)):
            if self.store.is_done(name):  # it was done between the look above and the lease
                status: dict[str, Any] = {"event": "done"}
            else:
                self.store.begin(lease)
                status = self._watch(job, lease, lost)
        if status["event"] == "done":
            self.store.leases.forget(name)
        return status

    def _watch(self, job: Job, lease: Lease, lost: threading.Event) -> dict[str, Any]:
        """Let the worker do the job; end it when it must end."""
        limit = job.placement.time_limit_s
        watch = _Watch(limit)
        worker = self._start(job, lease)
        while True:
            for event in worker.events(WAIT_S):
                if event["event"] in ("begun", "progress"):
                    watch.begin()
                    self._tell(event)
                    continue
                self._after(job)
                taken = event["event"] != "done" and not lease.is_ours()
                return {"event": "lost", "code": _TAKEN} if taken else event
            if worker.is_gone:
                ending = "stopped" if self.told_to_stop else "lost"
                return self._end_with({"event": ending, "code": worker.code})
            if lost.is_set():
                return self._end_with({"event": "lost", "code": _TAKEN})
            if watch.is_over():
                self.store.fail(job.stage, f"stopped by the time limit of {limit:g} s; its log ends where it hung")
                return self._end_with({"event": "failed"})
            if self.told_to_stop and watch.grace_is_over():
                return self._end_with({"event": "stopped"})

    def _start(self, job: Job, lease: Lease) -> _Worker:
        request = {"job": job.to_json(), "attempt": lease.number}
        environment = {**os.environ, MARK: self.mark}
        if _has_ranks(job):
            self.close()
            self._worker = _Worker.of_ranks(self.store, environment, request, job.placement)
        else:
            self._worker = self._worker or _Worker.warm(self.store, environment)
            self._worker.send(request)
        if self.told_to_stop:
            self._worker.stop()
        return self._worker

    def _after(self, job: Job) -> None:
        """End the processes that a finished job left behind, all but a warm worker."""
        assert self._worker is not None
        if _has_ranks(job):
            self.close()
        elif _has_other_children(self._worker.process.pid):
            kill_tree(self.mark, but=self._worker.process.pid)

    def _end_with(self, ending: dict[str, Any]) -> dict[str, Any]:
        self.close()
        return ending


class _Watch:
    """Deadlines of one attempt. limit_s: of the stage itself, 0 for none; its worker may take `START_S` to start."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._deadline = time.monotonic() + START_S + limit_s
        self._begun = False
        self._asked = 0.0

    def begin(self) -> None:
        if not self._begun:
            self._begun, self._deadline = True, time.monotonic() + self.limit_s

    def is_over(self) -> bool:
        return self.limit_s > 0 and time.monotonic() > self._deadline

    def grace_is_over(self) -> bool:
        self._asked = self._asked or time.monotonic()
        return time.monotonic() - self._asked > GRACE_S


class _Worker:
    """The process that does the work, or torchrun above several, and the pipes to it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(environment))
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests: IO[bytes] = self.process.stdin
        self.answers: IO[bytes] = self.process.stdout
        self.is_gone = False
        self._rest = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.answers, selectors.EVENT_READ)

    @staticmethod
    def warm(store: Store, environment: Mapping[str, str]) -> _Worker:
        """One process that takes jobs until it is closed."""
        return _Worker([sys.executable, "-m", "casl.runner.worker", str(store.root), str(os.getpid())], environment)

    @staticmethod
    def of_ranks(store: Store, environment: Mapping[str, str], request: Mapping[str, Any], place: Placement) -> _Worker:
        """Several processes for one job."""
        lease = Lease(store.leases.root / Job.from_json(request["job"]).stage.name, request["attempt"], 0.0)
        file = store.attempt(lease).parent / f"job-{lease.number}.json"
        file.write_text(json.dumps(request))
        command = [sys.executable, "-m", "casl.runner.worker", str(store.root), str(os.getpid()), str(file)]
        return _Worker([*command, str(place.ranks), str(place.nodes)], environment)

    @property
    def code(self) -> int | None:
        return self.process.poll()

    def send(self, request: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died while idle; `events` finds out
            self.requests.write(json.dumps(request).encode() + b"\n")
            self.requests.flush()

    def stop(self) -> None:
        """Ask for a checkpoint and an end."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()

    def events(self, timeout_s: float) -> Iterator[dict[str, Any]]:
        """Its events since the last call; `is_gone` once it has ended."""
        if not self._selector.select(timeout_s):
            return
        data = os.read(self.answers.fileno(), 1 << 16)
        if not data:
            self.process.wait()
            self.is_gone = True
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield json.loads(line)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self._selector.close()
        for pipe in (self.requests, self.answers):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _has_ranks(job: Job) -> bool:
    return job.placement.ranks * job.placement.nodes > 1


def _has_other_children(worker: int) -> bool:
    """Whether this process has another descendant than its worker: orphans are its children, since it adopts them.

    The kernel's own lists of children, which may miss one while others end; what is missed is found at the next stage,
    or when the worker is closed. Looking through all processes instead takes milliseconds, as long as a small stage.
    """
    try:
        return _children(os.getpid()) != {worker} or bool(_children(worker))
    except OSError:  # no such lists on this system
        return True


def _children(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}


def kill_tree(mark: str, but: int = 0) -> None:
    """Kill every process of this machine that carries a mark, until none is left.

    Args:
        but: a process to spare.
    """
    spared = {os.getpid(), but}
    while found := [p for p, m in _marked() if m == mark and p not in spared]:
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
        for pid in found:
            with contextlib.suppress(ChildProcessError):  # orphans became this process's children
                os.waitpid(pid, os.WNOHANG)


def sweep(store: Store) -> None:
    """Kill what shepherds of this store left behind that were killed themselves."""
    for _, mark in _marked():
        identity, pid, start = mark.split(".")
        if identity == _identity(store) and born(int(pid)) != start:
            kill_tree(mark)


def _marked() -> Iterator[tuple[int, str]]:
    """(pid, mark) of living processes that carry one and that this user may see."""
    wanted = MARK.encode() + b"="
    for folder in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            for entry in (folder / "environ").read_bytes().split(b"\0"):
                if entry.startswith(wanted) and born(int(folder.name)):
                    yield int(folder.name), entry[len(wanted) :].decode()


def _identity(store: Store) -> str:
    return hashlib.sha256(str(store.root.resolve()).encode()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
