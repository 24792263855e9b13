"""Strength: what a warmup gains, by how good its labels are. Not a table of the paper.

Run:     casl run strength --seeds 3 && casl report strength --seeds 3
Expect:  labels of a labeler no stronger than its target gain little, the true ones (classes dropped) show the most that
         labels can gain. Where those gain nothing, no labeler will.

Labelers are those of Table 5, weakest first; profiles say how large the images are that each sees. All learn objects,
whose truth is known. Targets are FCOS, warmed up and finetuned for as many iterations in every row.
"""

from __future__ import annotations

from collections.abc import Iterator

from ablations import table5
from ablations.controls import LONG, as_long, length_of
from casl.spec import (
    Ablation,
    Cell,
    Profile,
    Train,
    Warmup,
    evaluate,
    finetune,
    labeler,
    pseudo_label,
    warmup,
    warmup_on_truth,
)

NONE, TRUTH = "no warmup", "truth, classes dropped"
LABELS, FINETUNED = "labels AP^det-a", "finetuned AP^det"
MODELS = ("warmup AP^det-a", "ap_det_a"), (FINETUNED, "ap_det"), ("finetuned AP^det-a", "ap_det_a")


def cells(profile: Profile) -> Iterator[Cell]:
    truth = _oracle(profile) if profile.data.knows("objects") else None
    first: Warmup | None = None
    yield from _of_row(profile, NONE, None, finetune(profile, None), profile.start)
    targets: list[tuple[str, Warmup, str]] = []
    for column, (backbone, *_) in table5.PAPER.items():
        labels = labeler(profile, backbone=backbone, labels="objects")
        warm = warmup(profile, pseudo=pseudo_label(profile, labels), detector="fcos")
        first = first or warm
        note = table5.stand_in(profile, labels, column)
        targets.append((column, warm, note))
        if truth is not None:
            stage = evaluate(profile, labels, "ap_det_a", split="unlabeled")
            yield Cell(row=column, column=LABELS, metric="ap_det_a", stage=stage, note=note)
    assert first is not None
    long = finetune(profile, None, schedule=as_long(profile, first))
    yield from _of_row(profile, LONG, None, long, length_of(profile, first))
    for row, warm, note in [*targets, *([(TRUTH, truth, "")] if truth is not None else [])]:
        yield from _of_row(profile, row, warm, finetune(profile, warm), note)


def _oracle(profile: Profile) -> Warmup:
    return warmup_on_truth(profile, split="unlabeled", detector="fcos")


def _of_row(profile: Profile, row: str, warm: Train | None, tuned: Train, note: str) -> Iterator[Cell]:
    for (column, metric), model in zip(MODELS, (warm, tuned, tuned), strict=True):
        if model is not None:
            yield Cell(row=row, column=column, metric=metric, stage=evaluate(profile, model, metric), note=note)


ABLATION = Ablation(
    name="strength",
    title="What a warmup gains, by the strength of its labeler",
    source="not in the paper",
    cells=cells,
    rows="labels of the warmup",
    columns="metric",
    unit="row",
    figure="curves",
    baseline=NONE,
    apart=(TRUTH,),
)
