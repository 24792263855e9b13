"""Reasons: where small profiles do not show what the paper claims, one suspect is taken away. Not a table of the paper.

Run:     casl run reasons --seeds 3 && casl report reasons --seeds 3
Expect:  the first of each pair as in a table of the paper, the second without the suspect: if the difference turns the
         paper's way, the suspect was the reason.

Suspects, each named before it was tried: a warmup with classes hands its finished classifier to the finetune, one
without cannot; small profiles have more unlabeled than labeled images already in the tiny split; labels of entities are
worse than those of objects; strong augmentation wants longer training; what stands for ImageNet has seen labels, so a
baseline starts with more than a method without labels is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from casl.spec import (
    Ablation,
    Cell,
    Folder,
    Pretrain,
    Profile,
    PseudoLabel,
    Scenes,
    Train,
    contrast,
    evaluate,
    finetune,
    labeler,
    pseudo_label,
    warmup,
    warmup_on_truth,
)

THIS, OTHER = "this", "against"


def cells(profile: Profile) -> Iterator[Cell]:
    yield from _classifier(profile)
    yield from _number_of_images(profile, agnostic=True)
    yield from _number_of_images(profile, agnostic=False)
    if profile.data.knows("objects") and profile.data.knows("entities"):
        yield from _quality_of_labels(profile)
    yield from _length(profile)
    yield from _start(profile)


def _classifier(profile: Profile) -> Iterator[Cell]:
    """Table 2, (P, A) against (P, S), whose classifier is finished for the classes to come."""
    without, with_classes = (warmup(profile, pseudo=_labels(profile, agnostic=a)) for a in (True, False))
    this = finetune(profile, without)
    yield from _pair(profile, "Table 2: warmup without classes, with classes", this, finetune(profile, with_classes))
    new = finetune(profile, with_classes, parts=("backbone", "neck", "head"))
    yield from _pair(profile, "the same, every finetune with a new classifier", this, new)


def _number_of_images(profile: Profile, agnostic: bool) -> Iterator[Cell]:
    """Table 1, pseudo labels against ground truth, whose images are fewer in small profiles."""
    metric, kind = ("ap_det_a", "without classes") if agnostic else ("ap_det", "with classes")
    labeled = profile.data.split("labeled", "objects")
    assert isinstance(labeled, Scenes | Folder)
    truth = warmup_on_truth(profile, schedule=3, agnostic=agnostic, detector="fcos", backbone="resnet50")
    if profile.images_in("tiny") < labeled.count:  # the suspect is not there
        return
    for row, first in (("Table 1: {} pseudo labels, truth", 0), ("the same {}, as many images", labeled.count)):
        pseudo = _labels(profile, agnostic=agnostic, first=first)
        trained = warmup(profile, schedule=3, pseudo=pseudo, detector="fcos", backbone="resnet50")
        yield from _pair(profile, row.format(kind), trained, truth, metric=metric)


def _quality_of_labels(profile: Profile) -> Iterator[Cell]:
    """Table 2, entities against objects, whose labels are better."""
    entities, objects = warmup(profile), warmup(profile, pseudo=_labels(profile, agnostic=True))
    true_entities, true_objects = (
        warmup_on_truth(profile, split="unlabeled", labels=labels) for labels in ("entities", "objects")
    )
    for what, metric, framework in (("detection", "ap_det", "fcos"), ("panoptic", "pq", "panoptic_fpn")):
        for row, this, other in (
            (f"Table 2: {what} after warmup on entities, objects", entities, objects),
            (f"the same {what} on hidden truth", true_entities, true_objects),
        ):
            models = (finetune(profile, warm, detector=framework) for warm in (this, other))
            yield from _pair(profile, row, *models, metric=metric)


def _length(profile: Profile) -> Iterator[Cell]:
    """Table 6, finetuning with strong against weak augmentation."""
    for row, schedule in (("Table 6: finetuning with strong, weak augmentation", 3), ("the same for 5x", 5)):
        strong, weak = (
            finetune(profile, warmup(profile), schedule=schedule, augmentation=a) for a in ("strong_labeled", "weak")
        )
        yield from _pair(profile, row, strong, weak)


def _start(profile: Profile) -> Iterator[Cell]:
    """A backbone that learned from unlabeled images alone against the profile's own start; without a warmup, so that
    the start alone differs. Beside a classifier of crops also for as many iterations on the images that it saw."""
    own = finetune(profile, None)
    starts = {"Start: DenseCL on the unlabeled images, the profile's own": contrast(profile, dense=0.5)}
    if isinstance(seen := profile.pretrain, Pretrain):
        like = contrast(profile, dense=0.5, data=seen.data, iters=seen.iters)
        starts["the same, equal iterations on equal images"] = like
    for row, start in starts.items():
        for cell in _pair(profile, row, finetune(profile, None, start=start), own):
            yield replace(cell, note=start.stands_for if cell.column == THIS else profile.start)


def _labels(profile: Profile, *, agnostic: bool, first: int = 0) -> PseudoLabel:
    return pseudo_label(profile, labeler(profile, labels="objects", agnostic=agnostic), first=first)


def _pair(profile: Profile, row: str, this: Train, other: Train, *, metric: str = "ap_det") -> Iterator[Cell]:
    for column, model in ((THIS, this), (OTHER, other)):
        yield Cell(row=row, column=column, metric=metric, stage=evaluate(profile, model, metric))


ABLATION = Ablation(
    name="reasons",
    title="Why a small profile differs from the paper: one suspect taken away at a time",
    source="not in the paper",
    cells=cells,
    rows="comparison",
    columns="side",
    unit="row",
    figure="bars",
    baseline=OTHER,
)
