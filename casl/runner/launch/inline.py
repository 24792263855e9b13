"""Launcher `inline`: every job in this process, one after the other. For debugging: a debugger stops in your code."""

from __future__ import annotations

from collections import deque
from typing import Any

from casl.runner.job import Job, carry_out
from casl.runner.store import Store


class Inline:
    """Carries a job out when it is polled."""

    def __init__(self, store: Store, workers: int = 1) -> None:
        self.store = store
        self.slots = 1
        self._queue: deque[Job] = deque()
        self._checked: set[str] = set()
        self._single_thread()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._queue.append(job)

    def poll(self, timeout_s: float) -> list[dict[str, Any]]:
        """Do the next job and tell how it ended."""
        if not self._queue:
            return []
        job = self._queue.popleft()
        status = carry_out(job, self.store, lambda done, total, figures: None, self._checked)
        return [{"event": status, "name": job.stage.name}]

    def close(self) -> None:
        """Nothing to stop."""

    def _single_thread(self) -> None:
        """As workers do, so that results do not depend on the launcher."""
        import torch

        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
