"""Forgetting: does a warmup without classes unlearn what the start knew of them? Not a table of the paper.

Run:     make forgetting, or casl run forgetting --seeds 3 && casl report forgetting --seeds 3 --errors
Expect:  a backbone that moves less in a warmup without classes ends higher: it keeps what pre-training on classes
         taught it, and the finetune is too short to learn that again.

Where classes are few and the finetune is short, targets warmed up without classes find objects well and call them by
wrong names (`casl report table2 --errors`). Rows differ from those of Table 2 in how fast the backbone learns during
the warmup, and in nothing else; with classes the same is done, to tell forgetting from a rate that suits any warmup.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ablations.confusable import pseudo_labels
from ablations.controls import LONG, as_long, length_of
from casl.spec import Ablation, Cell, Profile, Train, Warmup, evaluate, finetune, warmup

NONE, WITHOUT, WITH = "no warmup", "labels without classes", "labels with classes"
SLOWER, SLOW, FIXED = "backbone at a third of the rate", "backbone at a tenth of the rate", "backbone fixed"
FACTORS = {SLOWER: 1 / 3, SLOW: 1 / 10}
ALL_STAGES = 5


def row_of(labels: str, backbone: str) -> str:
    """The name of a row whose backbone learns in another way than usual."""
    return f"{labels}, {backbone}"


def targets(profile: Profile) -> Mapping[str, Train]:
    """Row -> the finetuned target."""
    warm = dict(
        zip(
            (WITHOUT, WITH), (warmup(profile, pseudo=labels) for labels in pseudo_labels(profile).values()), strict=True
        )
    )
    models: dict[str, Train] = {
        NONE: finetune(profile, None),
        LONG: finetune(profile, None, schedule=as_long(profile, warm[WITHOUT])),
    }
    for labels, usual in warm.items():
        models[labels] = finetune(profile, usual)
        for backbone in (SLOWER, SLOW, FIXED):
            models[row_of(labels, backbone)] = finetune(profile, changed(usual, backbone))
    return models


def changed(warm: Warmup, backbone: str) -> Warmup:
    """A warmup whose backbone learns at a part of its rate, or not at all."""
    if backbone == FIXED:
        return replace(warm, model=replace(warm.model, frozen_stages=ALL_STAGES))
    return replace(warm, recipe=replace(warm.recipe, body_lr=warm.recipe.body_lr * FACTORS[backbone]))


def cells(profile: Profile) -> Iterator[Cell]:
    for row, model in targets(profile).items():
        note = {NONE: profile.start, LONG: length_of(profile, warmup(profile))}.get(row, "")
        for metric, column in (("ap_det", "AP^det"), ("ap_det_a", "AP^det-a")):
            yield Cell(row, column, metric, evaluate(profile, model, metric), note=note)


ABLATION = Ablation(
    name="forgetting",
    title="A backbone that learns slowly in the warmup",
    source="not in the paper",
    cells=cells,
    rows="labels of the warmup",
    columns="metric",
    unit="row",
    figure="bars",
    baseline=NONE,
)
