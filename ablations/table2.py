"""Table 2: what to warm up on (val2017; metrics of the warmed-up model, then of models finetuned from it).

Run:     make table2
Expect:  paper profile, pseudo labels beat ground truth, agnostic beats specific, entities lift PQ to 43.7.

Two readings the paper leaves open: its Objects values repeat those of Table 1, but carry mask AP, so they are taken
here as CondInst Swin-T warmups; AP^seg and PQ are CondInst and PanopticFPN, 3x, weak augmentation. The last row is no
row of the paper: ablations/controls.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from ablations.controls import LONG, as_long, length_of
from casl.spec import (
    Ablation,
    Cell,
    Profile,
    Train,
    evaluate,
    finetune,
    labeler,
    pseudo_label,
    quoted,
    warmup,
    warmup_on_truth,
)

# column -> (metric, row -> published value)
WARMED_UP = {
    "warmup AP^det-a": ("ap_det_a", {"Objects (G, A)": 41.9, "Objects (P, A)": 40.0}),
    "warmup AP^seg-a": ("ap_seg_a", {"Objects (G, A)": 35.3, "Objects (P, A)": 33.4}),
    "warmup AP^det": ("ap_det", {"Objects (P, S)": 35.9}),
    "warmup AP^e": ("ap_e", {"Entities (P, A)": 40.2}),
}
FINETUNED = {
    "AP^det": (
        "ap_det",
        "fcos",
        {
            "ImageNet": 46.8,
            "Objects (G, A)": 46.9,
            "Objects (P, S)": 47.1,
            "Objects (P, A)": 48.1,
            "Entities (P, A)": 48.2,
        },
    ),
    "AP^seg": ("ap_seg", "condinst", {"ImageNet": 43.0, "Objects (P, A)": 45.0, "Entities (P, A)": 45.2}),
    "PQ": ("pq", "panoptic_fpn", {"ImageNet": 41.4, "Objects (P, A)": 42.5, "Entities (P, A)": 43.7}),
}
ROWS = ("ImageNet", "Objects (G, A)", "Objects (P, S)", "Objects (P, A)", "Entities (P, A)")


def warmups(profile: Profile) -> dict[str, Train | None]:
    """Row -> the model that finetuning starts from; None where there is no warmup."""

    def on_objects(agnostic: bool) -> Train:
        labels = pseudo_label(profile, labeler(profile, labels="objects", agnostic=agnostic))
        return warmup(profile, pseudo=labels)

    models = (None, warmup_on_truth(profile), on_objects(agnostic=False), on_objects(agnostic=True), warmup(profile))
    return dict(zip(ROWS, models, strict=True))


def cells(profile: Profile) -> Iterator[Cell]:
    for row, model in warmups(profile).items():
        for column, (metric, published) in WARMED_UP.items():
            if row in published:
                yield _cell(profile, row, column, metric, model, published[row])
        for column, (metric, detector, published) in FINETUNED.items():
            if row in published:
                yield _cell(profile, row, column, metric, (model, detector), published[row])
    yield from _as_long(profile, warmup(profile))


def _as_long(profile: Profile, warm: Train) -> Iterator[Cell]:
    """The frameworks without warmup, trained for as long as warmup and finetune together."""
    for column, (metric, detector, _) in FINETUNED.items():
        if profile.lacks(metric):
            continue
        model = finetune(profile, None, detector=detector, schedule=as_long(profile, warm))
        note = "; ".join(filter(None, (profile.start, length_of(profile, warm))))
        yield Cell(row=LONG, column=column, metric=metric, stage=evaluate(profile, model, metric), note=note)


def _cell(
    profile: Profile, row: str, column: str, metric: str, model: Train | tuple[Train | None, str] | None, paper: float
) -> Cell:
    if missing := profile.lacks(metric):
        return quoted(row, column, metric, paper, note=missing)
    trained = finetune(profile, model[0], detector=model[1]) if isinstance(model, tuple) else model
    assert trained is not None
    note = profile.start if row == "ImageNet" else ""
    stage = evaluate(profile, trained, metric)
    return Cell(row=row, column=column, metric=metric, stage=stage, paper=paper, note=note)


ABLATION = Ablation(
    name="table2",
    title="Effect of warmup training data choice",
    source="CA-SSL (ECCV 2022), Table 2",
    cells=cells,
    rows="warmup training data",
    columns="metric",
    unit="row",
    figure="bars",
    baseline="ImageNet",
)
