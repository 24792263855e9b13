"""A Slurm of one machine for tests: sbatch, squeue, scancel and scontrol on PATH, and a thread that really runs jobs.

Kept of the real one: afterok and kill-on-invalid-dep, requeue with SLURM_RESTART_COUNT, scancel's SIGTERM to every
process of a job, the warning to the batch shell only, ids that are forgotten once a job has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

SAYS = "FAKE_SBATCH_SAYS"  # what a site's sbatch prints, with the id as {number}
COMMANDS = ("sbatch", "squeue", "scancel", "scontrol")
KILL_WAIT_S = 10.0


@dataclass
class Entry:
    """One job. state: PENDING, RUNNING, or how it ended, in Slurm's words."""

    number: str
    script: str
    options: dict[str, str]
    state: str = "PENDING"
    restarts: int = 0
    code: int | None = None
    after: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.state not in ("PENDING", "RUNNING")


class FakeSlurm:
    """The controller and all nodes. Use as a context; `environment` puts its commands on PATH."""

    def __init__(self, root: Path, slots: int = 2) -> None:
        self.root, self.slots = root, slots
        for folder in ("bin", "jobs", "asked"):
            (root / folder).mkdir(parents=True)
        for command in COMMANDS:
            file = root / "bin" / command
            words = shlex.join([sys.executable, "-S", str(Path(__file__).resolve()), command, str(root)])
            file.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            file.chmod(0o755)
        self.environment = {"PATH": f"{root / 'bin'}:{os.environ['PATH']}"}
        self.is_held = False  # nothing starts while it is
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._kill_at: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FakeSlurm:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for process in self._running.values():
            _signal_all(process, signal.SIGKILL)
            process.wait()

    def entries(self) -> dict[str, Entry]:
        """All jobs there ever were, by the name of the newest of each."""
        return {entry.options["job-name"]: entry for entry in _entries(self.root)}

    def submissions(self) -> int:
        return len(list(_entries(self.root)))

    def warn(self, name: str) -> None:
        """What Slurm does before the time limit with --signal=B:USR1."""
        assert self.entries()[name].options["signal"].startswith("B:USR1@")
        self._running[self.entries()[name].number].send_signal(signal.SIGUSR1)

    def _run(self) -> None:
        while not self._over.wait(0.02):
            for entry in _entries(self.root):
                if not entry.is_over:
                    self._advance(entry)

    def _advance(self, entry: Entry) -> None:
        if self._is_asked("cancel", entry):
            self._end(entry, "CANCELLED")
        elif self._is_asked("requeue", entry):
            self._end(entry, "PENDING")
            entry.restarts += 1
            self._save(entry)
        elif entry.state == "RUNNING":
            code = self._running[entry.number].poll()
            if code is not None and not self._is_asked("requeue", entry, keep=True):
                del self._running[entry.number]
                entry.code = code
                self._save(entry, "COMPLETED" if code == 0 else "FAILED")
        elif not self.is_held:
            self._start_or_drop(entry)

    def _start_or_drop(self, entry: Entry) -> None:
        states = {e.number: e.state for e in _entries(self.root)}
        before = [states.get(number, "UNKNOWN") for number in entry.after]
        if any(state not in ("PENDING", "RUNNING", "COMPLETED") for state in before):
            self._save(entry, "CANCELLED")
        elif all(state == "COMPLETED" for state in before) and len(self._running) < self.slots:
            count = {"SLURM_RESTART_COUNT": str(entry.restarts)} if entry.restarts else {}
            with Path(entry.options["output"].replace("%%", "%")).open("ab") as output:
                self._running[entry.number] = subprocess.Popen(
                    ["/bin/bash", entry.script],
                    stdout=output,
                    stderr=output,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **self.environment, "SLURM_JOB_ID": entry.number, **count},
                    start_new_session=True,
                )
            self._save(entry, "RUNNING")

    def _end(self, entry: Entry, state: str) -> None:
        """SIGTERM to all processes, SIGKILL to those that stay."""
        if process := self._running.pop(entry.number, None):
            _signal_all(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(KILL_WAIT_S)
            _signal_all(process, signal.SIGKILL)
            process.wait()
        self._save(entry, state)

    def _is_asked(self, what: str, entry: Entry, *, keep: bool = False) -> bool:
        file = self.root / "asked" / f"{what}-{entry.number}"
        found = file.exists()
        if found and not keep:
            file.unlink()
        return found

    def _save(self, entry: Entry, state: str | None = None) -> None:
        entry.state = state or entry.state
        _write(self.root, entry)


def _signal_all(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _entries(root: Path) -> list[Entry]:
    files = sorted((root / "jobs").glob("*.json"), key=lambda p: int(p.stem))
    return [Entry(**json.loads(file.read_text())) for file in files]


def _write(root: Path, entry: Entry) -> None:
    aside = root / "jobs" / f"{entry.number}.{os.getpid()}.{threading.get_ident()}"
    aside.write_text(json.dumps(asdict(entry)))
    aside.replace(root / "jobs" / f"{entry.number}.json")


def _directives(text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("#SBATCH "):
            name, _, value = shlex.split(line)[1].removeprefix("--").partition("=")
            options[name] = value
    return options


def sbatch(root: Path, arguments: list[str]) -> int:
    script = Path(arguments[-1])
    options = _directives(script.read_text())
    if options.get("partition") == "nowhere":
        print("sbatch: error: invalid partition specified: nowhere", file=sys.stderr)
        return 1
    after = options.get("dependency", "").removeprefix("afterok:")
    number = 1
    while True:
        try:
            (root / "jobs" / str(number)).mkdir()
            break
        except FileExistsError:
            number += 1
    copy = root / "jobs" / str(number) / "slurm_script"
    copy.write_text(script.read_text())
    _write(root, Entry(str(number), str(copy), options, after=after.split(":") if after else []))
    print(os.environ.get(SAYS, "{number}").format(number=number))
    return 0


def squeue(root: Path, arguments: list[str]) -> int:
    print("\n".join(entry.number for entry in _entries(root) if not entry.is_over))
    return 0


def scancel(root: Path, arguments: list[str]) -> int:
    for number in arguments:
        (root / "asked" / f"cancel-{number}").touch()
    return 0


def scontrol(root: Path, arguments: list[str]) -> int:
    assert arguments[0] == "requeue"
    (root / "asked" / f"requeue-{arguments[1]}").touch()
    while (root / "asked" / f"requeue-{arguments[1]}").exists():
        time.sleep(0.02)
    return 0


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](Path(sys.argv[2]), sys.argv[3:]))
