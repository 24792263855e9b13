"""One look at one GPU, in at most eight minutes, written as JSON; on a machine without a GPU the same in tiny sizes.

Run:    make gpu-check, or python benchmarks/gpu_check.py --json FILE, which needs only what casl imports
            [--device auto|cpu|cuda] [--budget 480] [--parts losses,waits,fcos] [--set measure_s=5]
Parts:  hardware, losses, waits, fcos, condinst_swin_t, table4, fcos_compiled, condinst_swin_t_compiled; what each
        measures stands in benchmarks/gpu_parts.py, and how to read the file in benchmarks/README.md.
Shows:  for each part "done", "failed", "out of time", "skipped" or "not applicable", with its seconds, its figures and,
        where it did not end well, why. Each part is a process of its own with a limit, so that one that crashes, hangs
        or finds no memory takes nothing from the others; what it measured before that is kept. The file is whole after
        every part. Exit status 0 only if no part failed, none ran out of time and none was skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measuring import machine, versions

FOLDER = Path(__file__).resolve().parent
BUDGET_S = 480.0
LEAST_S = 15.0  # with less, a part has hardly imported torch
GRACE_S = 5.0  # for a part to end by itself after its limit
BAD = ("failed", "out of time", "skipped")
Json = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A piece of the check. limit_s: of it, where the budget leaves that much."""

    name: str
    limit_s: float


# In the order of what one wants to know first; compilers, which are slow and break most often, last.
PARTS = (
    Part("hardware", 60),
    Part("losses", 90),
    Part("waits", 60),
    Part("fcos", 60),
    Part("condinst_swin_t", 75),
    Part("table4", 180),
    Part("fcos_compiled", 120),
    Part("condinst_swin_t_compiled", 150),
)
# channels: of neck and head. px: short side; photos are 3 : 4. batch: images; halved until memory holds them.
# measure_s: how long steps are timed. cell: of Table 4, or none for all of it. compiler: backend of torch.compile; on a
# processor one that takes the graphs apart and leaves out the code, whose compilation alone takes minutes there.
SETTINGS: dict[str, Json] = {
    "cuda": {
        "losses_backbone": "resnet50",
        "fcos_backbone": "resnet50",
        "condinst_backbone": "swin_t",
        "losses_px": 256,
        "waits_px": 256,
        "waits_batch": 4,
        "channels": 256,
        "px": 800,
        "batch": 16,
        "measure_s": 10.0,
        "cell": None,
        "per_gpu": 4,
        "compiler": "inductor",
    },
    "cpu": {
        "losses_backbone": "resnet_nano",
        "fcos_backbone": "resnet_nano",
        "condinst_backbone": "swin_t",
        "losses_px": 64,
        "waits_px": 64,
        "waits_batch": 2,
        "channels": 32,
        "px": 96,
        "batch": 1,
        "measure_s": 1.0,
        "cell": ["F 1x", "W 1x"],
        "per_gpu": 1,
        "compiler": "aot_eager",
    },
}
TINY = (
    "no GPU: tiny sizes on a processor, which show that the check runs and are no figures of speed. The losses are "
    "those of the processor against its own in another order of sums, Table 4 is one cell, and the compiler takes the "
    "graphs apart and makes no code."
)


def main(words: Sequence[str] | None = None) -> int:
    """Carry out the parts; the exit status."""
    options = parsed(words)
    began = time.monotonic()
    found = beginning(options)
    for part in PARTS:
        if part.name not in options.parts:
            continue
        left = options.budget - (time.monotonic() - began)
        found["parts"][part.name] = result = carried_out(part, left, found, options)
        if part.name == "hardware":
            settle_device(found, result, options)
        found["seconds"] = round(time.monotonic() - began, 1)
        write(options.json, concluded(found, options.parts))
        print(line_of(part.name, result), flush=True)
    print(f"{options.json}: {found['seconds']:.0f} of {options.budget:g} s, {found['verdict']}")
    return 0 if found["verdict"] == "all parts done" else 1


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line; `parts` always begins with the hardware, which says what the others run on."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [part.name for part in PARTS]
    options.add_argument("--json", type=Path, default=Path("build/gpu-check.json"), metavar="FILE", help="%(default)s")
    options.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default %(default)s")
    options.add_argument(
        "--budget", type=float, default=BUDGET_S, metavar="S", help="of all parts; default %(default)g"
    )
    options.add_argument("--parts", default=",".join(names), metavar="A,B", help="default all: %(default)s")
    options.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help=f"any of {SETTINGS['cuda']}")
    chosen = options.parse_args(words)
    chosen.parts = ["hardware", *(name for name in chosen.parts.split(",") if name != "hardware")]
    if odd := [name for name in chosen.parts if name not in names]:
        options.error(f"no part {', '.join(odd)}; there are {', '.join(names)}")
    pairs = [word.partition("=") for word in chosen.set]
    if odd := [name for name, _, _ in pairs if name not in SETTINGS["cuda"]]:
        options.error(f"no setting {', '.join(odd)}; there are {', '.join(SETTINGS['cuda'])}")
    chosen.set = {name: json.loads(value) for name, _, value in pairs}
    return chosen


