"""The study in Optuna: which trials there are, who works on them, what came out. The only file that writes into it.

Trials are asked for in cohorts, which are chosen, judged and ended together. What a trial's number stands for then
depends on finished cohorts only, never on which of two stages was faster, and a killed search goes on as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from casl.errors import SpecError
from casl.spec.search import Trial, Value
from casl.tracking.server import exclusive
from casl.tune.owner import Owner, is_alive
from casl.tune.sampling import distribution, propose
from casl.tune.space import Space

STATES = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}
ENDS = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
MEASURES, SETTINGS = "casl.measures", "casl.settings"


@dataclass(frozen=True)
class Terms:
    """How trials are chosen. parameter: its name in the study. measures: hash of all that makes values comparable.

    batch: trials of a cohort. limit: trials in all. settings: for people and for the record.
    """

    parameter: str
    measures: str
    space: Space
    sampler: str
    seed: int
    batch: int
    limit: int
    settings: Mapping[str, str]


class Ledger:
    """One study in an Optuna storage.

    Args:
        storage: from `open_storage`.
        name: of the study; made if missing.
        folder: of the study in the store, for locks.

    Raises:
        SpecError: the study exists and measures something else.
    """

    def __init__(self, storage: Any, name: str, folder: Path, terms: Terms) -> None:
        self.storage, self.name, self.folder, self.terms = storage, name, folder, terms
        with exclusive(folder / "lock"):
            try:
                self.study = storage.create_new_study([StudyDirection.MAXIMIZE], name)
            except DuplicatedStudyError:
                self.study = storage.get_study_id_from_name(name)
            known = storage.get_study_user_attrs(self.study)
            if MEASURES not in known and not self._frozen():
                storage.set_study_user_attr(self.study, MEASURES, terms.measures)
                known = {MEASURES: terms.measures}
            if known.get(MEASURES) != terms.measures:
                raise SpecError(
                    f"study {name!r} exists and measures something else: {known.get(SETTINGS, 'not made by casl')}\n"
                    "  its values cannot be compared with new ones; choose another name with --study."
                )
            storage.set_study_user_attr(self.study, SETTINGS, dict(terms.settings))

    def take(self, me: Owner, *, new: bool) -> list[Trial]:
        """A cohort to work on: one whose owner is dead, else, if `new`, the next one. Empty if there is nothing to do.

        A cohort that was being chosen when its owner died is chosen to its end first.
        """
        with exclusive(self.folder / "lock"):
            trials = self._frozen()
            orphans = [t for t in trials if t.state == TrialState.RUNNING and not self._is_alive(t)]
            if not orphans and not new:
                return []
            used = [_cohort(t) for t in trials]
            cohort = min(map(_cohort, orphans)) if orphans else max(used, default=-1) + 1
            mine = [t for t in orphans if _cohort(t) == cohort]
            for trial in mine:
                self.storage.set_trial_user_attr(trial._trial_id, "owner", dict(me))
            missing = self.terms.batch - used.count(cohort) if new else 0
            begun = [t.state != TrialState.RUNNING for t in trials if _cohort(t) == cohort]
            for _ in range(0 if any(begun) else missing):
                if not self._ask(cohort, me):
                    break
            mine = [t for t in self._frozen() if _cohort(t) == cohort and _owner(t) == me["token"]]
            return [self._read(t) for t in mine if t.state == TrialState.RUNNING]

    def _ask(self, cohort: int, me: Owner) -> bool:
        """Begin one more trial. What failed in an earlier run is forgotten, as stages are: repeating tries again."""
        trials = [t for t in self._frozen() if t.state != TrialState.FAIL or _owner(t) == me["token"]]
        if len(trials) >= self.terms.limit:
            return False
        value = propose(self.terms.parameter, self.terms.sampler, self.terms.seed, self.terms.space, trials)
        if value is None:
            return False
        trial = create_trial(
            state=TrialState.RUNNING,
            params={self.terms.parameter: value},
            distributions={self.terms.parameter: distribution(self.terms.space)},
            user_attrs={"cohort": cohort, "owner": dict(me)},
        )
        self.storage.create_new_trial(self.study, template_trial=trial)
        return True

    def report(self, number: int, step: int, values: Sequence[float]) -> None:
        """Say how good a trial is after a rung; the mean becomes Optuna's intermediate value. Repeating is harmless."""
        trial = self._id(number)
        self.storage.set_trial_user_attr(trial, f"rung {step}", list(values))
        self.storage.set_trial_intermediate_value(trial, step, sum(values) / len(values))

    def note(self, number: int, name: str, value: Any) -> None:
        """Keep a JSON value with a running trial."""
        self.storage.set_trial_user_attr(self._id(number), name, value)

    def end(self, number: int, state: str, objective: float | None = None, reason: str = "") -> None:
        """Finish a trial as "done", "pruned" or "failed"; the objective goes with "done" only."""
        trial = self._id(number)
        if reason:
            self.storage.set_trial_user_attr(trial, "reason", reason)
        values = None if objective is None else [objective]
        self.storage.set_trial_state_values(trial, ENDS[state], values)

    def trials(self) -> list[Trial]:
        """All trials by number."""
        return [self._read(t) for t in self._frozen()]

    def _read(self, trial: FrozenTrial) -> Trial:
        kept = trial.user_attrs
        value: Value = self.terms.space.snap(trial.params[self.terms.parameter])
        rungs = {step: tuple(kept[f"rung {step}"]) for step in sorted(trial.intermediate_values)}
        return Trial(
            number=trial.number,
            value=value,
            state=STATES[trial.state],
            figures={name: tuple(values) for name, values in sorted(kept.get("figures", {}).items())},
            rungs=rungs,
            stages=dict(kept.get("stages", {})),
            reason=kept.get("reason", ""),
            started=_moment(trial.datetime_start),
            ended=_moment(trial.datetime_complete),
            cohort=_cohort(trial),
        )

    def _frozen(self) -> list[FrozenTrial]:
        trials: list[FrozenTrial] = self.storage.get_all_trials(self.study)
        return [t for t in trials if self.terms.parameter in t.params]

    def _is_alive(self, trial: FrozenTrial) -> bool:
        return is_alive(trial.user_attrs.get("owner", {}), self.folder)

    def _id(self, number: int) -> int:
        return int(self.storage.get_trial_id_from_study_id_trial_number(self.study, number))


def version() -> str:
    """Optuna's version: another one may propose other values from the same seed."""
    return str(optuna.__version__)


def _cohort(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get("cohort", -1))


def _owner(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get("owner", {}).get("token", ""))


def _moment(when: datetime | None) -> str:
    """Optuna's local time as UTC."""
    return when.astimezone(UTC).isoformat(timespec="seconds") if when else ""
