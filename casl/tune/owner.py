"""Who works on a trial. An owner holds a locked file as long as it lives; the kernel lets go when it dies."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from casl.files import disk_errors

BEAT_S = 15.0
# Another machine's locks cannot be relied on over every network file system: there, a file that nobody touched for so
# long belongs to nobody.
LOST_S = 180.0

Owner = Mapping[str, str | int]


@contextmanager
def owner(folder: Path) -> Iterator[Owner]:
    """Be somebody while inside: yields what to write into a trial.

    Args:
        folder: of the study in the store; made if missing.
    """
    token = uuid.uuid4().hex[:16]
    path = folder / "owners" / token
    with disk_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, stop), daemon=True)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        beat.start()
        yield {"token": token, "host": socket.gethostname(), "pid": os.getpid()}
    finally:
        stop.set()
        os.close(handle)
        path.unlink(missing_ok=True)


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT_S):
        try:
            os.utime(path)
        except OSError:
            return


def is_alive(whose: Owner, folder: Path) -> bool:
    """Whether the owner of a trial still works on it."""
    path = folder / "owners" / str(whose.get("token"))
    here = whose.get("host") == socket.gethostname()
    if not path.exists():
        return not here  # of a process with another store: on this machine it ended, elsewhere nobody can tell
    if not here:
        return time.time() - path.stat().st_mtime < LOST_S
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
