"""Ladder: CA-SSL and its rivals with a share of the labels. Not a table of the paper.

Run:     make ladder, or casl run ladder --seeds 3 && casl report ladder --seeds 3
Expect:  methods that use unlabeled images gain the more the fewer labels there are.

Methods, lengths and budgets are those of `rivals`. Labelers, teachers and baselines see the same share of the labeled
images, and smaller shares are part of larger ones below 100 %; unlabeled images and lengths are the same at every
share. Every seed draws its shares anew, so that intervals hold which images were labeled: five seeds are as many folds
as are usual at 1, 5 and 10 % of COCO. The draws are ours, not the lists of images that were published.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ablations import rivals
from ablations.controls import STRONG_LONG
from casl.spec import Ablation, Cell, Folder, Profile, Scenes, evaluate

PERCENT = (1, 2, 5, 10, 50, 100)
SMALL = (10, 20, 50, 100)  # 1 % of a small profile's labeled images is less than one
ROWS = (rivals.NONE, STRONG_LONG, rivals.OURS, rivals.STAC, rivals.SELF, rivals.SOFT, rivals.UNBIASED)


def cells(profile: Profile) -> Iterator[Cell]:
    for percent in SMALL if profile.small else PERCENT:
        share = replace(profile, data=profile.data.labeled_share(percent, fold=profile.seed))
        labeled = share.data.split("labeled", "objects")
        assert isinstance(labeled, Scenes | Folder)
        for row, model in rivals.models(share).items():
            if row in ROWS:
                stage = evaluate(share, model, "ap_det")
                note = f"{labeled.images} labeled images"
                yield Cell(row=row, column=f"{percent} %", metric="ap_det", stage=stage, note=note)


ABLATION = Ablation(
    name="ladder",
    title="CA-SSL and its rivals, by the share of labels",
    source="not in the paper",
    cells=cells,
    rows="method",
    columns="labeled images used",
    unit="cell",
    figure="heat map",
)
