"""Job: a stage with its placement, as a launcher receives it, and the code by which any process carries it out."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from casl.catalog import load
from casl.errors import (
    CaslError,
    DeviceMemoryError,
    PeerLostError,
    SpecError,
    StageError,
    StoppedError,
    StoreError,
    unknown,
)
from casl.files import FULL, is_full, read_json, write_json
from casl.pretrained import FOLDER
from casl.runner.bits import arithmetic
from casl.runner.devices import pick_device
from casl.runner.lease import Lease
from casl.runner.provenance import origin, provenance
from casl.runner.store import Store
from casl.spec.context import Context, Outcome, Progress
from casl.spec.data_kinds import DataSet
from casl.spec.freeze import freeze, thaw
from casl.spec.kinds import Train
from casl.spec.stage import Stage
from casl.tracking.usage import SYSTEM, Usage, usage

LOG = "log.txt"
# variables of every process that works on stages: one thread each, as `fixed_arithmetic` has it, and lines at once
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
ARITHMETIC = "arithmetic.json"  # beside the attempts at a stage: what the last one computed with


@dataclass(frozen=True)
class Placement:
    """Where and how stages run; nothing here changes a result, so nothing here is hashed.

    roots: digest -> folder of a data set on disk. weights: folder of pretrained backbones, None for that of the store.
    device: "auto", "cpu", "cuda", "cuda:0". ranks: processes that do one stage together, one a GPU, on each of `nodes`
    machines. micro_batches: pieces a batch is cut into. time_limit_s: of one attempt, 0 for none.
    """

    roots: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    loaders: int = 0
    checkpoint_s: float = 30.0
    weights: str | None = None
    ranks: int = 1
    nodes: int = 1
    micro_batches: int = 1
    time_limit_s: float = 0.0


@dataclass(frozen=True)
class Resources:
    """What a run may use; launchers turn it into places for stages.

    jobs: stages at once, 0 for one a GPU, or one a core. gpus: names of GPUs, None for all. per_gpu: stages that share
    one. ranks: GPUs, or processes, of one stage. environment: variables for workers, beside those they inherit.
    options: the launcher's own, as "slurm.partition"; see `own`.
    """

    jobs: int = 0
    gpus: tuple[str, ...] | None = None
    per_gpu: int = 1
    ranks: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    def own(self, launcher: str, known: Collection[str] = (), others: bool = False) -> dict[str, str]:
        """The options of a launcher, without its name in front.

        Args:
            known: names of those it has. others: whether it takes any other name too.

        Raises:
            SpecError: an option that it has not, such as one of another launcher, which nothing would heed.
        """
        for option in self.options:
            of, _, name = option.partition(".")
            if of != launcher or not name or not (others or name in known):
                advice = f"--launcher chooses whose options are meant; {launcher!r} is asked for."
                raise SpecError(unknown("option", option, [f"{launcher}.{n}" for n in known], advice))
        return {option.partition(".")[2]: value for option, value in self.options.items()}


@dataclass(frozen=True)
class Job:
    """A stage to do, and the earlier state of the same training to continue from."""

    stage: Stage
    resume: Train | None = None
    placement: Placement = field(default_factory=Placement)

    def to_json(self) -> dict[str, Any]:
        """JSON values from which `from_json` makes an equal job."""
        return {"stage": freeze(self.stage), "resume": freeze(self.resume), "placement": vars(self.placement)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Job:
        return Job(thaw(value["stage"]), thaw(value["resume"]), Placement(**value["placement"]))


def in_smaller_pieces(job: Job) -> Job | None:
    """The same job with its batches cut into twice as many pieces, or None where there is nothing left to cut."""
    pieces = 2 * job.placement.micro_batches
    if not isinstance(job.stage, Train) or pieces > job.stage.recipe.batch:
        return None
    return replace(job, placement=replace(job.placement, micro_batches=pieces))


@dataclass(frozen=True)
class Process:
    """The process that carries a job out.

    checked: names of results it has verified already; added to. rank, world: of how many that do the job together;
    local_rank: on this machine.
    """

    progress: Progress
    checked: set[str] = field(default_factory=set)
    stopping: Callable[[], bool] = lambda: False
    rank: int = 0
    world: int = 1
    local_rank: int = 0


class _DamagedInputError(StoreError):
    """An input had changed on the disk, and was moved out of the way."""


def carry_out(job: Job, store: Store, lease: Lease, process: Process) -> dict[str, str]:
    """Do a job and commit its result.

    Args:
        lease: on the stage; the caller keeps it alive and ends it, and has made the folder of the attempt.

    Returns:
        {"event": how it ended, "error": why, if it failed}. Endings are "done"; "stopped" when that was asked;
        "damaged" when an input was, which is moved out of the way; "memory" when the device's was too small; "failed".
        The reason of the last three is also recorded in the store, if that can be written.
    """
    stage = job.stage
    say = _logger(store.attempt(lease) / LOG) if process.rank == 0 else _quiet
    began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    try:
        _check_inputs(job, store, process.checked)
        _work(job, store, lease, process, say)
        process.checked.add(stage.name)
    except StoppedError:
        say("stopped, as asked")
        return {"event": "stopped"}
    except Exception as error:  # recorded with its place; the run goes on with what does not need this stage
        say(traceback.format_exc())
        sentence = _sentence(error)
        if process.rank == 0 and lease.is_ours():
            with contextlib.suppress(StoreError):  # a full disk; the caller is told
                store.fail(stage, sentence, started, time.monotonic() - began)
        return {"event": _ENDINGS.get(type(error), "failed"), "error": sentence}
    return {"event": "done"}


_ENDINGS: dict[type[Exception], str] = {
    DeviceMemoryError: "memory",
    PeerLostError: "lost",
    _DamagedInputError: "damaged",
}


def _work(job: Job, store: Store, lease: Lease, process: Process, say: Callable[[str], None]) -> None:
    stage, placement = job.stage, job.placement
    started = datetime.now(UTC)
    say(f"{started:%Y-%m-%d %H:%M:%S} UTC  {stage.name} on {provenance()['host']}")
    inputs = {s.name: store.folder(s.name) for s in _inputs(job)}
    context = Context(
        folder=store.attempt(lease),
        inputs=inputs,
        roots={digest: Path(root) for digest, root in placement.roots.items()},
        device=pick_device(placement.device, process.local_rank) if stage.needs_torch else "cpu",
        progress=process.progress,
        say=say,
        resume=job.resume,
        loaders=placement.loaders,
        checkpoint_s=placement.checkpoint_s,
        weights=Path(placement.weights) if placement.weights else store.root / FOLDER,
        micro_batches=placement.micro_batches,
        rank=process.rank,
        world=process.world,
        stopping=process.stopping,
        digests=store.digests,
    )
    if stage.needs_torch:
        fixed_arithmetic()
    made_by = _made_by(job, store, context) if process.rank == 0 else {}
    with usage(context.folder / SYSTEM) if process.rank == 0 else contextlib.nullcontext(Usage()) as used:
        outcome: Outcome = load("stage", stage.kind)(stage, context)
    if process.rank > 0:
        return
    attempts = store.leases.attempts(stage.name)
    attempts[-1:] = [{**attempts[-1], "seconds": round(time.monotonic() - lease.began, 3)}] if attempts else []
    seconds = sum(a["seconds"] for a in attempts)
    say(f"finished in {seconds:.1f} s: {dict(outcome.metrics)}")
    facts = {**outcome.facts, "system": used.summary()}
    result = {"metrics": dict(outcome.metrics), "facts": facts, "attempts": attempts}
    timing = {"seconds": round(seconds, 3), "started": started.isoformat(timespec="seconds")}
    store.commit(stage, {**provenance(), **made_by, **result, **timing}, lease)


def _made_by(job: Job, store: Store, context: Context) -> dict[str, Any]:
    """Fields of the record that tell which code and which kernels made the result.

    Data sets are left out: theirs are the same bits on every processor. An earlier attempt, whose checkpoint this one
    goes on from, is an input like others.
    """
    before = [store.run(s.name).arithmetic for s in _inputs(job) if s.needs_torch]
    remembered = context.folder.parent / ARITHMETIC
    if remembered.exists() and any(path.name != LOG for path in context.folder.iterdir()):
        before.append(read_json(remembered))
    found = arithmetic(context.device, before, by_torch=job.stage.needs_torch)
    write_json(remembered, found)
    return {**origin(job.stage, job.resume, store.root), "arithmetic": found}


def _sentence(error: Exception) -> str:
    """The message for people: casl's own errors as they are, that of a full disk, any other with its type and place."""
    if isinstance(error, CaslError):
        return str(error)
    if is_full(error):
        return FULL
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"


