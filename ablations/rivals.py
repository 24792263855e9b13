"""Rivals: CA-SSL and the methods of its Table 8 in one harness, as long on the same images. Not a table of the paper.

Run:     make rivals, or casl run rivals --seeds 3 && casl report rivals --seeds 3
Expect:  nothing was published: the rows of Table 8 were trained by their authors, for lengths that differ tenfold.

Every target is the same FCOS on the same labeled and unlabeled images. Methods train it for as many iterations as a
warmup of 5x and a finetune of 3x together, and joint methods see 6 labeled and 10 unlabeled images in 16, which
gives as many passes of both kinds as those two stages have. One row has a warmup of 3x and a finetune of 5x, since in
a small profile strong augmentation has not begun to pay after 3x of labeled images. In small profiles labeled images of
joint methods are only flipped; STRONGLY has these methods with the labeled images of CA-SSL's finetune. Fixed teachers
are labelers of one strength. What the other stages cost stands in the note of each cell, beside what the target costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ablations.confusable import pseudo_labels
from ablations.controls import FINETUNED, LONG, STRONG, STRONG_LONG, as_long, length_of
from casl.spec import (
    Ablation,
    Cell,
    Contrast,
    Profile,
    Start,
    Train,
    ancestors,
    contrast,
    evaluate,
    finetune,
    joint,
    warmup,
    warmup_on_truth,
)

NONE, OURS, OURS_WEAK = "no warmup", "CA-SSL", "CA-SSL, weak augmentation"
OURS_LATE = "CA-SSL, 3x of warmup and 5x of finetune"  # the same length shared out the other way
OBJECTS, NAMED = "CA-SSL, weak warmup on objects", "weak warmup on objects with classes"
STAC, SELF, NORMALISED = "STAC", "self-training", "self-training, losses normalised"
CERTAIN = "certainty-aware, thresholds and weights by class"
SOFT, UNBIASED = "Soft Teacher", "Unbiased Teacher"
STRONGLY = "{}, strong labeled images"
MOCO, DENSE = "MoCo v2", "DenseCL"
BOTH, TRUTH = "CA-SSL, then Soft Teacher", "truth of the unlabeled images"
STUDENT, TEACHER = "AP^det", "AP^det of the teacher"
DENSE_WEIGHT = 0.5  # of DenseCL's loss of cells, as published; 0 is MoCo v2


def models(profile: Profile) -> Mapping[str, Train]:
    """Row -> the trained target."""
    weak, strong = warmup(profile), warmup(profile, augmentation="strong")
    long = as_long(profile, weak)
    rows: dict[str, Train] = {
        NONE: finetune(profile, None),
        LONG: finetune(profile, None, schedule=long),
        STRONG: finetune(profile, None, augmentation="strong_labeled"),
        STRONG_LONG: finetune(profile, None, schedule=long, augmentation="strong_labeled"),
        OURS_WEAK: finetune(profile, weak),
        OURS: finetune(profile, strong, augmentation="strong_labeled"),
        OURS_LATE: finetune(
            profile,
            warmup(profile, augmentation="strong", schedule=FINETUNED),
            schedule=long - FINETUNED,
            augmentation="strong_labeled",
        ),
        **{
            row: finetune(profile, warmup(profile, pseudo=labels), augmentation="strong_labeled")
            for row, labels in zip((OBJECTS, NAMED), pseudo_labels(profile).values(), strict=True)
        },
        STAC: joint(profile, method="stac", schedule=long),
        SELF: joint(profile, method="self_training", schedule=long),
        NORMALISED: joint(profile, method="self_training", schedule=long, normalised=True),
        CERTAIN: joint(profile, method="certainty", schedule=long),
        SOFT: joint(profile, method="soft_teacher", schedule=long),
        UNBIASED: joint(profile, method="unbiased_teacher", schedule=long),
        BOTH: joint(profile, method="soft_teacher", init=strong, schedule=FINETUNED),
    }
    for row, method in ((STAC, "stac"), (SELF, "self_training"), (SOFT, "soft_teacher")):
        model = joint(profile, method=method, schedule=long, labeled_view="strong_labeled")
        if model != rows[row]:  # where it is not published so anyway
            rows[STRONGLY.format(row)] = model
    if profile.contrast is not None:
        for row, dense in ((MOCO, 0.0), (DENSE, DENSE_WEIGHT)):
            rows[row] = finetune(profile, None, start=contrast(profile, dense=dense, iters=weak.iters))
    if profile.data.knows("objects"):
        truth = warmup_on_truth(profile, split="unlabeled", agnostic=False, detector="fcos")
        rows[TRUTH] = finetune(profile, truth)
    return rows


def cells(profile: Profile) -> Iterator[Cell]:
    first = warmup(profile)
    for row, model in models(profile).items():
        told = [profile.start] if row == NONE else [length_of(profile, first)] if row == LONG else []
        note = "; ".join(filter(None, (*told, spent(model))))
        yield Cell(row=row, column=STUDENT, metric="ap_det", stage=evaluate(profile, model, "ap_det"), note=note)
        if model.leaves_teacher:
            stage = evaluate(profile, model, "ap_det", of="teacher")
            yield Cell(row=row, column=TEACHER, metric="ap_det", stage=stage, note="the average of the student")


def spent(model: Train) -> str:
    """Iterations of a target and of all stages that it needs, for the note of its cell."""
    target, stage = 0, model
    while True:
        target += stage.iters
        if stage.init is None:
            break
        stage = stage.init
    needed = [s for s in ancestors(model) if isinstance(s, Train | Contrast)]
    whole = sum(s.iters for s in needed)
    starts = [s for s in ancestors(model) if isinstance(s, Start) and not isinstance(s, Contrast)]
    text = f"target {target:,} iterations, with all stages that it needs {whole:,}"
    return text + (" and those of the ImageNet stand-in" if starts else "")


ABLATION = Ablation(
    name="rivals",
    title="CA-SSL and its rivals in one harness, at equal length",
    source="not in the paper",
    cells=cells,
    rows="method",
    columns="weights",
    unit="row",
    figure="bars",
    baseline=LONG,
)
