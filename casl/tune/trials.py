"""The trials of a search, kept in an Optuna study: which there are, which process works on each, what came out.

Trials are asked for in cohorts, which are chosen, judged and ended together. What a trial's number stands for then
depends on finished cohorts only, never on which of two stages was faster, and a killed search goes on as it was.

Optuna's own heartbeat does less: it fails a trial whose process died, minutes later, and enqueues a copy under another
number, which moves every proposal and cohort after it. So each process holds a locked file instead, as `working` says.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from casl.errors import SpecError
from casl.files import disk_errors
from casl.spec.search import Trial
from casl.tracking.server import exclusive
from casl.tune.request import SearchRequest
from casl.tune.sampling import distribution, held, propose
from casl.tune.space import Space

ENDS = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
STATES = {state: name for name, state in ENDS.items()}
MEASURES, SETTINGS = "casl.measures", "casl.settings"
BEAT_S = 15.0
LOST_S = 180.0  # on another machine, whose locks some network file systems do not show, a file untouched for so long

Worker = Mapping[str, str | int]


class Trials:
    """All trials of one study. Only this class writes into it.

    Args:
        storage: from `open_storage`. name: of the study; made if missing. folder: of the study in the store, for locks.
        request: how trials are chosen, and how many. measures: hash of all that makes values comparable. settings: kept
            with the study, for people and for the record.

    Raises:
        SpecError: the study exists and measures something else.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        folder: Path,
        request: SearchRequest,
        space: Space,
        measures: str,
        settings: Mapping[str, str],
    ) -> None:
        self.storage, self.name, self.folder = storage, name, folder
        self.request, self.space, self.settings = request, space, settings
        with exclusive(folder / "lock"):
            self.study = optuna.create_study(
                storage=storage, study_name=name, direction="maximize", load_if_exists=True
            )
            known = self.study.user_attrs
            if MEASURES not in known and not self.study.get_trials(deepcopy=False):
                self.study.set_user_attr(MEASURES, measures)
                known = {MEASURES: measures}
            if known.get(MEASURES) != measures:
                raise SpecError(
                    f"study {name!r} exists and measures something else: {known.get(SETTINGS, 'not made by casl')}\n"
                    "  its values cannot be compared with new ones; choose another name with --study."
                )
            self.study.set_user_attr(SETTINGS, dict(settings))

    def take(self, me: Worker, *, new: bool) -> list[Trial]:
        """A cohort to work on: one whose process died, else, if `new`, the next one. Empty if there is nothing to do.

        A cohort that was being chosen when its process died is chosen to its end first.
        """
        with exclusive(self.folder / "lock"):
            trials = self._kept()
            orphans = [t for t in trials if t.state == TrialState.RUNNING and not self._is_worked_on(t)]
            if not orphans and not new:
                return []
            cohorts = [_cohort(t) for t in trials]
            cohort = min(map(_cohort, orphans)) if orphans else max(cohorts, default=-1) + 1
            for trial in orphans:
                if _cohort(trial) == cohort:
                    self.storage.set_trial_user_attr(trial._trial_id, "owner", dict(me))
            judged = any(t.state != TrialState.RUNNING for t in trials if _cohort(t) == cohort)
            missing = self.request.batch - cohorts.count(cohort) if new and not judged else 0
            for _ in range(missing):
                if not self._ask(cohort, me):
                    break
            mine = [t for t in self._kept() if _cohort(t) == cohort and _worker(t) == me["token"]]
            return [self._read(t) for t in mine if t.state == TrialState.RUNNING]

    def _ask(self, cohort: int, me: Worker) -> bool:
        """Begin one more trial. What failed in an earlier run is forgotten, as stages are: repeating tries again."""
        request, name = self.request, self.request.argument
        trials = [t for t in self._kept() if t.state != TrialState.FAIL or _worker(t) == me["token"]]
        if len(trials) >= request.trials:
            return False
        value = propose(name, request.sampler, request.sampler_seed, self.space, trials)
        if value is None:
            return False
        self.study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params={name: held(self.space, value)},
                distributions={name: distribution(self.space)},
                user_attrs={"cohort": cohort, "owner": dict(me)},
            )
        )
        return True

    def report(self, number: int, step: int, values: Sequence[float]) -> None:
        """Say how good a trial is after a rung; the mean becomes Optuna's intermediate value. Repeating is harmless."""
        self.note(number, f"rung {step}", list(values))
        self.storage.set_trial_intermediate_value(self._id(number), step, sum(values) / len(values))

    def note(self, number: int, name: str, value: Any) -> None:
        """Keep a JSON value with a running trial."""
        self.storage.set_trial_user_attr(self._id(number), name, value)

    def end(self, number: int, state: str, objective: float | None = None, reason: str = "") -> None:
        """Finish a trial as "done", "pruned" or "failed"; the objective goes with "done" only."""
        if reason:
            self.note(number, "reason", reason)
        self.study.tell(number, objective, ENDS[state])

    def all(self) -> list[Trial]:
        """All trials by number."""
        return [self._read(t) for t in self._kept()]

    def _read(self, trial: FrozenTrial) -> Trial:
        kept = trial.user_attrs
        return Trial(
            number=trial.number,
            value=self.space.snap(trial.params[self.request.argument]),
            state=STATES.get(trial.state, "running"),
            figures={name: tuple(values) for name, values in sorted(kept.get("figures", {}).items())},
            rungs={step: tuple(kept[f"rung {step}"]) for step in sorted(trial.intermediate_values)},
            stages=dict(kept.get("stages", {})),
            reason=kept.get("reason", ""),
            started=_moment(trial.datetime_start),
            ended=_moment(trial.datetime_complete),
            cohort=_cohort(trial),
        )

    def _kept(self) -> list[FrozenTrial]:
        return [t for t in self.study.get_trials(deepcopy=False) if self.request.argument in t.params]

    def _id(self, number: int) -> int:
        return int(self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number))

    @contextmanager
    def working(self) -> Iterator[Worker]:
        """Yields who this process is, to be written into the trials it takes, and shows meanwhile that it lives.

        It holds a lock on a file of its own, which the kernel releases when the process dies, and touches it for
        processes on other machines.
        """
        token = uuid.uuid4().hex[:16]
        path = self._sign_of_life(token)
        with disk_errors("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        stop = threading.Event()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            threading.Thread(target=_touch, args=(path, stop), daemon=True).start()
            yield {"token": token, "host": socket.gethostname(), "pid": os.getpid()}
        finally:
            stop.set()
            os.close(handle)
            path.unlink(missing_ok=True)

    def _is_worked_on(self, trial: FrozenTrial) -> bool:
        """Whether the process that took a trial still lives."""
        path, here = self._sign_of_life(_worker(trial)), _worker(trial, "host") == socket.gethostname()
        try:
            if not here:
                return time.time() - path.stat().st_mtime < LOST_S
            with path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:  # it has ended; one elsewhere may share the study but not this store, and live
            return not here
        return False

    def _sign_of_life(self, token: str) -> Path:
        return self.folder / "owners" / token


def version() -> str:
    """Optuna's version: another one may propose other values from the same seed."""
    return str(optuna.__version__)


def _touch(path: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT_S):
        with suppress(OSError):  # a file server that is away for a moment
            os.utime(path)


def _cohort(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get("cohort", -1))


def _worker(trial: FrozenTrial, fact: str = "token") -> str:
    return str(trial.user_attrs.get("owner", {}).get(fact, ""))


def _moment(when: datetime | None) -> str:
    """Optuna's local time as UTC."""
    return when.astimezone(UTC).isoformat(timespec="seconds") if when else ""
