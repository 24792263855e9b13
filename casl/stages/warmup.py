"""Stage 2, `warmup`: the target detector on pseudo labels of unlabeled images (CA-SSL eq. 2-4)."""

from __future__ import annotations

from casl.data.coco import agnostic
from casl.spec.context import Context, Outcome
from casl.spec.kinds import Warmup
from casl.stages.sources import open_pseudo_labels, open_split
from casl.stages.training import run_training


def run(stage: Warmup, ctx: Context) -> Outcome:
    """Train on labels above the threshold, or on ground truth where the spec says so (Table 2, Objects(G,A))."""
    split = open_pseudo_labels(stage, ctx) if stage.labels == "pseudo" else open_split(stage.data, stage.labels, ctx)
    return run_training(stage, agnostic(split) if stage.model.classes == 1 else split, ctx)
