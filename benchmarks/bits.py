"""What the same bits on every processor cost, and what wins the cost back, in turn.

Run:    .venv/bin/python benchmarks/bits.py [--rounds 5] [--steps 4]
Shows:  medians of the ratios of processor time to that of this processor's own kernels, for a training step of profile
        mini: CondInst, 16 images of 64 px under strong augmentation, one thread, reading and augmenting included. Each
        side is a process with its own environment: variables for kernels and for memory are read when torch is loaded.
        AdamW as a list of operations is how it stood before it was fused. Weights after all steps are compared, so
        that equal bits are seen to be equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from measuring import Turns, arguments, report, spread, versions

from casl import catalog
from casl.runner.bits import KERNELS, MEMORY
from casl.spec import Profile, Scenes, finetune

# side -> variables, and whether AdamW is fused
SIDES: dict[str, tuple[Mapping[str, str], bool]] = {
    "native": ({}, False),
    "native, fused, memory kept": (MEMORY, True),
    "portable": (KERNELS, False),
    "portable, fused": (KERNELS, True),
    "portable, fused, memory kept": ({**KERNELS, **MEMORY}, True),
}


def main() -> None:
    options = arguments(__doc__, rounds=5, steps=4)
    options.add_argument("--side", choices=SIDES, help="be one of the processes")
    options.add_argument("--folder", type=Path, help="of its scenes")
    chosen = options.parse_args()
    if chosen.side:
        serve(chosen.side, chosen.folder, chosen.steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        sides = {name: start(name, Path(folder), chosen.steps) for name in SIDES}
        turns, digests = compare(sides, chosen.rounds)
    first = "native"
    lines = [f"{name}: {spread(turns.own, name, first)} of native" for name in SIDES if name != first]
    kept, freed = digests["portable, fused, memory kept"], digests["portable, fused"]
    lines.append(f"bits with memory kept: {'the same' if kept == freed else 'OTHERS'}")
    facts = versions("casl", "torch") | {"rounds": chosen.rounds, "steps": chosen.steps}
    report("portable bits: a training step of mini", facts, lines, {**vars(turns), "weights": digests}, chosen.json)


def start(side: str, folder: Path, steps: int) -> subprocess.Popen[str]:
    """A process of one side, which has done one round when this returns."""
    clean = {name: value for name, value in os.environ.items() if name not in {**KERNELS, **MEMORY}}
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--steps", str(steps)]
    around = {**clean, **SIDES[side][0], "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=around, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ask(process)
    return process


def ask(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Let a side do a round; its seconds, and a hash of its weights."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def compare(sides: Mapping[str, subprocess.Popen[str]], rounds: int) -> tuple[Turns, dict[str, str]]:
    """Seconds of each side in each round, the order turned round every time; hashes of the weights at the end."""
    turns, digests = Turns({name: [] for name in sides}, {name: [] for name in sides}), {}
    for turn in range(rounds):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            found = ask(sides[name])
            turns.wall[name].append(found["wall"])
            turns.own[name].append(found["own"])
            digests[name] = found["weights"]
    for process in sides.values():
        process.communicate()
    return turns, digests


def serve(side: str, folder: Path, steps: int) -> None:
    """Do a round for each line that comes in."""
    step, model = training(folder, fused=SIDES[side][1])
    done = 0
    for _ in sys.stdin:
        wall, own = time.perf_counter(), time.process_time()
        for _ in range(steps):
            step(done)
            done += 1
        seconds = {"wall": time.perf_counter() - wall, "own": time.process_time() - own}
        weights = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()[:16]
        print(json.dumps({**seconds, "weights": weights}), flush=True)


def training(folder: Path, *, fused: bool) -> tuple[Callable[[int], None], Any]:
    """One iteration of a baseline of mini, as a function of its number, and the detector."""
    import torch

    from casl.runner.job import fixed_arithmetic
    from casl.spec.context import Context
    from casl.stages.detectors import build_detector
    from casl.stages.feed import Feed
    from casl.stages.sources import open_split
    from casl.train.loop import seed_iteration
    from casl.train.optimizer import named_groups

    fixed_arithmetic()
    mini: Profile = catalog.load("profile", "mini")
    stage = finetune(replace(mini, pretrain=None), None, schedule=1)
    data = Scenes(split="labeled", count=32, size=64)

    def context(inputs: Mapping[str, Path]) -> Context:
        return Context(folder / data.name, inputs, {}, "cpu", lambda *_: None, lambda _: None)

    if not (folder / data.name).exists():
        (folder / data.name).mkdir()
        catalog.load("stage", data.kind)(data, context({}))
    ctx = context({data.name: folder / data.name})
    torch.manual_seed(0)
    detector: Any = build_detector(stage.model, ctx, pretrained=False).train()
    groups, recipe = named_groups(detector, stage.recipe.weight_decay), replace(stage.recipe, augmentation="strong")
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, fused=fused, foreach=not fused)
    feed = Feed(open_split(data, "objects", ctx), recipe, 0, getattr(detector, "needs", ()))

    def step(iteration: int) -> None:
        images, targets = feed(iteration)
        seed_iteration(0, iteration)
        loss = torch.stack(list(detector.losses(images, targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step, detector


if __name__ == "__main__":
    main()
