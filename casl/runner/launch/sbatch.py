"""The script of one stage for Slurm: what a person would write by hand, and can read, change and submit again."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from casl.errors import SpecError, unknown
from casl.runner.job import ONE_THREAD, Job

WARNING_S = 90  # from Slurm's signal to the time limit; Slurm may send it up to 60 s early, never late
RESTARTS = 100  # a stage may take this many time limits; one that gets nowhere within one must end
PREFIX = "slurm."
OWN = {"losses": "2", "poll": "5", "prologue": "", "python": sys.executable}
_OURS = (
    "array", "dependency", "error", "job-name", "kill-on-invalid-dep", "no-requeue", "nodes", "ntasks",
    "ntasks-per-node", "open-mode", "output", "parsable", "requeue", "signal", "wait", "wrap",
)  # fmt: skip
_BODY = """\
# The shepherd holds the lease on the stage, starts its worker and ends everything that belongs to it.
# It exits with 0 when the stage is done, 1 when it failed, 75 when it was stopped or its worker was lost.
{python} -m casl.runner.shepherd {store} --job {job} $$ &
shepherd=$!
warned= cancelled= again=
trap 'warned=1; kill -USR1 $shepherd' USR1    # the time limit is near: save a checkpoint, and queue again
trap 'cancelled=1; kill -TERM $shepherd' TERM # scancel or preemption: save a checkpoint, and end
wait $shepherd; code=$?
while [ $code -gt 128 ] && kill -0 $shepherd 2>/dev/null; do wait $shepherd; code=$?; done

if [ -n "$cancelled" ]; then
    [ $code -lt 128 ] || code=75
elif [ $code -eq 75 ] || [ $code -gt 128 ]; then
    if [ -n "$warned" ]; then
        again=1
    else
        echo "$(date) $(hostname)" >> {losses_file}
        [ "$(wc -l < {losses_file})" -gt {losses} ] || again=1
    fi
fi
echo "{{\\"event\\": \\"exit\\", \\"code\\": $code}}"
if [ -n "$again" ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ]; then
    scontrol requeue "$SLURM_JOB_ID" && sleep 60 # Slurm ends this script meanwhile
fi
exit $code
"""


@dataclass(frozen=True)
class Options:
    """What the command line says about Slurm. sbatch: any of its long options, by name; "" for one without a value.

    losses: how often a stage is queued again after its worker was lost. poll_s: between two calls of squeue.
    """

    python: str
    prologue: str
    losses: int
    poll_s: float
    sbatch: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def read(given: Mapping[str, str]) -> Options:
        """From options by name.

        Raises:
            SpecError: an option that casl sets itself, or a value that is no number.
        """
        given = {**given}
        own = {name: given.pop(name, default) for name, default in OWN.items()}
        for name in sorted({*given} & {*_OURS}):
            advice = f"casl writes --{name} itself. Any other long option of sbatch may be given: slurm.NAME=VALUE."
            raise SpecError(unknown("option", PREFIX + name, [PREFIX + n for n in OWN], advice))
        try:
            return Options(own["python"], own["prologue"], int(own["losses"]), float(own["poll"]), given)
        except ValueError as error:
            raise SpecError(f"slurm.losses and slurm.poll are numbers: {error}") from error


@dataclass(frozen=True)
class Files:
    """The files of one submission of one stage."""

    script: Path
    job: Path
    output: Path
    losses: Path

    @staticmethod
    def fresh(folder: Path, name: str) -> Files:
        """Names that are not taken: a second submission in the same run has a number."""
        number, stem = 1, name
        while (folder / f"{stem}.sh").exists():
            number += 1
            stem = f"{name}.{number}"
        return Files(*(folder / f"{stem}.{end}" for end in ("sh", "json", "out", "losses")))


def script(
    store: Path, job: Job, files: Files, after: Sequence[str], options: Options, environment: Mapping[str, str]
) -> str:
    """The text of the script.

    Args:
        store: absolute, the same on all nodes.
        after: ids of jobs that must end well first.
        environment: variables for the shepherd and its worker.
    """
    exports = {**ONE_THREAD, **environment}
    body = _BODY.format(
        python=shlex.quote(options.python),
        store=shlex.quote(str(store)),
        job=shlex.quote(str(files.job)),
        losses_file=shlex.quote(str(files.losses)),
        losses=options.losses,
        restarts=RESTARTS,
    )
    lines = [
        "#!/bin/bash",
        f"# {job.stage.name}, written by `casl run --launcher slurm` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        *_directives(job, files, after, options),
        "",
        *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
        *([options.prologue] if options.prologue else []),
        "",
    ]
    return "\n".join(lines) + "\n" + body


def _directives(job: Job, files: Files, after: Sequence[str], options: Options) -> list[str]:
    place = job.placement
    wanted = {
        "job-name": job.stage.name,
        "output": str(files.output).replace("%", "%%"),
        "open-mode": "append",
        "requeue": "",
        "signal": f"B:USR1@{WARNING_S}",
        "nodes": str(place.nodes),
        "ntasks-per-node": "1",
        "cpus-per-task": str(place.ranks * (1 + place.loaders)),
    }
    if after:
        wanted |= {"dependency": "afterok:" + ":".join(after), "kill-on-invalid-dep": "yes"}
    if place.device != "cpu" and not {"gres", "gpus", "gpus-per-node", "gpus-per-task"} & {*options.sbatch}:
        wanted["gres"] = f"gpu:{place.ranks}"
    wanted |= options.sbatch
    return [f"#SBATCH --{name}" + (f"={shlex.quote(value)}" if value else "") for name, value in wanted.items()]