def beginning(options: argparse.Namespace) -> Json:
    """What is known before anything runs."""
    return {
        "title": "gpu check",
        "started": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "commit": commit(),
        "machine": machine(),
        "versions": versions("casl", "torch", "torchvision", "timm", "triton", "numpy", "pycocotools"),
        "budget_s": options.budget,
        "device": {"kind": "unknown"},
        "settings": {},
        "notes": [],
        "parts": {},
    }


def commit() -> str:
    """Of the code, "" where there is no git."""
    with contextlib.suppress(OSError):
        asked = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return ""


def settle_device(found: Json, result: Json, options: argparse.Namespace) -> None:
    """Choose the device and the sizes by what the hardware is. A GPU that was asked for and is not there is no reason
    to measure a processor instead."""
    figures = result["figures"]
    kind = str(figures.get("kind", "unknown"))
    wanted = kind if options.device == "auto" else options.device
    if wanted == "cuda" != kind and result["status"] == "done":
        result |= {"status": "failed", "error": f"--device cuda: {figures.get('why', 'there is no GPU')}"}
    found["device"] = figures | {"kind": "unknown" if result["status"] != "done" else wanted}
    if result["status"] == "done":
        found["settings"] = SETTINGS[wanted] | options.set
        found["notes"] = [TINY] if wanted == "cpu" else []


def carried_out(part: Part, left: float, found: Json, options: argparse.Namespace) -> Json:
    """One part in a process of its own, or why it was skipped."""
    if left < LEAST_S:
        return outcome("skipped", 0.0, f"{max(left, 0):.0f} s of the budget were left, {LEAST_S:g} are needed")
    if part.name != "hardware" and found["device"]["kind"] == "unknown":
        return outcome("skipped", 0.0, "the hardware could not be read, so there is nothing to run on")
    limit = min(part.limit_s, left - GRACE_S)
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        figures = Path(folder) / "figures.json"
        began = time.monotonic()  # one clock of all processes of a machine
        device = options.device if part.name == "hardware" else found["device"]["kind"]
        asked = {"device": device, "until": began + limit, "scratch": folder, **found["settings"]}
        status, error = finished(command_of(part.name, asked, figures), limit, Path(folder) / "log")
        result = outcome(status, time.monotonic() - began, error)
        if figures.exists():
            result["figures"] = json.loads(figures.read_text())
    if status == "done" and (said := result["figures"].pop("status", "")):
        result |= {"status": said, "error": result["figures"].pop("why")}
    return result | {"limit_s": round(limit, 1)}


def outcome(status: str, seconds: float, error: str) -> Json:
    """How a part ended. error: why not well, "" if it did."""
    return {"status": status, "seconds": round(seconds, 1), "error": error, "figures": {}}


def command_of(name: str, asked: Mapping[str, Any], figures: Path) -> list[str]:
    """The process that does a part."""
    return [sys.executable, str(FOLDER / "gpu_parts.py"), name, json.dumps(asked), str(figures)]


def finished(command: Sequence[str], limit: float, log: Path) -> tuple[str, str]:
    """Run a process with all that it starts, for so long at most: how it ended, and its last words if not well.

    It is asked to end at its limit, and ended with all its descendants a little later.
    """
    around = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")])}
    with log.open("w") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=around, start_new_session=True
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
            with contextlib.suppress(subprocess.TimeoutExpired):
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(GRACE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    last = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
    if code is None:
        return "out of time", f"ended after {limit:.0f} s\n{last}".strip()
    return ("done", "") if code == 0 else ("failed", f"exit status {code}\n{last}".strip())


def concluded(found: Json, wanted: Sequence[str]) -> Json:
    """With the names of parts by how they ended, and what compiling gains."""
    parts: dict[str, Json] = found["parts"]
    for status in BAD:
        found[status.replace(" ", "_")] = [name for name, part in parts.items() if part["status"] == status]
    found["to_come"] = [name for name in wanted if name not in parts]
    bad = [f"{name} {part['status']}" for name, part in parts.items() if part["status"] in BAD]
    found["verdict"] = ", ".join(bad) or ("all parts done" if not found["to_come"] else "under way")
    found["compiling_gains"] = {}
    for name in ("fcos", "condinst_swin_t"):
        plain, compiled = (parts.get(key, {}).get("figures", {}) for key in (name, f"{name}_compiled"))
        if "images_a_second" in plain and "images_a_second" in compiled:
            found["compiling_gains"][name] = round(compiled["images_a_second"] / plain["images_a_second"], 3)
    return found


def write(file: Path, content: Json) -> None:
    """Replace the file in one step. By hand, since it must work where casl cannot even be imported."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with aside.open("w") as out:
            out.write(json.dumps(content, indent=1) + "\n")
            out.flush()
            os.fsync(out.fileno())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def line_of(name: str, part: Json) -> str:
    """A part for people, its last words if it did not end well."""
    said = (part["error"].splitlines() or [""])[-1] if part["error"] else part["figures"].get("short", "")
    return f"  {name:<26}{part['status']:<16}{part['seconds']:>6.1f} s  {said}"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
