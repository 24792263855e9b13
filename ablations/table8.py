"""Table 8: beside other methods (AP^det on val2017, before and after using unlabeled images).

Run:     make table8
Expect:  paper profile, 46.8 to 50.8 with 1.74 million images and to 51.5 with 3.66 million, strong augmentation.

Rows that casl can train are measured with the target of this table, Swin-T FCOS, beside what their authors published
for detectors of their own; `rivals` compares them at equal length and on the same images. Rows that it cannot train
quote their authors, each with the reason. The paper prints "Swin-L-HTC++ 46.8 to 51.5" in the 3.66 M row; the values
are those of Swin-T FCOS (its text, and Tables 9 and 10), so the row is read as that. Its baseline is that of weak
augmentation; two rows are controls of ours with strong augmentation: ablations/controls.py. Of HTC++'s baseline the
paper does not say how it was finetuned: with strong augmentation, like the row's other arm. `htc_8` has its parts.
"""

from __future__ import annotations

from collections.abc import Iterator

from ablations import htc
from ablations.controls import FINETUNED, STRONG, STRONG_LONG, as_long, length_of
from ablations.rivals import DENSE_WEIGHT, spent
from casl.spec import (
    Ablation,
    Cell,
    Profile,
    Train,
    contrast,
    evaluate,
    finetune,
    joint,
    labeler,
    pseudo_label,
    quoted,
    warmup,
)

COLUMNS = ("train2017 only", "with unlabeled")
# row -> (published figures, why it is not measured)
QUOTED = {
    "DetCo, 1.28M, R-50 Mask R-CNN": (
        (38.9, 40.1),
        "published by its authors; its losses on levels and patches tell nothing in a small profile",
    ),
    "DetCon, 1.28M, R-50-FPN": (
        (41.6, 42.7),
        "published by its authors; its loss over masks tells nothing in a small profile",
    ),
    "PreDet, 50.00M, R-50 Mask R-CNN": (
        (44.9, 47.1),
        "published by its authors; 50 million images, and no public code",
    ),
    "Proposal learning, 0.12M, R-50-FPN": ((37.4, 38.4), "published by its authors; no public code was found"),
    "Soft Teacher, 3.66M, Swin-L HTC++": (
        (58.2, 59.9),
        "published by its authors; a teacher of a cascade has no rules for its boxes, so casl trains no HTC jointly",
    ),
}
CONTRASTED = {"MoCo-v2, 1.28M, R-50-FPN": (0.0, (39.7, 39.8)), "DenseCL, 1.28M, R-50-FPN": (DENSE_WEIGHT, (39.7, 40.3))}
# row -> (method, scale of unlabeled images, published figures); which images self-training's 2.90M are is not known
JOINT = {
    "STAC, 0.12M, R-50-FPN": ("stac", "tiny", (39.5, 39.2)),
    "Self-training, 2.90M, R-50-FPN (SimCLR)": ("self_training", "large", (41.1, 41.9)),
    "Soft Teacher, 1.74M, Swin-T FCOS": ("soft_teacher", "base", (46.8, 49.3)),
}
OURS = {
    "CA-SSL, 1.74M, Swin-T FCOS": ("base", 46.8, 50.8),
    "CA-SSL, 3.66M, Swin-T FCOS": ("large", 46.8, 51.5),
}
HTC_BACKBONE = "swin_l"
HTC = ("CA-SSL, 3.66M, Swin-L HTC++", (58.2, 60.9))


def cells(profile: Profile) -> Iterator[Cell]:
    for row, (published, why) in QUOTED.items():
        for column, paper in zip(COLUMNS, published, strict=True):
            yield quoted(row, column, "ap_det", paper, note=why)
    yield from _others(profile)
    for row, (scale, before, after) in OURS.items():
        labels = pseudo_label(profile, labeler(profile), scale=scale)
        warm = warmup(profile, pseudo=labels, augmentation="strong")
        models = (finetune(profile, None), finetune(profile, warm, augmentation="strong_labeled"))
        notes = (profile.start, f"{profile.images_in(scale)} unlabeled images")
        for column, model, paper, note in zip(COLUMNS, models, (before, after), notes, strict=True):
            stage = evaluate(profile, model, "ap_det")
            yield Cell(row=row, column=column, metric="ap_det", stage=stage, paper=paper, note=note)
    yield from _controls(profile)
    yield from _htc(profile)


