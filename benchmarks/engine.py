"""A plan of many trivial stages on launcher `local`, beside plain processes, Ray Core, Snakemake and AI2 Tango.

Run:    .venv/bin/python benchmarks/engine.py [--pieces 300] [--jobs 2] [--rounds 3]
            [--peer ray=PYTHON] [--peer snakemake=PYTHON] [--peer tango=PYTHON] [--of tango=30] [--cached STORE]
Peers:  each in an environment of its own: python -m venv ENV && ENV/bin/pip install numpy pillow pycocotools PEER, with
        PEER one of ray, snakemake, "ai2-tango setuptools<81"; then --peer ray=ENV/bin/python
Shows:  wall time from the start of the command to its end, cold, over what the same pieces of work themselves take in a
        pool of as many warm processes (a fifth of the pieces, before and after each engine), divided by the processes.
        "later" is the same for the second half of the pieces alone, from the times when their files were written: what
        is left without start-up. "cpu" is processor time of the command and everything it started over that of the
        work, cold; on a machine that others use too it is the steadiest of the three. --of gives a slow engine fewer
        pieces. --cached also times `casl run all` and `casl plan all` on a copy of a store where all is done.

The stages of casl are leased, checked, hashed, synced to the disk and recorded one by one; of the others Snakemake
records its jobs, Tango caches its steps, and Ray and the plain processes keep nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measuring import adopt_orphans, arguments, report, used_cpu, version_in, versions

HERE = Path(__file__).resolve().parent
ENGINES = HERE / "engines"
PACKAGES = {"ray": "ray", "snakemake": "snakemake", "tango": "ai2-tango"}


@dataclass(frozen=True)
class Timing:
    """One command. later_s: from the end of the first half of its pieces to the end of the last."""

    wall_s: float
    later_s: float
    cpu_s: float  # of the command and all its descendants
    work_s: float  # of one piece, over the workers, as the pool just before and just after did it
    work_cpu_s: float  # processor time of one piece, there


def main() -> None:
    options = arguments(__doc__, pieces=300, jobs=2, rounds=3)
    options.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help=", ".join(PACKAGES))
    options.add_argument("--of", action="append", default=[], metavar="NAME=PIECES", help="fewer pieces for an engine")
    options.add_argument("--cached", default="", metavar="STORE", help="a store with all results of profile smoke")
    chosen = options.parse_args()
    adopt_orphans()
    peers = dict(pair.split("=", 1) for pair in chosen.peer)
    if unknown := peers.keys() - PACKAGES:
        sys.exit(f"unknown peers {sorted(unknown)}; known: {', '.join(PACKAGES)}")
    engines = {"casl": sys.executable, "subprocesses": sys.executable, **peers}
    fewer = {name: int(count) for name, count in (pair.split("=") for pair in chosen.of)}
    counts = {name: fewer.get(name, chosen.pieces) for name in engines}
    rounds = [
        one_round(engines, counts, max(chosen.jobs, chosen.pieces // 5), chosen.jobs) for _ in range(chosen.rounds)
    ]
    lines = [*table(rounds, counts), *missing(peers)]
    if chosen.cached:
        lines += cached(chosen.cached, chosen.rounds)
    facts = {**versions("casl"), **{name: version_in(python, PACKAGES[name]) for name, python in peers.items()}}
    facts |= {"pieces": chosen.pieces, "jobs": chosen.jobs, "rounds": chosen.rounds}
    figures = [{name: vars(timing) for name, timing in turn.items()} for turn in rounds]
    report("engine: trivial stages on launcher local", facts, lines, figures, chosen.json)


def one_round(engines: dict[str, str], counts: dict[str, int], few: int, jobs: int) -> dict[str, Timing]:
    """Every engine once, and the pool between them."""
    timings = {}
    before = measure("pool", sys.executable, few, jobs)
    for name, python in engines.items():
        wall, later, cpu, _ = measure(name, python, counts[name], jobs)
        after = measure("pool", sys.executable, few, jobs)
        walls, own = zip(*(map(float, pool[3].split()) for pool in (before, after)), strict=True)
        timings[name] = Timing(wall, later, cpu, sum(walls) / 2 / few / jobs, sum(own) / 2 / few)
        print(f"{name}: {timings[name]}", file=sys.stderr)
        before = after
    return timings


def measure(name: str, python: str, pieces: int, jobs: int) -> tuple[float, float, float, str]:
    """Run all pieces with one engine, in a new folder: wall seconds, those of the later half, processor seconds, and
    what it printed.

    Raises:
        SystemExit: it failed; says how.
    """
    with tempfile.TemporaryDirectory(prefix=f"casl-engine-{name}-", ignore_cleanup_errors=True) as folder:
        command = command_of(name, python, Path(folder), pieces, jobs)
        programs = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")])  # tango starts `tango`
        modules = os.pathsep.join([str(HERE.parent), str(ENGINES)])
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": modules, "PATH": programs}
        began, cpu = time.time(), used_cpu()
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        wall = time.time() - began
        ends = sorted(p.stat().st_mtime for p in Path(folder).rglob("splits.json"))
        if done.returncode or len(ends) != pieces:
            sys.exit(f"{name}: exit status {done.returncode}, {len(ends)} of {pieces} pieces\n{done.stderr[-2000:]}")
        return wall, ends[-1] - ends[(pieces - 1) // 2], used_cpu() - cpu, done.stdout


def command_of(name: str, python: str, folder: Path, pieces: int, jobs: int) -> list[str]:
    """The command line of an engine, as its users would write it."""
    if name == "snakemake":
        given = [f"folder={folder}", f"pieces={pieces}", f"python={python}", f"piece={ENGINES / 'piece.py'}"]
        snakefile = ["-s", str(ENGINES / "Snakefile"), "--cores", str(jobs)]
        return [python, "-m", "snakemake", *snakefile, "--quiet", "all", "--config", *given]
    if name == "tango":
        steps = {f"piece{n}": {"type": "piece", "folder": str(folder / "made"), "number": n} for n in range(pieces)}
        (folder / "steps.json").write_text(json.dumps({"steps": steps}))
        where = ["-i", "tango_steps", "-w", str(folder / "workspace"), "-j", str(jobs)]
        return [python, "-m", "tango", "run", str(folder / "steps.json"), *where]
    return [python, str(ENGINES / f"with_{name}.py"), str(folder), str(pieces), str(jobs)]


def table(rounds: list[dict[str, Timing]], counts: dict[str, int]) -> list[str]:
    """A line an engine: medians over the rounds."""
    lines = [f"{'':13}{'pieces':>7}{'wall s':>9}{'over work':>11}{'later':>8}{'cpu':>8}{'ms a piece':>12}"]
    for name, count in counts.items():
        own = [turn[name] for turn in rounds]
        wall = statistics.median(t.wall_s for t in own)
        whole = statistics.median(t.wall_s / (t.work_s * count) for t in own)
        later = statistics.median(t.later_s / (t.work_s * (count // 2)) for t in own)
        cpu = statistics.median(t.cpu_s / (t.work_cpu_s * count) for t in own)
        shown = f"{'?':>8}" if name == "ray" else f"{cpu:8.2f}"  # its raylet does not tell what its workers used
        each = statistics.median(t.later_s / (count // 2) for t in own)
        lines.append(f"{name:13}{count:7}{wall:9.1f}{whole:11.2f}{later:8.2f}{shown}{1e3 * each:12.1f}")
    return lines


def missing(peers: dict[str, str]) -> list[str]:
    """What to install for the peers that were not given."""
    left_out = [name for name in PACKAGES if name not in peers]
    needs = {name: PACKAGES[name] + (" 'setuptools<81'" if name == "tango" else "") for name in left_out}
    install = "python -m venv ENV && ENV/bin/pip install numpy pillow pycocotools"
    return [f"{name} is left out: {install} {needs[name]}; then --peer {name}=ENV/bin/python" for name in left_out]


def link_or_copy(source: str, target: str) -> None:
    """Results are never written again, so links to them do; all else of a store is copied."""
    if "stages" in Path(source).parts:
        with contextlib.suppress(OSError):  # another disk
            os.link(source, target)
            return
    shutil.copy2(source, target)


def cached(store: str, rounds: int) -> list[str]:
    """How long `casl run all` and `casl plan all` take where nothing is left to do; MLflow is in the store."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "store"
        shutil.copytree(store, copy, copy_function=link_or_copy)
        for verb in ("run", "plan"):
            command = [sys.executable, "-m", "casl", verb, "all", "--profile", "smoke", "--store", str(copy)]
            walls, own = [], []
            for _ in range(rounds + 1):
                began, used = time.perf_counter(), used_cpu()
                done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parent)
                walls.append(time.perf_counter() - began)
                own.append(used_cpu() - used)
            if done.returncode or "to run       0 stages" not in done.stdout:
                sys.exit(f"casl {verb} all did not find everything done:\n{done.stdout}{done.stderr[-2000:]}")
            figures = (
                f"{statistics.median(walls[1:]):.2f} s by the wall, {statistics.median(own[1:]):.2f} s of processor"
            )
            lines.append(f"casl {verb} all, everything done: {figures}")
    return lines


if __name__ == "__main__":
    main()
