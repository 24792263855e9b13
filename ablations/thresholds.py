"""Thresholds: every method of `rivals` that reads scores, with as many thresholds tried. Not a table of the paper.

Run:     make thresholds, or casl run thresholds && casl report thresholds
Expect:  the best threshold differs between methods, since CA-SSL compares the square root of class score times
         centre-ness and others a class score; with one number for all, the comparison would be of numbers.

Everything but the threshold is as in `rivals`. The best of a row is chosen on the split that measures it, for all
methods alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ablations import rivals
from ablations.controls import as_long
from casl.spec import Ablation, Cell, Profile, Train, evaluate, finetune, joint, warmup

TRIED = (0.2, 0.35, 0.5, 0.7)


def models(profile: Profile, threshold: float) -> Mapping[str, Train]:
    """Row -> the target trained with a threshold."""
    long = as_long(profile, warmup(profile))
    strong = warmup(profile, augmentation="strong", threshold=threshold)
    rows: dict[str, Train] = {rivals.OURS: finetune(profile, strong, augmentation="strong_labeled")}
    for row, method in (
        (rivals.STAC, "stac"),
        (rivals.SELF, "self_training"),
        (rivals.SOFT, "soft_teacher"),
        (rivals.UNBIASED, "unbiased_teacher"),
    ):
        rows[row] = joint(profile, method=method, schedule=long, threshold=threshold)
    return rows


def cells(profile: Profile) -> Iterator[Cell]:
    for threshold in TRIED:
        for row, model in models(profile, threshold).items():
            stage = evaluate(profile, model, "ap_det")
            yield Cell(row=row, column=f"{threshold:g}", metric="ap_det", stage=stage)


ABLATION = Ablation(
    name="thresholds",
    title="CA-SSL and its rivals, by the threshold of scores",
    source="not in the paper",
    cells=cells,
    rows="method",
    columns="threshold",
    unit="cell",
    figure="heat map",
)