def _htc(profile: Profile) -> Iterator[Cell]:
    """HTC++: Swin-L, backbone and neck from a warmup of Swin-L, strong augmentation in both, Soft-NMS and views."""
    row, published = HTC
    if sentence := htc.lacking(profile):
        for column, paper in zip(COLUMNS, published, strict=True):
            yield quoted(row, column, "ap_det", paper, note=sentence)
        return
    labels = pseudo_label(profile, labeler(profile), scale="large")
    warm = warmup(profile, pseudo=labels, augmentation="strong", backbone=HTC_BACKBONE)
    notes = (profile.start, f"{profile.images_in('large')} unlabeled images")
    for column, init, paper, note in zip(COLUMNS, (None, warm), published, notes, strict=True):
        model = finetune(
            profile,
            init,
            detector="htc",
            labels=htc.labels_of(profile),
            augmentation="strong_labeled",
            backbone=HTC_BACKBONE,
        )
        stage = evaluate(profile, model, "ap_det", applied=htc.PLUS)
        said = "; ".join(filter(None, (note, htc.branch(profile))))
        yield Cell(row=row, column=column, metric="ap_det", stage=stage, paper=paper, note=said)


def _others(profile: Profile) -> Iterator[Cell]:
    """Other methods, trained here: contrastive starts as long as the profile says, joint trainings as many epochs as
    CA-SSL on as many unlabeled images. Those are epochs of labeled images, so in profile paper fewer iterations."""
    for row, (dense, published) in CONTRASTED.items():
        if profile.contrast is None:
            for column, paper in zip(COLUMNS, published, strict=True):
                yield quoted(
                    row, column, "ap_det", paper, note="this profile does not say how to pre-train by contrast"
                )
            continue
        scale = "base"  # of the splits nearest to ImageNet's 1.28 million images
        start = contrast(profile, dense=dense, scale=scale)
        yield from _pair(profile, row, finetune(profile, None, start=start), published, scale)
    for row, (method, scale, published) in JOINT.items():
        long = as_long(profile, warmup(profile, pseudo=pseudo_label(profile, labeler(profile), scale=scale)))
        yield from _pair(profile, row, joint(profile, method=method, schedule=long, scale=scale), published, scale)


def _pair(profile: Profile, row: str, model: Train, published: tuple[float, float], scale: str) -> Iterator[Cell]:
    whose = "published for another detector, see the row"
    notes = (profile.start, f"{profile.images_in(scale)} unlabeled images; {spent(model)}")
    for column, trained, paper, note in zip(COLUMNS, (finetune(profile, None), model), published, notes, strict=True):
        said = "; ".join(filter(None, (note, "" if row.endswith("Swin-T FCOS") else whose)))
        stage = evaluate(profile, trained, "ap_det")
        yield Cell(row=row, column=column, metric="ap_det", stage=stage, paper=paper, note=said)


def _controls(profile: Profile) -> Iterator[Cell]:
    """The same detector on labeled images alone with strong augmentation, for 3x and for as long as CA-SSL trains."""
    warm = warmup(profile, pseudo=pseudo_label(profile, labeler(profile), scale="large"), augmentation="strong")
    for row, schedule, note in (
        (STRONG, FINETUNED, ""),
        (STRONG_LONG, as_long(profile, warm), length_of(profile, warm)),
    ):
        model = finetune(profile, None, schedule=schedule, augmentation="strong_labeled")
        stage = evaluate(profile, model, "ap_det")
        said = "; ".join(filter(None, (profile.start, note)))
        yield Cell(row=row, column=COLUMNS[0], metric="ap_det", stage=stage, note=said)


ABLATION = Ablation(
    name="table8",
    title="Comparison with other methods",
    source="CA-SSL (ECCV 2022), Table 8",
    cells=cells,
    rows="method",
    columns="training data",
    unit="row",
    baseline="train2017 only",
)
