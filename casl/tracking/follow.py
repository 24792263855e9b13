"""Runs appear in MLflow while a plan still runs: a thread sends what has ended, a few at a time.

It never makes the run wait and never fails it. What it could not send, the sync at the end of the run sends, or any
later one: the store remembers.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from casl.errors import CaslError
from casl.spec.run import Run, Use
from casl.tracking.mirror import Mirror
from casl.tracking.server import quiet_settings

EVERY_S = 15.0
LONGEST_S = 300.0  # between attempts while MLflow is away
BATCH = 20  # runs; the end of a plan waits for one batch at most
GIVE_UP_S = 30.0


@contextmanager
def follow(
    mirror: Mirror, look: Callable[[str], Run], uses: Mapping[str, Sequence[Use]], every_s: float = EVERY_S
) -> Iterator[Callable[[str], None]]:
    """Send stages as they end.

    Args:
        mirror: where to.
        look: what the store knows of a stage.
        uses: as in `Mirror.sync`.
        every_s: seconds between batches.

    Yields:
        What to call with the name of each stage that ended. It returns at once.
    """
    sender = _Sender(mirror, look, uses, every_s)
    with quiet_settings():  # here and not in the thread: workers started meanwhile copy the environment
        sender.start()
        try:
            yield sender.tell
        finally:
            sender.ended.set()
            sender.join(GIVE_UP_S)


class _Sender(threading.Thread):
    def __init__(
        self, mirror: Mirror, look: Callable[[str], Run], uses: Mapping[str, Sequence[Use]], every_s: float
    ) -> None:
        super().__init__(daemon=True, name="mlflow")
        self.mirror, self.look, self.uses, self.every_s = mirror, look, uses, every_s
        self.told: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.ended = threading.Event()

    def tell(self, name: str) -> None:
        self.told.put(name)

    def run(self) -> None:
        waiting: list[str] = []
        pause = self.every_s
        while not self.ended.wait(pause):
            while not self.told.empty():
                waiting.append(self.told.get())
            while waiting and not self.ended.is_set():
                if not self._sent(waiting[:BATCH]):
                    pause = min(2 * pause, LONGEST_S)
                    break
                del waiting[:BATCH]
                pause = self.every_s

    def _sent(self, names: Sequence[str]) -> bool:
        try:
            self.mirror.sync([self.look(name) for name in names], self.uses, register=False)
        except CaslError:
            return False  # the sync at the end of the run tries again and prints why it fails
        return True
