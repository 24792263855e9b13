"""Table 1: how far pseudo labels are from ground truth, with and without classes (FCOS R-50, 3x, COCO val2017).

Run:     make table1
Expect:  paper profile, the gap is 5.1 AP with classes and 1.9 without.

The paper's labelers here are not named; ours are those of Table 2, Swin-L CondInst on objects.
"""

from __future__ import annotations

from collections.abc import Iterator

from casl.spec import Ablation, Cell, Profile, evaluate, labeler, pseudo_label, warmup, warmup_on_truth

PAPER = {"ground truth": (41.0, 41.9), "pseudo labels": (35.9, 40.0)}
COLUMNS = (("class-specific", "ap_det", False), ("class-agnostic", "ap_det_a", True))


def cells(profile: Profile) -> Iterator[Cell]:
    for row, published in PAPER.items():
        for (column, metric, agnostic), paper in zip(COLUMNS, published, strict=True):
            if row == "ground truth":
                model = warmup_on_truth(profile, schedule=3, agnostic=agnostic, detector="fcos", backbone="resnet50")
            else:
                labels = pseudo_label(profile, labeler(profile, labels="objects", agnostic=agnostic))
                model = warmup(profile, schedule=3, pseudo=labels, detector="fcos", backbone="resnet50")
            yield Cell(row=row, column=column, metric=metric, stage=evaluate(profile, model, metric), paper=paper)


ABLATION = Ablation(
    name="table1",
    title="Training on ground truth and on pseudo labels, with and without classes",
    source="CA-SSL (ECCV 2022), Table 1",
    cells=cells,
    rows="labels",
    columns="task",
)
