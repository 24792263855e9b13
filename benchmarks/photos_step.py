"""What image size and bfloat16 cost in a training step of profile photos on the CPU, in turn.

Run:    .venv/bin/python benchmarks/photos_step.py [--rounds 5] [--batch 8] [--threads 1]
Shows:  medians of the ratios of processor time to that of 128 px in float32, for FCOS and CondInst on the profile's
        backbone: forward, backward and the profile's optimiser, without reading images. Maps of frozen stages are
        remembered after the first round, as in training. Bfloat16 is what precision "mixed" computes in;
        only some processors have instructions for it, which the figures' `bfloat16` says of this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from measuring import arguments, report, spread, taking_turns, versions

from casl import catalog
from casl.spec import Profile, finetune
from casl.stages.probe import training_step

SIZES = (128, 160, 192, 224)
PRECISIONS = ("float32", "mixed")
DETECTORS = ("fcos", "condinst")


def main() -> None:
    options = arguments(__doc__, rounds=5, batch=8, threads=1)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    lines, figures = [], {}
    for detector in DETECTORS:
        works = {name(size, p): step_of(detector, size, p, chosen.batch) for size in SIZES for p in PRECISIONS}
        turns = taking_turns(works, chosen.rounds)
        figures[detector] = vars(turns)
        first = name(SIZES[0], PRECISIONS[0])
        lines += [f"{detector}, {each}: {spread(turns.own, each, first)} of {first}" for each in works if each != first]
        lines.append(f"{detector}, {first}: at best {1e3 * min(turns.own[first]):.0f} ms")
    facts: dict[str, Any] = versions("casl", "torch", "timm") | {"bfloat16": instructions()}
    facts |= {n: getattr(chosen, n) for n in ("batch", "threads", "rounds")}
    report("photos: image size and precision of a training step", facts, lines, figures, chosen.json)


def name(size: int, precision: str) -> str:
    """A side: "128 px, float32"."""
    return f"{size} px, {precision}"


def step_of(detector: str, size: int, precision: str, batch: int) -> Callable[[], torch.Tensor]:
    """One step of a finetune of the profile on random images of that short side; it returns the loss."""
    profile: Profile = catalog.load("profile", "photos")
    stage = finetune(profile.with_size(size), None, detector=detector)
    torch.manual_seed(0)
    return training_step(replace(stage, recipe=replace(stage.recipe, precision=precision)), "cpu", batch)


def instructions() -> str:
    """What this processor has for bfloat16: "AMX", "AVX-512", or "none"."""
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    return "AVX-512" if torch.cpu._is_avx512_bf16_supported() else "none"


if __name__ == "__main__":
    main()
