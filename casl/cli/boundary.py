"""Where a command ends: what goes wrong becomes one sentence and an exit code of docs/cli.md, never a traceback."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from casl.cli.parser import WRONG
from casl.errors import CaslError, shortened

STOPPED = 130
UNREAD = 141  # what the shell reports of a program that ends because its output is no longer read
_AGAIN = "; repeat the command to go on from here"
LONGEST = 200  # characters of a path in a sentence
_MEANT = {
    errno.EEXIST: "a file is there, where a folder is needed",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EISDIR: "it is a folder, where a file is needed",
    errno.ENOSPC: "the disk is full; nothing finished is lost",
    errno.EDQUOT: "the disk quota is used up; nothing finished is lost",
}
_UNFORESEEN = (OSError, ImportError, UnicodeError, RecursionError, MemoryError)


def bounded(command: Callable[[], int], goes_on: Callable[[], bool] = lambda: True) -> int:
    """The exit code of a command, after a sentence on standard error if it failed.

    Args:
        goes_on: whether the same command, typed again, goes on from where it was stopped. Others have nothing to go on
            from, and end without a word where nothing reads them, as `plan | head` should.
    """
    _print_any_letter()
    try:
        try:
            with _terminable():
                return command()
        finally:
            _flush()  # here, where an error can be told; at the exit of the program it could not
    except CaslError as error:
        return _end(f"error: {shortened(str(error))}", WRONG)
    except KeyboardInterrupt:
        return _end(f"\nstopped{_AGAIN if goes_on() else ''}", STOPPED)
    except BrokenPipeError:
        if not goes_on():
            return UNREAD
        return _end(f"stopped, since nothing reads the output any more{_AGAIN}", UNREAD)
    except _UNFORESEEN as error:
        return _end(f"error: {sentence(error)}", WRONG)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that it puts away what it has begun.

    A handler that the caller has installed stays in force. Threads other than the main one cannot install any, so there
    the block runs as it is.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    owner = os.getpid()

    def stop(number: int, frame: object) -> None:
        if os.getpid() != owner:  # a fork of the command: it ends at once, without a word
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def sentence(error: BaseException) -> str:
    """What an error of the machine, of an installation or of a file's text means, and what to do."""
    if isinstance(error, OSError):
        meant = _MEANT.get(error.errno or 0) or error.strerror or str(error)
        return f"{_shortened(str(error.filename))}: {meant}." if error.filename is not None else f"{meant}."
    if isinstance(error, ImportError):
        return f"{error}.\n  `casl doctor` says which packages are missing or damaged; `make setup` installs them."
    if isinstance(error, UnicodeDecodeError):
        near = error.object[max(0, error.start - 20) : error.start].decode("ascii", "replace")
        return f"a file is not text in {error.encoding}: {error.reason} after {near!r}.\n  save it in UTF-8."
    if isinstance(error, UnicodeError):
        return f"{error}.\n  a name or a file has letters that cannot be written here; PYTHONUTF8=1 helps with most."
    if isinstance(error, RecursionError):
        return "a file is nested too deeply to be read, as no file of COCO's formats or of casl is."
    return "there is not enough memory on this machine; fewer stages at once (--jobs) need less."


def _shortened(path: str) -> str:
    return path if len(path) <= LONGEST else f"{path[:LONGEST]}... ({len(path)} characters)"


def _print_any_letter() -> None:
    """Letters that the terminal's encoding lacks are printed as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # what could not be written is dropped, so that the interpreter does not fail over it once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _end(said: str, code: int) -> int:
    try:
        print(said, file=sys.stderr)
    except OSError:  # nothing reads it, as after `2>&1 | head`; the code still says how it ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return code
