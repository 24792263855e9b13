"""Use of processor, memory and GPU by a stage, sampled while it works.

A thread writes a line every few seconds into a file beside the curves; the mirror shows it as system metrics of MLflow.
Nothing here can change a result, and nothing that cannot be measured stops a stage.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SYSTEM = "system.csv"
EVERY_S = 5.0
MEGABYTE = 1e6


class Usage:
    """Samples of this process: cpu_utilization_percentage (100 is one core), system_memory_usage_megabytes (of the
    process), and gpu_<n>_memory_usage_megabytes and gpu_<n>_utilization_percentage where torch drives a GPU."""

    def __init__(self) -> None:
        self.samples: list[dict[str, float]] = []
        self._last = (time.monotonic(), _cpu_seconds())

    def sample(self) -> None:
        """Add one sample."""
        now, spent = time.monotonic(), _cpu_seconds()
        before, spent_before = self._last
        self._last = (now, spent)
        share = 100 * (spent - spent_before) / max(now - before, 1e-3)
        values = {"cpu_utilization_percentage": share, "system_memory_usage_megabytes": _memory() / MEGABYTE}
        self.samples.append(values | _gpu())

    def summary(self) -> dict[str, float]:
        """Peak of each memory, mean of each utilisation; {} before the first sample."""
        found: dict[str, float] = {}
        for name in self.samples[-1] if self.samples else ():
            values = [s[name] for s in self.samples if name in s]
            peak = name.endswith("megabytes")
            found[f"peak_{name}" if peak else f"mean_{name}"] = round(
                max(values) if peak else sum(values) / len(values), 1
            )
        return found

    def save(self, path: Path) -> None:
        """As CSV: the number of the sample first, as in curves.csv."""
        names = sorted({name for s in self.samples for name in s})
        rows = [
            ",".join([str(i), *(f"{s[n]:.1f}" if n in s else "" for n in names)]) for i, s in enumerate(self.samples)
        ]
        path.write_text("\n".join([",".join(["iteration", *names]), *rows]) + "\n")


@contextmanager
def usage(path: Path, every_s: float = EVERY_S) -> Iterator[Usage]:
    """Sample until the block ends, at least once, and leave the samples in a file (of a block that raises, too)."""
    used, ended = Usage(), threading.Event()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()  # of the stage before, in a warm worker

    def watch() -> None:
        while not ended.wait(every_s):
            used.sample()

    thread = threading.Thread(target=watch, daemon=True, name="usage")
    thread.start()
    try:
        yield used
    finally:
        ended.set()
        thread.join()
        used.sample()
        with suppress(OSError):  # a full disk is the stage's to report
            used.save(path)


def _cpu_seconds() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def _memory() -> float:
    """Bytes this process holds now; where the system does not say, the most it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return float(pages * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return float(peak if sys.platform == "darwin" else peak * 1024)


def _gpu() -> dict[str, float]:
    """Of the GPUs torch drives in this process; never the reason to import torch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    found: dict[str, float] = {}
    for n in range(torch.cuda.device_count()):
        if held := torch.cuda.max_memory_reserved(n):
            found[f"gpu_{n}_memory_usage_megabytes"] = held / MEGABYTE
            with suppress(Exception):  # needs a library of the driver's that is not always there
                found[f"gpu_{n}_utilization_percentage"] = float(torch.cuda.utilization(n))
    return found
