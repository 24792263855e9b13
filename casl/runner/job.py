"""Job: a frozen stage with its placement, as a launcher receives it; and how any process carries one out."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from casl.catalog import load
from casl.errors import CaslError, StageError, StoreError
from casl.runner.provenance import provenance
from casl.runner.store import Store
from casl.spec.context import Context, Outcome, Progress
from casl.spec.freeze import freeze, thaw
from casl.spec.kinds import Train
from casl.spec.stage import Stage

LOG = "log.txt"


@dataclass(frozen=True)
class Placement:
    """Where and how stages run; nothing here changes a result, so nothing here is hashed.

    roots: digest -> folder of a data set on disk. device: "auto", "cpu", "cuda", "cuda:0". ranks: processes that do one
    stage together, one a GPU. micro_batches: pieces a batch is cut into. time_limit_s: of one attempt, 0 for none.
    """

    roots: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    loaders: int = 0
    checkpoint_s: float = 30.0
    weights: str | None = None
    ranks: int = 1
    micro_batches: int = 1
    time_limit_s: float = 0.0


@dataclass(frozen=True)
class Job:
    """One stage to have, and the earlier state of the same training to continue from."""

    stage: Stage
    resume: Train | None = None
    placement: Placement = field(default_factory=Placement)

    def to_json(self) -> dict[str, Any]:
        """JSON values from which `from_json` makes an equal job."""
        return {"stage": freeze(self.stage), "resume": freeze(self.resume), "placement": vars(self.placement)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Job:
        return Job(thaw(value["stage"]), thaw(value["resume"]), Placement(**value["placement"]))


def carry_out(job: Job, store: Store, progress: Progress, checked: set[str]) -> str:
    """Do a job unless it is done, and commit its result.

    Args:
        progress: told how far it is.
        checked: names of results this process has verified already; added to.

    Returns:
        "done", or "failed" with the reason recorded in the store.
    """
    stage = job.stage
    with store.lock(stage.name):  # waits while another process works on the same stage
        if store.is_done(stage.name):
            return "done"
        work = store.work(stage.name)
        work.mkdir(parents=True, exist_ok=True)
        say = _logger(work / LOG)
        began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        try:
            _check_inputs(job, store, checked)
            _work(job, store, progress, say)
            checked.add(stage.name)
        except Exception as error:  # recorded with its place; the run goes on with what does not need this stage
            say(traceback.format_exc())
            store.fail(stage, _sentence(error), started, time.monotonic() - began)
            return "failed"
    return "done"


def _work(job: Job, store: Store, progress: Progress, say: Callable[[str], None]) -> None:
    stage, placement = job.stage, job.placement
    began, started = time.monotonic(), datetime.now(UTC)
    say(f"{started:%Y-%m-%d %H:%M:%S} UTC  {stage.name} on {provenance()['host']}")
    inputs = {s.name: store.folder(s.name) for s in _inputs(job)}
    context = Context(
        folder=store.work(stage.name),
        inputs=inputs,
        roots={digest: Path(root) for digest, root in placement.roots.items()},
        device=pick_device(placement.device),
        progress=progress,
        say=say,
        resume=job.resume,
        loaders=placement.loaders,
        checkpoint_s=placement.checkpoint_s,
        weights=Path(placement.weights) if placement.weights else None,
        micro_batches=placement.micro_batches,
        digests=store.root / "digests.json",
    )
    outcome: Outcome = load("stage", stage.kind)(stage, context)
    seconds = time.monotonic() - began
    say(f"finished in {seconds:.1f} s: {dict(outcome.metrics)}")
    record = {**provenance(), "metrics": dict(outcome.metrics), "facts": dict(outcome.facts)}
    store.commit(stage, {**record, "seconds": round(seconds, 3), "started": started.isoformat(timespec="seconds")})


def _sentence(error: Exception) -> str:
    """What a person is told: our own errors as they are, any other with its type and place."""
    if isinstance(error, CaslError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"


def _inputs(job: Job) -> list[Stage]:
    """Stages whose results the job may open: its inputs, the data behind them, and the state it continues from."""
    found = list(job.stage.inputs()) + ([job.resume] if job.resume else [])
    return found + [s for parent in job.stage.inputs() for s in parent.inputs() if s.kind in ("scenes", "folder")]


def _check_inputs(job: Job, store: Store, checked: set[str]) -> None:
    """Verify checksums of what the job reads, once a process.

    Raises:
        StoreError: a result is damaged; it was moved out of the way and will be computed again.
    """
    for stage in _inputs(job):
        if stage.name in checked:
            continue
        if not store.is_done(stage.name):
            raise StageError(f"{job.stage.name} needs {stage.name}, which is not done")
        try:
            store.check(stage.name)
        except StoreError as error:
            moved = store.quarantine(stage.name)
            raise StoreError(
                f"{error}\n  moved to {moved}; repeat the command and {stage.name} is computed again."
            ) from error
        checked.add(stage.name)


def pick_device(name: str) -> str:
    """ "auto" becomes "cuda" where there is one, else "cpu"; anything else stays."""
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _logger(path: Path) -> Callable[[str], None]:
    def say(text: str) -> None:
        with path.open("a") as file:
            file.write(text.rstrip() + "\n")

    return say
