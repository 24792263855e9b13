"""What the benchmarks share: turns, medians, and what is said about the machine.

Sides take turns inside one run, so that other programs slow all of them; ratios are medians of the ratios
of each turn. Absolute times mean little where other programs run.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
Times = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Turns:
    """Seconds of each side in each round: by the wall, and of the processor, which other programs disturb less."""

    wall: dict[str, list[float]]
    own: dict[str, list[float]]


def taking_turns(sides: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> Turns:
    """Time all sides in each round. The order is turned round every time; warm-up rounds are not counted."""
    turns = Turns({name: [] for name in sides}, {name: [] for name in sides})
    for turn in range(-warm_up, rounds):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            wall, own = time.perf_counter(), time.process_time()
            sides[name]()
            if turn >= 0:
                turns.wall[name].append(time.perf_counter() - wall)
                turns.own[name].append(time.process_time() - own)
    return turns


def ratio(times: Times, ours: str, theirs: str) -> float:
    """Median over rounds of our time over theirs."""
    return statistics.median(a / b for a, b in zip(times[ours], times[theirs], strict=True))


def spread(times: Times, ours: str, theirs: str) -> str:
    """The ratio with its smallest and largest round, for people."""
    ratios = [a / b for a, b in zip(times[ours], times[theirs], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def arguments(doc: str | None, **numbers: int) -> argparse.ArgumentParser:
    """A parser with --json and some whole numbers."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", type=Path, metavar="FILE", help="also write every figure here")
    for name, default in numbers.items():
        options.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default {default}")
    return options


def adopt_orphans() -> None:
    """What engines leave behind becomes a child of this process, so that its processor time is counted. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def used_cpu() -> float:
    """Processor seconds of all children that have ended; waits a while for those that still end."""
    until = time.monotonic() + 10.0
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.05)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine() -> dict[str, Any]:
    """Cores this process may use, the processor's name, how many processes want to run, and when."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else -1.0
    return {"cores": cores, "processor": _processor(), "load": round(load, 1), "date": f"{datetime.now(UTC):%Y-%m-%d}"}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(*packages: str) -> dict[str, str]:
    """Of Python and of the packages that are installed here."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def version_in(python: str, package: str) -> str:
    """Of a package in another environment.

    Raises:
        SystemExit: it is not there; says how to install it.
    """
    script = f"from importlib import metadata; print(metadata.version({package!r}))"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{python} has no {package}: python -m venv ENV && ENV/bin/pip install {package}")
    return done.stdout.strip()


def report(title: str, facts: Mapping[str, Any], lines: Sequence[str], figures: object, file: Path | None) -> None:
    """Print the figures, and write them as JSON if asked.

    Args:
        facts: versions and sizes.
        lines: what people read.
        figures: everything measured, as JSON values.
    """
    where = machine()
    print(f"{title}\n  {where['cores']} cores, {where['processor']}, load {where['load']}, {where['date']}")
    print("  " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    print("\n".join(f"  {line}" for line in lines))
    if file:
        content = {"title": title, "machine": where, "facts": dict(facts), "figures": figures}
        file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
