"""What a GPU is and does: its name and driver, how busy it is, and where the host waits for it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

EVERY_S = 0.25
WAITS = (
    "cudaStreamSynchronize",
    "cudaEventSynchronize",
    "cudaDeviceSynchronize",
    "cudaMemcpy",
    "cudaMalloc",
    "cudaFree",
)
SAYS = "synchronizing CUDA operation"  # in what torch warns of
FACTS = "name,driver_version,memory.total,power.limit,clocks.max.sm"
GIB = 2**30


def hardware(wanted: str) -> dict[str, Any]:
    """What there is to run on. wanted: "auto", "cpu" or "cuda".

    Returns:
        "kind", "cuda" or "cpu"; "why" there is no GPU where there is none; name, memory, driver and libraries of it.
    """
    if wanted == "cpu" or not torch.cuda.is_available():
        return {"kind": "cpu", "name": platform.processor() or platform.machine(), "why": _why_none(wanted)}
    facts = torch.cuda.get_device_properties(0)
    return {
        "kind": "cuda",
        "name": facts.name,
        "memory_gib": round(facts.total_memory / GIB, 1),
        "capability": f"{facts.major}.{facts.minor}",
        "multiprocessors": facts.multi_processor_count,
        "gpus": torch.cuda.device_count(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "bfloat16": torch.cuda.is_bf16_supported(),
        "driver": driver(),
        "nvidia_smi": asked(FACTS) or "unavailable",
    }


def _why_none(wanted: str) -> str:
    if wanted == "cpu":
        return "a processor was asked for"
    build = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is a build for processors"
    found = "NVIDIA's driver is there" if Path("/proc/driver/nvidia/version").exists() else "there is no NVIDIA driver"
    return f"torch {torch.__version__} {build} and finds no GPU; {found}"


def driver() -> str:
    """Version of NVIDIA's driver, "unknown" where neither nvidia-smi nor the kernel says it."""
    if said := asked("driver_version"):
        return said
    try:
        return Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    except (OSError, IndexError):
        return "unknown"


def asked(what: str, patience_s: float = 10.0) -> str:
    """What nvidia-smi says of the GPU in use, as text; "" where it cannot."""
    if not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits", "-i", _own()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience_s)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _own() -> str:
    """The first GPU of this process as nvidia-smi names it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    return visible or "0"


def utilisation() -> tuple[str, Callable[[], float]] | str:
    """Where the share of time comes from in which the GPU did anything, and a function that gives it, percent; or why
    it is unavailable."""
    reasons = []

    def of_torch() -> float:
        return float(torch.cuda.utilization(0))

    def smi() -> float:
        return float(asked("utilization.gpu", 2.0))

    for name, ask in (("torch.cuda.utilization", of_torch), ("nvidia-smi", smi)):
        try:
            ask()
        except Exception as error:  # no pynvml, no permission, no nvidia-smi: all mean the same here
            reasons.append(f"{name}: {type(error).__name__}: {error}")
        else:
            return name, ask
    return "; ".join(reasons)


class Meter:
    """Utilisation and memory of the GPU while a block runs, asked by a thread every quarter of a second."""

    def __init__(self, device: str) -> None:
        self._gpu = device == "cuda"
        found = utilisation() if self._gpu else "a processor has none"
        nothing: tuple[str, Callable[[], float] | None] = (str(found), None)
        self._source, self._ask = found if isinstance(found, tuple) else nothing
        self._values: list[float] = []
        self._ended = threading.Event()

    def __enter__(self) -> Meter:
        if self._gpu:
            torch.cuda.reset_peak_memory_stats()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while self._ask and not self._ended.wait(EVERY_S):
            try:
                self._values.append(self._ask())
            except Exception as error:  # a figure that is missing is no reason to lose the others
                self._source, self._ask = f"{self._source} stopped answering: {error}", None

    def seen(self) -> dict[str, Any]:
        """ "utilisation": its source and mean percent, None where nothing could be asked; "peak_memory_gib"."""
        mean = round(sum(self._values) / len(self._values), 1) if self._values else None
        found: dict[str, Any] = {
            "utilisation": {"source": self._source, "mean_percent": mean, "samples": len(self._values)}
        }
        if self._gpu:
            found["peak_memory_gib"] = round(torch.cuda.max_memory_allocated() / GIB, 2)
        return found


@contextmanager
def waits_by_place() -> Iterator[Counter[str]]:
    """Count the operations that make the host wait for the GPU, as torch warns of them, by the innermost line of casl
    that asked for it. Waiting for an event, as the loop does for losses, is not among them."""
    found: Counter[str] = Counter()

    def seen(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        if SAYS in str(message):
            found[place(traceback.extract_stack(), f"{filename}:{lineno}")] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = seen
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")


def place(stack: Iterable[traceback.FrameSummary], otherwise: str) -> str:
    """The innermost frame of a package casl, as "casl/models/fcos.py:120 assign"."""
    for frame in reversed(list(stack)):
        if "/casl/" in frame.filename:
            return f"casl/{frame.filename.rpartition('/casl/')[2]}:{frame.lineno} {frame.name}"
    return otherwise


def profiled(step: Callable[[], object]) -> dict[str, Any]:
    """How often the host called what makes it wait, and the share of the time in which a kernel ran, of some steps.
    None with "why" where the profiler does not work, as without CUPTI."""
    kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    try:
        with torch.profiler.profile(activities=kinds) as profile:
            step()
            torch.cuda.synchronize()
        return _read(list(profile.events()))
    except Exception as error:
        return {"calls": {}, "kernel_share": None, "why": f"{type(error).__name__}: {error}"}


def _read(events: list[Any]) -> dict[str, Any]:
    kernels = [
        (event.time_range.start, event.time_range.end)
        for event in events
        if event.device_type.name == "CUDA" and not getattr(event, "is_user_annotation", False)
    ]
    calls = Counter(event.name for event in events if event.name in WAITS or event.name == "aten::_local_scalar_dense")
    span = max((end for _, end in kernels), default=0) - min((start for start, _ in kernels), default=0)
    share = round(covered(kernels) / span, 3) if span else None
    return {"calls": dict(calls), "kernel_share": share, "why": "" if span else "the profiler saw no kernel"}


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of some spans of time."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
