"""Launcher `slurm`: one batch job a stage, all handed to Slurm at once; it keeps their order without the runner.

    slurm/<run>/<stage>.sh     the script that was submitted
                <stage>.json   the job as the shepherd reads it
                <stage>.out    what the job said; events of the shepherd are lines of JSON
    slurm/jobs/<stage>.json    the newest submission, so that a repeated command finds it in the queue

Slurm is asked which jobs it still has, never whether a stage is done. A folder of a store on all nodes is all that
connects the two, so the machine that submitted may go away.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from casl.errors import SpecError, StageError
from casl.files import read_json, write_atomic, write_json
from casl.runner.job import Job, Resources
from casl.runner.launch.eventlog import EventLog
from casl.runner.launch.sbatch import OWN, Files, Options, script
from casl.runner.store import Store

STOPPED = 75  # status of a job whose stage was to stop, or to wait, and did
GONE_S = 60.0  # a file server may show what a job wrote so much later


@dataclass
class _Queued:
    """A stage that was submitted to Slurm."""

    job: Job
    number: str
    after: tuple[str, ...]
    files: Files
    log: EventLog
    gone: float = 0.0  # when it was first missed, on the monotonic clock

    @property
    def name(self) -> str:
        return self.job.stage.name


class Slurm:
    """Submits stages to Slurm and reports how they end.

    Args:
        store: on a folder that all nodes have under the same path.
        resources: options "slurm.NAME": any long option of sbatch, and `python`, `prologue` (shell lines before the
            stage, such as "module load cuda"), `losses`, `poll` (seconds between two calls of squeue).
        gone_s: how long to wait for word of a job that Slurm no longer has.

    Raises:
        SpecError: no Slurm here, or an option that only fits one machine.
    """

    ahead = True
    here = False
    slots = sys.maxsize

    def __init__(self, store: Store, resources: Resources | None = None, gone_s: float = GONE_S) -> None:
        resources = resources or Resources()
        _check(resources)
        self.store, self.gone_s = store, gone_s
        self.root = store.root.resolve() / "slurm"
        self.folder = self.root / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
        self.options = Options.read(resources.own("slurm", OWN, others=True))
        self.environment = dict(resources.environment)
        self.adopted = 0
        self._stages: dict[str, _Queued] = {}
        self._ended_badly: set[str] = set()
        self._queue = _Queue(self.options.poll_s)
        self._queue.look()  # an error of the command itself shows here, before anything is submitted
        self._stopped: list[dict[str, Any]] = []

    def submit(self, job: Job) -> None:
        """Give a stage to Slurm, to start when the stages it needs are done; one that is in the queue stays there.

        Raises:
            StageError: Slurm refuses it.
        """
        name = job.stage.name
        queued = self._find(job)
        if queued:
            self.adopted += 1
        else:
            queued = self._submit(job)
        self._stages[name] = queued

    def poll(self, timeout_s: float) -> list[dict[str, Any]]:
        """Events since the last call. "dropped": Slurm will not start a stage, since one before it did not end well."""
        if self._stopped:
            events, self._stopped = self._stopped, []
            return events
        time.sleep(min(timeout_s, self.options.poll_s))
        alive = self._queue.now()
        events = []
        for queued in list(self._stages.values()):
            events += queued.log.news()
            if ending := self._ending(queued, queued.number in alive):
                events.append({"name": queued.name, **ending})
                del self._stages[queued.name]
                if ending["event"] != "done":
                    self._ended_badly.add(queued.number)
        return events

    def stop(self) -> None:
        """Stop watching; jobs stay in the queue and go on, as when the connection is lost. See `farewell`."""
        self._stopped = [{"event": "stopped", "name": name} for name in self._stages]

    def farewell(self) -> str:
        """What to tell a person who leaves jobs behind; nothing if there are none."""
        numbers = [q.number for q in self._stages.values()]
        if not numbers:
            return ""
        cancel = self.folder / "cancel.sh"
        write_atomic(cancel, f"scancel {' '.join(numbers)}\n".encode())
        return (
            f"{len(numbers)} jobs are in Slurm's queue and go on without this command"
            f" ({self.adopted} of an earlier one).\n"
            f"  watch:  repeat the command; nothing is submitted twice\n"
            f"  cancel: sh {shlex.quote(str(cancel))}    (running stages save a checkpoint)\n"
        )

    def close(self) -> None:
        """Nothing to end: jobs belong to Slurm."""

    def _submit(self, job: Job) -> _Queued:
        name = job.stage.name
        files = Files.fresh(self.folder, name)
        write_json(files.job, {"job": job.to_json()})
        while True:
            after = self._after(job)
            text = script(self.store.root.resolve(), job, files, after, self.options, self.environment)
            write_atomic(files.script, text.encode())
            answer = _call("sbatch", "--parsable", str(files.script))
            if answer.returncode == 0:
                break
            if self._after(job) == after:  # otherwise a job it was to wait for ended, and is forgotten, meanwhile
                raise StageError(_refused(answer.stderr.strip(), files.script))
        number = _number(answer.stdout, files.script)
        self._queue.add(number)
        write_json(self._record(name), {"id": number, "after": after, "script": str(files.script)})
        return _Queued(job, number, tuple(after), files, EventLog(files.output))

    def _after(self, job: Job) -> list[str]:
        """Ids of the jobs whose stages this one needs and that are not done."""
        return [
            self._stages[need].number for need in needs(job) if need in self._stages and not self.store.is_done(need)
        ]

    def _find(self, job: Job) -> _Queued | None:
        """The submission of an earlier command, if Slurm has it, and it waits for jobs that Slurm has as well."""
        path = self._record(job.stage.name)
        if not path.exists():
            return None
        record = read_json(path)
        if record["id"] not in self._queue.now():
            return None
        if not {*self._after(job)} <= {*record["after"]}:
            _call("scancel", record["id"])
            return None
        file = Path(record["script"])
        files = Files(*(file.with_suffix(f".{end}") for end in ("sh", "json", "out", "losses")))
        return _Queued(job, record["id"], tuple(record["after"]), files, EventLog(files.output))

    def _record(self, name: str) -> Path:
        return self.root / "jobs" / f"{name}.json"

    def _ending(self, queued: _Queued, alive: bool) -> dict[str, Any] | None:
        """How a stage ended, or None while it may still be done. The store is looked at after the queue."""
        if self.store.is_done(queued.name):
            return {"event": "done"}
        if alive:
            queued.gone = 0.0
            return None
        if self._ended_badly & {*queued.after} and not queued.log.has_begun:
            return {"event": "dropped"}
        queued.gone = queued.gone or time.monotonic()
        waited = time.monotonic() - queued.gone > self.gone_s
        return self._told(queued) or (_silent(queued) if waited else None)

    def _told(self, queued: _Queued) -> dict[str, Any] | None:
        """What the log says about how the last attempt ended, if it says so."""
        ending, code = queued.log.ending, queued.log.code
        if code is None or code == 0:
            return None
        if ending.get("event") == "lost" or code > 128:
            error = f"its worker died {_lines(queued.files.losses)} times; log: {queued.files.output}"
            self.store.fail(queued.job.stage, error)
            return {"event": "failed", "error": error}
        if ending or code == STOPPED:
            return ending or {"event": "stopped"}
        error = f"its job ended with status {code} before the stage began; log: {queued.files.output}"
        self.store.fail(queued.job.stage, error)
        return {"event": "failed", "error": error}


def needs(job: Job) -> list[str]:
    """Names of the stages that must be done before a job can start, as the plan has them."""
    return [s.name for s in job.stage.inputs()] + ([job.resume.name] if job.resume else [])


class _Queue:
    """Ids of this user's jobs that Slurm has not finished with; Slurm is asked once in `poll_s`."""

    def __init__(self, poll_s: float) -> None:
        self.poll_s = poll_s
        self._alive: set[str] = set()
        self._asked = 0.0

    def now(self) -> set[str]:
        """The ids as of the last answer, which is at most `poll_s` old, and older while Slurm does not answer."""
        if time.monotonic() - self._asked > self.poll_s:
            with contextlib.suppress(StageError):  # its controller restarts: nothing is known to have changed
                self.look()
        return self._alive

    def look(self) -> None:
        answer = _call("squeue", "--me", "--noheader", "--format=%i")
        if answer.returncode:
            raise StageError(f"squeue does not answer: {answer.stderr.strip()}")
        self._alive, self._asked = set(answer.stdout.split()), time.monotonic()

    def add(self, number: str) -> None:
        self._alive.add(number)