def _inputs(job: Job) -> list[Stage]:
    """Stages whose results the job may open: its inputs, the data behind them, and the state it continues from."""
    found = list(job.stage.inputs()) + ([job.resume] if job.resume else [])
    return found + [s for parent in job.stage.inputs() for s in parent.inputs() if isinstance(s, DataSet)]


def _check_inputs(job: Job, store: Store, checked: set[str]) -> None:
    """Verify checksums of what the job reads, once a process.

    Raises:
        StoreError: a result is damaged; it was moved out of the way and will be computed again.
    """
    for stage in _inputs(job):
        if stage.name in checked:
            continue
        if not store.folder(stage.name).exists():
            raise StageError(f"{job.stage.name} needs {stage.name}, which is not done")
        try:
            store.check(stage.name)
        except StoreError as error:
            moved = store.quarantine(stage.name)
            raise _DamagedInputError(f"{error}\n  moved to {moved}; {stage.name} is computed again.") from error
        checked.add(stage.name)


def fixed_arithmetic() -> None:
    """One thread a process: workers share the cores, and sums in a fixed order give the same bits everywhere.

    torch would also fill the memory it hands out, which takes a twentieth of the time and protects from nothing here.
    """
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010  mypy does not see it


def placed(stage: Stage, placement: Placement) -> Placement:
    """The placement of one stage: several processes where that gives the same result, more nodes if it fills them."""
    wanted = placement.ranks * placement.nodes
    count = stage.ranks(wanted)
    nodes = placement.nodes if count == wanted else 1
    return replace(placement, ranks=min(count, placement.ranks), nodes=nodes)


def _quiet(text: str) -> None:
    """The log of all ranks but the first: none."""


def _logger(path: Path) -> Callable[[str], None]:
    def say(text: str) -> None:
        with contextlib.suppress(OSError), path.open("a") as file:  # a full disk shows where results are written
            file.write(text.rstrip() + "\n")

    return say
