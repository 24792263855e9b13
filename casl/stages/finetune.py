"""Stage 3, `finetune`: the target detector on class-specific labels, starting from a warmup (CA-SSL eq. 5)."""

from __future__ import annotations

from casl.data.coco import with_keypoints
from casl.spec.context import Context, Outcome
from casl.spec.kinds import Finetune
from casl.stages.sources import of_classes, open_split
from casl.stages.training import run_training


def run(stage: Finetune, ctx: Context) -> Outcome:
    """Train on the split's own classes, or on entities as one class; for keypoints, on images that have some.

    Raises:
        SpecError: the model and the data differ in their number of classes.
    """
    split = open_split(stage.data, stage.labels, ctx)
    if stage.labels == "keypoints":
        split = with_keypoints(split)
    return run_training(stage, of_classes(split, stage.model.classes), ctx)
