"""Classification after pre-training on classes or on boxes: the claim of chapter 4 whose table is not quoted.

Run:     make dissertation, or casl run pre_cls --seeds 3
Expect:  class only above detection in both columns (published in words: detection features are worse than ImageNet's,
         by about 8 % on Caltech-256), the less so when the backbone is tuned too.

Crops of the target's labeled objects are learned from, those of val's objects are named: by a logistic regression on
features that stay as they are, and by a network that is tuned as a whole. MoCo v2 learned the source images without any
label, for as many iterations as the others.
"""

from __future__ import annotations

from collections.abc import Iterator

from ablations.pretraining import CLASSES, NONE, SOURCE, bare, detection, note, source, starts
from casl.spec import Ablation, Cell, Contrast, Probe, Profile, Start, Train, contrast, finetune, probe

COLUMNS = ("linear probe", "fine-tuned")
MOCO = "MoCo v2"


def cells(profile: Profile) -> Iterator[Cell]:
    rows = starts(profile) | {MOCO: moco(profile)}
    for row, start in rows.items():
        if isinstance(start, str):
            yield from (Cell(row, column, "linear_probe", None, None, "", start) for column in COLUMNS)
            continue
        told = f"{start.stands_for}, from random weights" if isinstance(start, Contrast) else note(profile, row, start)
        for column, tuned in zip(COLUMNS, (0, profile.iters_1x), strict=True):
            stage = probed(profile, row, start, tuned)
            length = f"; tuned for {tuned:,} iterations" if tuned else ""
            yield Cell(row=row, column=column, metric="linear_probe", stage=stage, note=told + length)


def probed(profile: Profile, row: str, start: Train | Start | None, tuned: int) -> Probe:
    """The probe of a row."""
    own = finetune(bare(profile) if row == NONE else profile, None)
    made = start or own.pretrained
    return probe(profile, made, weights="random" if made else own.model.weights, tuned=tuned)


def moco(profile: Profile) -> Contrast | str:
    """A contrastive start on the source images; or why there is none."""
    seen = source(profile)
    if isinstance(seen, str):
        return seen
    if profile.contrast is None:
        return f"not measured: profile {profile.name!r} does not say how to pre-train by contrast"
    return contrast(profile, data=seen, iters=detection(profile, seen).iters)


ABLATION = Ablation(
    name="pre_cls",
    title="Classification of crops after pre-training on classes or on boxes",
    source=f"{SOURCE}, in words",
    cells=cells,
    rows="pre-training",
    columns="classifier",
    unit="row",
    figure="bars",
    baseline=CLASSES,
)
