"""Launcher `local`: shepherds with warm workers on this machine, one a core or one a GPU."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from casl.errors import SpecError
from casl.runner.job import ONE_THREAD, Job, Resources
from casl.runner.launch.gpu_locks import GpuLocks
from casl.runner.store import Store

END_S = 5.0


class Local:
    """Hands jobs to idle shepherds and collects their events.

    Every shepherd has a place: some GPUs, or a share of the cores. A GPU is locked while a stage of ours runs on it, so
    that the runs of one user take turns.

    Args:
        store: where results are.
        resources: how many stages at once, and on which GPUs; by default one a GPU, or one a core where there is none.

    Raises:
        SpecError: not so many GPUs, or their lock files are not ours.
    """

    ahead = False
    here = True

    def __init__(self, store: Store, resources: Resources | None = None) -> None:
        self.store = store
        resources = resources or Resources()
        resources.own("local")
        self._places = _places(resources)
        self.slots = len(self._places)
        self._locks = GpuLocks(gpu for place in self._places for gpu in place.gpus)
        self._free = deque(range(self.slots))
        self._shepherds: dict[int, _Shepherd] = {}
        self._queue: deque[Job] = deque()
        self._dropped: list[dict[str, Any]] = []
        self._selector = selectors.DefaultSelector()
        self._environment = dict(resources.environment)

    def submit(self, job: Job) -> None:
        """Start a job when a place is free and its GPUs are; the caller keeps at most `slots` jobs running."""
        self._queue.append(job)
        self._start_waiting()

    def poll(self, timeout_s: float) -> list[dict[str, Any]]:
        """Events since the last call: "progress", how a job ended, or "lost" when its shepherd died."""
        self._start_waiting()
        events, self._dropped = self._dropped, []
        for key, _ in self._selector.select(0 if events else timeout_s):
            number: int = key.data
            shepherd = self._shepherds[number]
            lines = shepherd.read()
            events += lines or [{"event": "lost", "name": shepherd.name, "code": shepherd.process.wait()}]
            if not lines or lines[-1]["event"] not in ("begun", "progress"):
                self._release(number, alive=bool(lines))
        return events

    def stop(self) -> None:
        """Ask all running jobs to save where they are and stop; those that wait for a GPU do not start."""
        self._dropped += [{"event": "stopped", "name": job.stage.name} for job in self._queue]
        self._queue.clear()
        for shepherd in self._shepherds.values():
            shepherd.signal(signal.SIGTERM)

    def close(self) -> None:
        """End everything now; unfinished jobs keep their checkpoints."""
        for shepherd in self._shepherds.values():
            shepherd.signal(signal.SIGQUIT)
        for shepherd in self._shepherds.values():
            shepherd.end()
        self._shepherds.clear()
        self._selector.close()
        self._locks.close()

    def _start_waiting(self) -> None:
        while self._queue and (number := self._free_place()) is not None:
            if number not in self._shepherds:
                self._shepherds[number] = _Shepherd(self.store, self._places[number], self._environment)
            shepherd = self._shepherds[number]
            shepherd.send(self._queue.popleft())
            self._selector.register(shepherd.events, selectors.EVENT_READ, number)

    def _free_place(self) -> int | None:
        """A place without a running job, those with a warm worker first."""
        for number in sorted(self._free, key=lambda n: n not in self._shepherds):
            if self._locks.take(self._places[number].gpus):
                self._free.remove(number)
                return number
        return None

    def _release(self, number: int, *, alive: bool) -> None:
        shepherd = self._shepherds[number]
        self._selector.unregister(shepherd.events)
        self._locks.give(shepherd.place.gpus)
        self._free.append(number)
        if not alive:
            del self._shepherds[number]
            shepherd.end()


class Place:
    """Where one stage runs: GPUs by the names CUDA_VISIBLE_DEVICES uses, or cores."""

    def __init__(self, gpus: Sequence[str], cores: Sequence[int]) -> None:
        self.gpus, self.cores = tuple(gpus), tuple(cores)


def _places(resources: Resources) -> list[Place]:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    known = visible_gpus()
    gpus = known if resources.gpus is None else _chosen(resources.gpus, known)
    each = resources.ranks
    groups = [gpus[i : i + each] for i in range(0, len(gpus) - each + 1, each)] * resources.per_gpu
    if gpus and not groups:
        raise SpecError(f"a stage was to have {each} GPUs, and there are {len(gpus)}: {', '.join(gpus)}")
    count = resources.jobs or len(groups) or max(1, len(cores) // each)
    if groups and count > len(groups):
        raise SpecError(
            f"{count} stages at once on {len(gpus)} GPUs with {each} a stage: at most {len(groups)} fit.\n"
            "  --per-gpu 2 lets two stages share a GPU."
        )
    shares = [cores[i::count] or cores for i in range(count)]
    return [Place(groups[i] if groups else (), share) for i, share in enumerate(shares)]


def _chosen(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    if missing := [g for g in wanted if g not in known]:
        raise SpecError(f"no GPU {', '.join(missing)} here; there are: {', '.join(known) or 'none'}")
    return list(wanted)


class _Shepherd:
    """One process of casl.runner.shepherd and the pipes to it."""

    def __init__(self, store: Store, place: Place, environment: Mapping[str, str]) -> None:
        self.place = place
        self.name = ""
        self._rest = b""
        with (store.root / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "casl.runner.shepherd", str(store.root), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **_threads(place), **environment},
                start_new_session=True,  # Ctrl-C is for the runner
            )
        with contextlib.suppress(OSError, AttributeError):  # a machine without affinity runs as well
            os.sched_setaffinity(self.process.pid, place.cores)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests: IO[bytes] = self.process.stdin
        self.events: IO[bytes] = self.process.stdout

    def send(self, job: Job) -> None:
        self.name = job.stage.name
        with contextlib.suppress(BrokenPipeError):  # it died while idle; poll reports the job as lost
            self.requests.write(json.dumps({"job": job.to_json()}).encode() + b"\n")
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

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def end(self) -> None:
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.requests, self.events):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _threads(place: Place) -> dict[str, str]:
    devices = {"CUDA_VISIBLE_DEVICES": ",".join(place.gpus)} if place.gpus else {}
    return {**ONE_THREAD, **devices}


def visible_gpus() -> list[str]:
    """GPUs this process may use, without importing torch: those named by the environment, else the device files."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [v.strip() for v in visible.split(",") if v.strip() not in ("", "-1")]
    return sorted((p.name[6:] for p in Path("/dev").glob("nvidia*") if p.name[6:].isdigit()), key=int)
