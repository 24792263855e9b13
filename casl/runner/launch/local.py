"""Launcher `local`: warm worker processes on this machine, one a core or one a GPU."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from casl.runner.job import Job
from casl.runner.store import Store


class Local:
    """Hands jobs to idle workers and collects their events.

    Args:
        store: where workers read and commit.
        workers: number of processes; 0 means one a core, or one a GPU where there are any.
    """

    def __init__(self, store: Store, workers: int = 0) -> None:
        self.store = store
        self.slots = workers or count_gpus() or len(os.sched_getaffinity(0))
        self._idle: list[_Worker] = []
        self._busy: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._started = 0

    def submit(self, job: Job) -> None:
        """Start a job on an idle worker, or on a new one; the caller keeps at most `slots` jobs running."""
        worker = self._idle.pop() if self._idle else self._start()
        worker.job = job
        with contextlib.suppress(BrokenPipeError):  # it died while idle; poll reports the job as lost
            worker.send(job)
        self._busy[worker.process.pid] = worker
        self._selector.register(worker.events, selectors.EVENT_READ, worker)

    def poll(self, timeout_s: float) -> list[dict[str, Any]]:
        """Events since the last call: "progress", "done", "failed", or "lost" when a worker died on its job."""
        events: list[dict[str, Any]] = []
        for key, _ in self._selector.select(timeout_s):
            worker: _Worker = key.data
            lines = worker.read()
            events += lines or [{"event": "lost", "name": worker.name, "code": worker.process.wait()}]
            if not lines or lines[-1]["event"] in ("done", "failed"):
                self._release(worker, alive=bool(lines))
        return events

    def close(self) -> None:
        """End all workers; unfinished jobs keep their checkpoints."""
        for worker in [*self._idle, *self._busy.values()]:
            worker.process.kill()
            worker.process.wait()
            worker.close()
        self._selector.close()

    def _start(self) -> _Worker:
        number = self._started % self.slots
        self._started += 1
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        if count_gpus():
            environment["CUDA_VISIBLE_DEVICES"] = str(number % count_gpus())
        return _Worker(self.store, environment)

    def _release(self, worker: _Worker, *, alive: bool) -> None:
        self._selector.unregister(worker.events)
        del self._busy[worker.process.pid]
        if alive:
            self._idle.append(worker)
        else:
            worker.close()


class _Worker:
    """One process of casl.runner.worker and the pipes to it."""

    def __init__(self, store: Store, environment: dict[str, str]) -> None:
        self.job: Job | None = None
        self._rest = b""
        log = (store.root / "worker.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "casl.runner.worker", str(store.root), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )
        log.close()
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests: IO[bytes] = self.process.stdin
        self.events: IO[bytes] = self.process.stdout

    @property
    def name(self) -> str:
        assert self.job is not None
        return self.job.stage.name

    def send(self, job: Job) -> None:
        self.requests.write(json.dumps(job.to_json()).encode() + b"\n")
        self.requests.flush()

    def read(self) -> list[dict[str, Any]]:
        """Complete events that have arrived; none at all means that the process is gone."""
        while True:
            data = os.read(self.events.fileno(), 1 << 16)
            if not data:
                return []
            *lines, self._rest = (self._rest + data).split(b"\n")
            if lines:
                return [json.loads(line) for line in lines]

    def close(self) -> None:
        for pipe in (self.requests, self.events):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def count_gpus() -> int:
    """GPUs this process may use, without importing torch: those named by the environment, else the device files."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([v for v in visible.split(",") if v.strip() not in ("", "-1")])
    return len([p for p in Path("/dev").glob("nvidia*") if p.name[6:].isdigit()])
