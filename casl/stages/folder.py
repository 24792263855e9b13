"""Stage `folder`: take note of a split on disk. The files stay where they are; the key names their content."""

from __future__ import annotations

from casl.spec.context import Context, Outcome
from casl.spec.data_kinds import Folder
from casl.stages.sources import facts_of, open_split


def run(stage: Folder, ctx: Context) -> Outcome:
    """Open the split as every later stage will, and count it."""
    split = open_split(stage, stage.labels, ctx)
    ctx.progress(len(split), len(split), {})
    names = {"classes": list(split.classes), "category_ids": list(split.category_ids)}
    if stage.labels == "panoptic":
        names |= {"stuff_classes": list(split.stuff_classes), "stuff_category_ids": list(split.stuff_category_ids)}
    return Outcome(facts={**facts_of(split), **names, "digest": stage.digest})