def _silent(queued: _Queued) -> dict[str, Any]:
    if queued.log.has_begun:
        return {"event": "lost", "code": f"no word of job {queued.number}; log: {queued.files.output}"}
    return {"event": "stopped"}  # taken out of the queue before it started


def _check(resources: Resources) -> None:
    if resources.jobs or resources.gpus is not None or resources.per_gpu != 1:
        raise SpecError(
            "--jobs, --gpus and --per-gpu share out one machine; Slurm shares out the cluster.\n"
            "  give it limits of its own instead, such as --option slurm.partition=NAME."
        )


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SpecError(
            f"no {command[0]} on this machine: launcher 'slurm' runs where jobs are submitted, a login node.\n"
            "  known launchers for one machine: local, inline."
        ) from error


def _number(said: str, file: Path) -> str:
    """The id in what `sbatch --parsable` printed: its last line NUMBER or NUMBER;CLUSTER. Sites print more lines."""
    found = [line.strip().partition(";")[0] for line in said.splitlines()]
    numbers = [word for word in found if word.isascii() and word.isdigit()]
    if not numbers:
        raise StageError(
            f"sbatch took {file} and gave no job id, a line with a number; it said:\n  {said.strip() or 'nothing'}\n"
            "  `squeue --me` shows whether the job is there."
        )
    return numbers[-1]


def _refused(reason: str, file: Path) -> str:
    return (
        f"Slurm refuses {file}:\n  {reason}\n"
        "  --option slurm.NAME=VALUE sets any option of sbatch (partition, account, time, gres ...);\n"
        "  --device cpu asks for no GPU. Jobs submitted before it stay in the queue."
    )


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0
