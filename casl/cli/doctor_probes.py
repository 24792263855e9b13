"""Checks of `doctor` that import slow packages, each in a process of its own, side by side."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from casl.cli.doctor_checks import BROKEN, INSTALL, Finding

PATIENCE_S = 120.0
TORCH = """
import json, torch
n = torch.cuda.device_count() if torch.cuda.is_available() else 0
found = [torch.cuda.get_device_properties(i) for i in range(n)]
said = [[p.name, p.total_memory, torch.cuda.is_bf16_supported()] for p in found]
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "gpus": said}))
"""
FONTS = """
import json, matplotlib
from matplotlib import font_manager
from PIL import features
font = font_manager.findfont("DejaVu Sans", fallback_to_default=False)
print(json.dumps({"font": font, "freetype": features.check("freetype2"), "backend": matplotlib.get_backend()}))
"""


class Probes:
    """Started on entry, read by `findings`, ended on exit."""

    def __enter__(self) -> Probes:
        self.running = {name: _start(script) for name, script in (("torch", TORCH), ("pictures", FONTS))}
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running.values():
            process.kill()
            process.communicate()

    def findings(self) -> Iterator[Finding]:
        """The findings of all probes."""
        yield _pictures(*self._answer("pictures"))
        yield _gpus(*self._answer("torch"))

    def _answer(self, name: str) -> tuple[dict[str, Any], str]:
        """The JSON that a probe printed and ""; or {} and what went wrong."""
        process = self.running[name]
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            return {}, f"no answer within {PATIENCE_S:g} s"
        if process.returncode or not out:
            return {}, (err.strip().splitlines() or [f"ended with code {process.returncode}"])[-1]
        return dict(json.loads(out.splitlines()[-1])), ""


def _start(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def _pictures(found: dict[str, Any], error: str) -> Finding:
    if error:
        return Finding("pictures", BROKEN, error, f"matplotlib or Pillow is damaged: {INSTALL}")
    if not found["freetype"]:
        return Finding("pictures", BROKEN, "Pillow was built without FreeType", "install Pillow from a wheel")
    return Finding("pictures", "ok", f"matplotlib finds its font; backend {found['backend']} (reports use none)")


def _gpus(found: dict[str, Any], error: str) -> Finding:
    if error:
        return Finding("gpu", BROKEN, f"torch does not start: {error}", INSTALL)
    gpus = [f"{name} ({memory / 1e9:.0f} GB{', bfloat16' if half else ''})" for name, memory, half in found["gpus"]]
    if gpus:
        return Finding("gpu", "ok", f"{len(gpus)}: {', '.join(gpus)}; torch {found['version']}")
    said = f"none that torch {found['version']} can use"
    if shutil.which("nvidia-smi"):
        build = f"for CUDA {found['cuda']}" if found["cuda"] else "for CPUs"
        todo = f"this machine has NVIDIA's driver, torch is a build {build}: install the one that fits the driver"
        return Finding("gpu", "note", said, todo)
    return Finding("gpu", "note", said, "profiles smoke and mini need none; profile paper does")
