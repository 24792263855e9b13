"""Bits: whether results have the same bits on every processor, or are computed by the fastest kernels of this one.

Libraries choose their kernels by the processor, and kernels of other widths add up in another order. They can be told
to take those of AVX2 everywhere, by variables that must stand in the environment before torch and numpy are imported.
What remains is exact in the code itself: square roots (casl/models/exact.py), the optimiser (casl/train/optimizer.py).
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from casl.errors import SpecError
from casl.spec.run import PORTABLE

NATIVE, MIXED = "native", "mixed"
MODES = (PORTABLE, NATIVE)
# COMPATIBLE, since MKL takes another branch on AMD's processors under any other name. What numpy does not have on a
# processor it need not be told to leave; a name that it does not know does nothing.
KERNELS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
# glibc keeps freed memory instead of asking the kernel for it again in every iteration; no result depends on it.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}


def choose(asked: str, *, small: bool) -> tuple[str, str]:
    """The mode of a run, and a sentence for people where it is not what a small profile would have.

    Args:
        asked: one of MODES, "" for the default: portable in small profiles, native elsewhere.

    Raises:
        SpecError: portable bits were asked for, and this machine cannot compute them.
    """
    wanted = asked or (PORTABLE if small else NATIVE)
    if wanted == NATIVE or not (lack := lacking()):
        return wanted, ""
    if asked:
        raise SpecError(f"--bits portable: {lack}.\n  --bits native computes with what it has.")
    return NATIVE, f"{lack}: numbers are computed with its own kernels, and differ from those of other processors."


@lru_cache(maxsize=1)
def lacking() -> str:
    """Why this machine cannot compute portable bits, as a sentence without a full stop; "" if it can."""
    machine, system = platform.machine(), platform.system()
    if (machine, system) != ("x86_64", "Linux"):
        return f"portable bits are for x86-64 processors under Linux, and this is {machine} under {system}"
    if not {"avx2", "fma"} <= set(_of_cpu("flags").split()):
        return f"portable bits need a processor with AVX2, and {processor()} has none"
    return ""


def environment(mode: str) -> dict[str, str]:
    """Variables for the workers of a mode."""
    return {**MEMORY, **(KERNELS if mode == PORTABLE else {})}


def take_on(around: Mapping[str, str]) -> None:
    """Give this process itself such variables; says so if what reads them is loaded already, so that it cannot be."""
    wanted = {name: value for name, value in around.items() if name in KERNELS and os.environ.get(name) != value}
    if not {"numpy", "torch"} & sys.modules.keys():
        os.environ.update(wanted)
    elif wanted:
        print("note: this process has loaded its kernels before; results are recorded as native", file=sys.stderr)


def arithmetic(device: str, inputs: Iterable[Mapping[str, str]], *, by_torch: bool) -> dict[str, str]:
    """What computes a result: a field of its record.

    Args:
        device: "cpu", or a GPU of torch.
        inputs: this field of each result that the new one is made from, empty where it was not recorded.

    Returns:
        bits: a mode, MIXED where an input has other bits than this process makes. processor: its name, or the GPU's.
        capability: the widest vector units used, as torch names them ("AVX2", "AVX512", "sm_90"); "" without torch.
    """
    mine = {"bits": _in_force(), "processor": processor(), "capability": ""}
    if by_torch:
        import torch

        mine["capability"] = torch.backends.cpu.get_cpu_capability()
        if device.startswith("cuda"):
            major, minor = torch.cuda.get_device_capability(device)
            mine = {"bits": NATIVE, "processor": torch.cuda.get_device_name(device), "capability": f"sm_{major}{minor}"}
        elif mine["bits"] == PORTABLE and mine["capability"] != "AVX2":
            mine["bits"] = NATIVE
    return mine if all(_alike(mine, other) for other in inputs) else {**mine, "bits": MIXED}


def _alike(mine: Mapping[str, str], other: Mapping[str, str]) -> bool:
    if mine["bits"] == PORTABLE:
        return other.get("bits") == PORTABLE
    known = other.get("capability", "")
    return other.get("bits", NATIVE) == NATIVE and known in ("", mine["capability"])


def _in_force() -> str:
    return PORTABLE if all(os.environ.get(name) == value for name, value in KERNELS.items()) else NATIVE


def processor() -> str:
    """The name of the processor of this machine."""
    return _of_cpu("model name") or platform.machine()


def _of_cpu(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")
