"""Locks on the GPUs of this machine: the runs of one user take turns on each of them.

A lock is a file of ours in a folder of ours, below the folder for temporary files that all users share. Any user can
plant something under a name there, so that nothing is opened through a link, and nothing that another user made is
used or changed.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from casl.errors import SpecError
from casl.files import disk_errors

_PRIVATE = 0o700


class GpuLocks:
    """One lock a GPU, shared by the runs of this user; the kernel frees those of a dead process.

    Args:
        gpus: every GPU that may be taken.
        folder: where the lock files lie; by default `casl-gpus-<user id>` in the machine's folder for temporary files.

    Raises:
        SpecError: the folder or a lock file is a link, is not a plain folder or file, or belongs to another user.
        StoreError: the folder cannot be written.
    """

    def __init__(self, gpus: Iterable[str], folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.gettempdir()) / f"casl-gpus-{os.getuid()}"
        self._uses: Counter[str] = Counter()
        self._handles: dict[str, int] = {}
        names = sorted(set(gpus))
        if not names:
            return
        try:
            inside = self._open_folder()
            try:
                for gpu in names:
                    self._handles[gpu] = self._open_lock(gpu, inside)
            finally:
                os.close(inside)
        except BaseException:
            self.close()
            raise

    def take(self, gpus: Sequence[str]) -> bool:
        """All of them or none; those this run has already may be shared."""
        for n, gpu in enumerate(gpus):
            if not self._take(gpu):
                self.give(gpus[:n])
                return False
        return True

    def give(self, gpus: Sequence[str]) -> None:
        """Free what `take` took."""
        for gpu in gpus:
            self._uses[gpu] -= 1
            if not self._uses[gpu]:
                fcntl.flock(self._handles[gpu], fcntl.LOCK_UN)

    def close(self) -> None:
        """Free all."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()
        self._uses.clear()

    def _take(self, gpu: str) -> bool:
        if not self._uses[gpu]:
            try:
                fcntl.flock(self._handles[gpu], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        self._uses[gpu] += 1
        return True

    def _open_folder(self) -> int:
        with disk_errors("make", self.folder):
            self.folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        handle = self._opened(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        status = os.fstat(handle)
        if problem := _problem(status) or ("others may enter it" if stat.S_IMODE(status.st_mode) & 0o077 else ""):
            os.close(handle)
            raise self._refused(self.folder, problem)
        return handle

    def _open_lock(self, gpu: str, inside: int) -> int:
        path = self.folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', gpu)}.lock"
        # O_NONBLOCK: opening a planted pipe would wait for its other end
        handle = self._opened(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, inside)
        status = os.fstat(handle)
        kind = "" if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else "it is no file that casl made"
        if problem := _problem(status) or kind:
            os.close(handle)
            raise self._refused(path, problem)
        return handle

    def _opened(self, path: Path, flags: int, inside: int | None = None) -> int:
        try:
            return os.open(path.name if inside is not None else path, flags | os.O_NOFOLLOW, 0o600, dir_fd=inside)
        except OSError as error:
            problem = "it is a link" if path.is_symlink() else error.strerror or str(error)
            raise self._refused(path, problem) from error

    def _refused(self, path: Path, problem: str) -> SpecError:
        return SpecError(
            f"the GPUs of this machine cannot be locked with {path}: {problem}. Nothing of it was used or changed.\n"
            f"  remove {self.folder}, or ask its owner to; TMPDIR=FOLDER puts the locks below another folder."
        )


def _problem(status: os.stat_result) -> str:
    """Who else owns it; "" where this user does."""
    if status.st_uid == os.getuid():
        return ""
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = f"number {status.st_uid}"
    return f"it belongs to another user, {owner}"
