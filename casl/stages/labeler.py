"""Stage 1, `labeler`: a class-agnostic detector on labeled data (CA-SSL eq. 1)."""

from __future__ import annotations

from casl.data.coco import agnostic
from casl.spec.context import Context, Outcome
from casl.spec.kinds import Labeler
from casl.stages.sources import open_split
from casl.stages.training import run_training


def run(stage: Labeler, ctx: Context) -> Outcome:
    """Train the pseudo labeler. With one class, alpha(.) drops the class labels; with more it is class-specific."""
    split = open_split(stage.data, stage.labels, ctx)
    return run_training(stage, agnostic(split) if stage.model.classes == 1 else split, ctx)
