"""Table 10: one warmup for many frameworks and tasks (val2017; large split, strong augmentation, Swin-T).

Run:     make table10
Expect:  paper profile, gains from 1.0 (keypoints) to 5.1 (RetinaNet).

E: started from the entire warmup, P: from its backbone and neck. The paper's FCOS baseline is that of Table 2 (weak
augmentation); of the other baselines it does not say, they are finetuned with strong augmentation like ours. The last
column is a control of ours, with strong augmentation in every row: ablations/controls.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from ablations.controls import LONG, as_long, length_of
from casl.spec import Ablation, Cell, Profile, Warmup, evaluate, finetune, labeler, pseudo_label, quoted, warmup

# row -> (framework, labels or None for its own, metric, ImageNet, ours)
PAPER = {
    "FCOS (E)": ("fcos", None, "ap_det", 46.8, 51.5),
    "RetinaNet (P)": ("retinanet", None, "ap_det", 42.8, 47.9),
    "FPN (P)": ("faster_rcnn", None, "ap_det", 44.0, 46.5),
    "CondInst (E)": ("condinst", None, "ap_seg", 41.9, 44.9),
    "Mask R-CNN (P)": ("mask_rcnn", None, "ap_seg", 42.8, 45.5),
    "CondInst entity (E)": ("condinst", "entities", "ap_e_mask", 35.1, 38.2),
    "Mask R-CNN keypoint (P)": ("keypoint_rcnn", None, "ap_point", 66.8, 67.8),
    "PanopticFPN (P)": ("panoptic_fpn", None, "pq", 39.5, 41.5),
}


def cells(profile: Profile) -> Iterator[Cell]:
    labels = pseudo_label(profile, labeler(profile), scale="large")
    warm = warmup(profile, pseudo=labels, augmentation="strong")
    for row, (detector, kind, metric, imagenet, ours) in PAPER.items():
        for column, init, paper in (("ImageNet", None, imagenet), ("ours", warm, ours)):
            if missing := profile.lacks(metric):
                yield quoted(row, column, metric, paper, note=missing)
                continue
            weak = detector == "fcos" and init is None
            model = finetune(
                profile,
                init,
                detector=detector,
                labels=kind,
                augmentation="weak" if weak else "strong_labeled",
            )
            yield Cell(
                row=row,
                column=column,
                metric=metric,
                stage=evaluate(profile, model, metric),
                paper=paper,
                note="" if init else profile.start,
            )
        yield from _as_long(profile, warm, row)


def _as_long(profile: Profile, warm: Warmup, row: str) -> Iterator[Cell]:
    """A framework without warmup, trained for as long as warmup and finetune together."""
    detector, kind, metric, *_ = PAPER[row]
    if profile.lacks(metric):
        return
    schedule = as_long(profile, warm)
    model = finetune(profile, None, detector=detector, labels=kind, augmentation="strong_labeled", schedule=schedule)
    note = "; ".join(filter(None, (profile.start, length_of(profile, warm))))
    yield Cell(row=row, column=LONG, metric=metric, stage=evaluate(profile, model, metric), note=note)


ABLATION = Ablation(
    name="table10",
    title="One warmup for many frameworks",
    source="CA-SSL (ECCV 2022), Table 10",
    cells=cells,
    rows="framework",
    columns="pretrained with",
    unit="row",
    figure="bars",
    baseline="ImageNet",
)
