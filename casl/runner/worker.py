"""A worker process: reads jobs as JSON lines, carries them out one after the other, writes events as JSON lines.

Started by the local launcher. It stays warm between jobs, so libraries are imported and images decoded once. If the
runner dies, the kernel ends the worker; what it had not committed is redone from its last checkpoint.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casl.runner.job import Job, carry_out
from casl.runner.store import Store

EVENTS_S = 0.5  # at most one progress event in this time
PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Usage: python -m casl.runner.worker STORE RUNNER_PID"""
    _die_with(int(arguments[1]))
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print goes to the log, not into the events
    store = Store(Path(arguments[0]))
    checked: set[str] = set()
    _quiet_threads()
    for line in sys.stdin:
        job = Job.from_json(json.loads(line))
        status = carry_out(job, store, _Reporter(events, job.stage.name), checked)
        _send(events, {"event": status, "name": job.stage.name})


class _Reporter:
    """Sends progress, but not more often than anyone reads it."""

    def __init__(self, events: Any, name: str) -> None:
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
        _send(self.events, {**event, "loss": figures.get("loss")})


def _send(events: Any, event: Mapping[str, Any]) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


def _die_with(runner: int) -> None:
    """Ask the kernel to end this process when the runner ends, and end now if it already has."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != runner:
        sys.exit("the runner is gone")


def _quiet_threads() -> None:
    """One thread a worker: workers share the cores, and sums in a fixed order give the same bits everywhere."""
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)


if __name__ == "__main__":
    main(sys.argv[1:])
