"""Fractions: what a warmup gains, by how many labels there are. Not a table of the paper.

Run:     casl run fractions --seeds 3 && casl report fractions --seeds 3
Expect:  the fewer labels, the more a warmup gains.

Labeler, finetune and baseline see the same share of the labeled images, and smaller shares are part of larger ones
below 100 %; the unlabeled images and all lengths are the same in every row, so a small share is seen more often. Every
seed draws its shares anew, so that intervals hold which images were labeled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ablations.controls import LONG, as_long, length_of
from casl.spec import Ablation, Cell, Folder, Profile, Scenes, evaluate, finetune, warmup

PERCENT = (1, 5, 10, 50, 100)
NONE, WARM = "no warmup", "warmup"


def row_of(percent: int) -> str:
    """Heading of a share."""
    return f"{percent} %"


def cells(profile: Profile) -> Iterator[Cell]:
    for percent in PERCENT:
        share = replace(profile, data=profile.data.labeled_share(percent, fold=profile.seed))
        warm = warmup(share)
        labeled = share.data.split("labeled", "objects")
        assert isinstance(labeled, Scenes | Folder)
        note = f"{labeled.images} labeled images"
        for column, model, why in (
            (NONE, finetune(share, None), profile.start),
            (LONG, finetune(share, None, schedule=as_long(share, warm)), length_of(share, warm)),
            (WARM, finetune(share, warm), ""),
        ):
            stage = evaluate(share, model, "ap_det")
            text = "; ".join(filter(None, (note, why)))
            yield Cell(row=row_of(percent), column=column, metric="ap_det", stage=stage, note=text)


ABLATION = Ablation(
    name="fractions",
    title="What a warmup gains, by the share of labels",
    source="not in the paper",
    cells=cells,
    rows="labeled images used",
    columns="start",
    unit="row",
    figure="curves",
)
