"""Stages that misbehave in every way a machine can, chosen by the seed of a Scenes stage."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from casl.errors import DeviceMemoryError
from casl.spec.context import Context, Outcome
from casl.spec.data_kinds import Scenes
from casl.spec.kinds import Labeler

FINE, HANGS, LEAVES_A_CHILD, HANGS_WITH_A_CHILD, DIES, STOPS_WHEN_ASKED = range(6)
PIECES_THAT_FIT = 4


def scenes(stage: Scenes, ctx: Context) -> Outcome:
    """Do what the seed says."""
    if stage.seed in (LEAVES_A_CHILD, HANGS_WITH_A_CHILD):
        child = [sys.executable, "-c", "import time; time.sleep(1000)", "sleeper", str(ctx.folder)]
        subprocess.Popen(child, start_new_session=True)  # as torchrun starts its ranks
    ctx.progress(1, 2, {})
    if stage.seed == DIES:
        os._exit(9)
    while stage.seed in (HANGS, HANGS_WITH_A_CHILD) or (stage.seed == STOPS_WHEN_ASKED and not ctx.stopping()):
        time.sleep(0.02)
    (ctx.folder / "file").write_text("content")
    return Outcome(metrics={"seed": float(stage.seed)})


def labeler(stage: Labeler, ctx: Context) -> Outcome:
    """Needs a batch cut into so many pieces."""
    if ctx.micro_batches < PIECES_THAT_FIT:
        raise DeviceMemoryError(f"{ctx.micro_batches} pieces of {stage.recipe.batch} images do not fit")
    return Outcome(metrics={"pieces": float(ctx.micro_batches)})
