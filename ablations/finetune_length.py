"""Finetune length: is the lead of labels with classes gone after a longer finetune? Not a table of the paper.

Run:     make finetune_length, or casl run finetune_length --seeds 3 && casl report finetune_length --seeds 3 --errors
Expect:  labels without classes lose less to labels with classes the longer the finetune is, since that is where a
         target warmed up without classes first meets them.

Where classes are few and the finetune is short, a warmup on labels with classes hands over names that one without
classes has to learn in 3x. Warmups are those of Table 2, of one length; finetunes have strong augmentation, which keeps
a longer one from fitting its few images. Each length has its own training without a warmup, once of the finetune's
length and once of both together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ablations.confusable import pseudo_labels
from ablations.controls import FINETUNED, LONG, as_long
from casl.spec import Ablation, Cell, Profile, Train, evaluate, finetune, warmup

NONE, WITHOUT, WITH = "no warmup", "labels without classes", "labels with classes"
LENGTHS = (3, 5, 8)


def row_of(length: int) -> str:
    """The row of finetunes of so many x."""
    return f"{length}x"


def targets(profile: Profile, length: int) -> Mapping[str, Train]:
    """Column -> the target after a finetune of so many x."""
    without, having = (warmup(profile, pseudo=labels) for labels in pseudo_labels(profile).values())
    both = as_long(profile, without) - FINETUNED + length
    begun = {NONE: (None, length), LONG: (None, both), WITHOUT: (without, length), WITH: (having, length)}
    return {
        column: finetune(profile, init, schedule=schedule, augmentation="strong_labeled")
        for column, (init, schedule) in begun.items()
    }


def cells(profile: Profile) -> Iterator[Cell]:
    for length in LENGTHS:
        for column, model in targets(profile, length).items():
            notes = {NONE: profile.start, LONG: f"{model.iters:,} iterations"}
            stage = evaluate(profile, model, "ap_det")
            yield Cell(row_of(length), column, "ap_det", stage, note=notes.get(column, ""))


ABLATION = Ablation(
    name="finetune_length",
    title="A longer finetune, after labels with classes and without",
    source="not in the paper",
    cells=cells,
    rows="length of the finetune",
    columns="labels of the warmup",
    figure="curves",
    baseline=NONE,
)
