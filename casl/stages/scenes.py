"""Stage `scenes`: make one split of the built-in data set."""

from __future__ import annotations

from dataclasses import replace

from casl.data.scene_paint import DIFFICULTY
from casl.data.scenes import write_scenes
from casl.spec.context import Context, Outcome
from casl.spec.data_kinds import Scenes


def run(stage: Scenes, ctx: Context) -> Outcome:
    """Write the split into the folder `set` of the result."""
    write_scenes(
        ctx.folder / "set",
        stage.split,
        stage.count,
        stage.size,
        stage.seed,
        replace(DIFFICULTY, zipf=stage.tail),
        stage.shapes,
        hidden=stage.hidden,
    )
    ctx.progress(stage.count, stage.count, {})
    return Outcome(facts={"images": stage.count})
