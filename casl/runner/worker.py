"""A worker process: reads jobs as JSON lines, carries them out one after the other, writes events as JSON lines.

Started by a shepherd, which holds the leases. It stays warm between jobs, so libraries are imported and images decoded
once. SIGTERM asks it to save a checkpoint and stop. If the shepherd dies, the kernel ends the worker; what it had not
committed is redone from its last checkpoint. Started by torchrun, it is one of several ranks that do one job together.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from casl.runner.job import Job, Process, carry_out
from casl.runner.lease import Lease
from casl.runner.store import Store

EVENTS_S = 0.5  # at most one progress event in this time
PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Usage: python -m casl.runner.worker STORE PARENT_PID [FILE_OF_ONE_JOB [RANKS NODES]]

    A line, or the file, is {"job": ..., "attempt": number of the lease}. With RANKS this process becomes torchrun,
    which starts so many of this module, on each of several nodes if Slurm gave them.
    """
    if parent := int(arguments[1]):
        die_with(parent)
    if len(arguments) > 3:
        _become_torchrun(arguments[0], arguments[2], int(arguments[3]), int(arguments[4]))
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes to the log, not into the events
    store = Store(Path(arguments[0]))
    asked: list[int] = []  # no Event, whose lock a signal would wait for that comes while one is handled
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the runner, which passes it on as SIGTERM
    rank, world, local = (int(os.environ.get(n, d)) for n, d in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    process = Process(lambda *_: None, stopping=lambda: bool(asked), rank=rank, world=world, local_rank=local)
    for request in _requests(arguments[2] if len(arguments) > 2 else None):
        job = Job.from_json(request["job"])
        name = job.stage.name
        lease = Lease(store.leases.root / name, int(request["attempt"]), time.monotonic())
        if rank == 0:
            send(events, {"event": "begun", "name": name})
        ending = carry_out(job, store, lease, replace(process, progress=_Reporter(events, name)))
        if rank == 0:
            send(events, {"name": name, **ending})


def _become_torchrun(store: str, file: str, ranks: int, nodes: int) -> None:
    """The same process from now on, so that it still ends with the shepherd."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", f"--nproc-per-node={ranks}"]
    if nodes == 1:
        command.append("--standalone")
    else:  # one torchrun a node; they meet at this one, the first
        meeting = f"{socket.gethostname()}:{_free_port()}"
        command += ["--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}", f"--rdzv-id={Path(file).stem}"]
        step = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1", "--unbuffered"]
        command = ["srun", *step, *command]
    command += ["-m", "casl.runner.worker", store, "0", file]
    os.execvp(command[0], command)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _requests(file: str | None) -> Iterator[dict[str, Any]]:
    if file is not None:
        yield json.loads(Path(file).read_text())
        return
    for line in sys.stdin:
        yield json.loads(line)


class _Reporter:
    """Sends progress events, at most one in EVENTS_S."""

    def __init__(self, events: TextIO, name: str) -> None:
        self.events, self.name = events, name
        self.began, self.first, self.sent = time.monotonic(), -1, 0.0

    def __call__(self, done: int, total: int, figures: Mapping[str, float]) -> None:
        now = time.monotonic()
        self.first = done - 1 if self.first < 0 else self.first
        if now - self.sent < EVENTS_S:
            return
        self.sent = now
        rate = (done - self.first) / max(now - self.began, 1e-9)
        event = {"event": "progress", "name": self.name, "done": done, "total": total, "rate": rate}
        send(self.events, {**event, "loss": figures.get("loss")})


def send(events: TextIO, event: Mapping[str, Any]) -> None:
    """Write one event."""
    events.write(json.dumps(event) + "\n")
    events.flush()


def die_with(parent: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to signal this process when its parent ends, and end now if it already has."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")


if __name__ == "__main__":
    main(sys.argv[1:])
