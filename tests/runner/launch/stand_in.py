"""Put in the place of `python` in a batch script: a shepherd that finishes a stage in milliseconds, or does not.

What it does with a stage is in the file <store>/play/<stage>: "fail", "lose N" (its worker dies N times), "hang" (until
it is told to stop), "sleep" (before it can be told), "break" (no event at all). Without one it commits a small result.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

from casl.runner.job import Job
from casl.runner.store import Store

RECORD = {
    "metrics": {"AP": 12.5},
    "seconds": 1.0,
    "started": "2026-01-01T00:00:00+00:00",
    "host": "here",
    "commit": "0" * 40,
    "dirty": False,
    "versions": {},
    "facts": {},
}


def main(arguments: list[str]) -> int:
    """Arguments as of the real one: -m casl.runner.shepherd STORE --job FILE PARENT_PID."""
    store = Store(Path(arguments[2]))
    stage = Job.from_json(json.loads(Path(arguments[4]).read_text())["job"]).stage
    file = store.root / "play" / stage.name
    play, _, times = (file.read_text() if file.exists() else "commit").partition(" ")
    if play == "sleep":
        print("importing", flush=True)
        time.sleep(60)
    if play == "break":
        print("no module named casl", flush=True)
        return 3
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda n, _: stopped.append(n))
    _tell("begun", stage.name)
    if play == "fail":
        store.fail(stage, "loss is nan")
        _tell("failed", stage.name)
        return 1
    if play == "lose" and int(times) > 0:
        file.write_text(f"lose {int(times) - 1}")
        _tell("lost", stage.name)
        return 75
    while play == "hang" and file.exists():
        if stopped:
            _tell("stopped", stage.name)
            return 75
        time.sleep(0.02)
    lease = store.leases.acquire(stage.name)
    assert lease is not None
    (store.begin(lease) / "file.bin").write_bytes(b"content")
    store.commit(stage, RECORD, lease)
    store.leases.forget(stage.name)
    _tell("done", stage.name)
    return 0


def _tell(event: str, name: str) -> None:
    print(json.dumps({"event": event, "name": name}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
