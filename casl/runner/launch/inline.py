"""Launcher `inline`: every job in this process, one after the other. For debugging: a debugger stops in your code."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from casl.runner.bits import take_on
from casl.runner.job import Job, Process, Resources, carry_out, fixed_arithmetic
from casl.runner.store import Store


class Inline:
    """Carries a job out when it is polled."""

    ahead = False
    here = True

    def __init__(self, store: Store, resources: Resources | None = None) -> None:
        resources = resources or Resources()
        resources.own("inline")
        take_on(resources.environment)
        self.store = store
        self.slots = 1
        self._queue: deque[Job] = deque()
        self._stopping = False
        self._process = Process(lambda *_: None, stopping=lambda: self._stopping)
        fixed_arithmetic()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._queue.append(job)

    def poll(self, timeout_s: float) -> list[dict[str, Any]]:
        """Do the next job and tell how it ended."""
        if not self._queue:
            time.sleep(timeout_s)  # for what another process does
            return []
        job = self._queue.popleft()
        return [{"name": job.stage.name, **self._do(job)}]

    def stop(self) -> None:
        """Let the running job save where it is and stop."""
        self._stopping = True

    def close(self) -> None:
        """Nothing to stop."""

    def _do(self, job: Job) -> dict[str, str]:
        name = job.stage.name
        if self.store.is_done(name):
            return {"event": "done"}
        if (lease := self.store.leases.acquire(name)) is None:
            return {"event": "busy"}
        with lease.kept(lambda: None):  # a lost lease shows at the commit, which is refused
            if self.store.is_done(name):
                ending = {"event": "done"}
            else:
                self.store.begin(lease)
                ending = carry_out(job, self.store, lease, self._process)
        if ending["event"] == "done":
            self.store.leases.forget(name)
        return ending
