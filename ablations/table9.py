"""Table 9: which parts of the warmup to start from (AP^det on val2017; large split, strong augmentation).

Run:     make table9
Expect:  paper profile, 46.8 without, 50.6 with the backbone, 51.5 with all.

The paper's last two rows differ in the classifier only: random, and started from the warmup's one channel. The paper
copies that channel to every class and finds both equal. Where a profile starts classifiers at random, because copies
cost it the features, "all" starts from the channel scaled to p/C (`scaled` in casl/models/parts.py).

The paper's first row has weak augmentation, the others strong. The last two rows are controls of ours:
ablations/controls.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from ablations.controls import FINETUNED, STRONG, STRONG_LONG, as_long, length_of
from casl.spec import PARTS, Ablation, Cell, Profile, evaluate, finetune, labeler, pseudo_label, warmup

# row -> (parts, AP, AP50, AP75)
PAPER = {
    "none": (0, 46.8, 66.2, 50.8),
    "backbone": (1, 50.6, 69.2, 55.2),
    "backbone + neck": (2, 50.8, 69.4, 55.5),
    "backbone + neck + head": (3, 51.5, 69.5, 55.3),
    "all": (4, 51.5, 69.6, 55.4),
}
SCALED = "the warmup's one channel is scaled so that each of C classes starts near p/C; the paper copies it whole"
FIGURES = {"AP^det": "AP", "AP^det_50": "AP50", "AP^det_75": "AP75"}


def cells(profile: Profile) -> Iterator[Cell]:
    labels = pseudo_label(profile, labeler(profile), scale="large")
    warm = warmup(profile, pseudo=labels, augmentation="strong")
    for row, (count, *published) in PAPER.items():
        parts, shared = PARTS[:count], "scaled" if row == "all" and profile.classifier == "random" else None
        model = (
            finetune(profile, warm, parts=parts, augmentation="strong_labeled", classifier=shared)
            if count
            else finetune(profile, None)
        )
        stage = evaluate(profile, model, "ap_det")
        for (column, figure), paper in zip(FIGURES.items(), published, strict=True):
            note = profile.start if not count else SCALED if row == "all" and model.classifier == "scaled" else ""
            yield Cell(row=row, column=column, metric="ap_det", stage=stage, paper=paper, figure=figure, note=note)
    for row, schedule, note in (
        (STRONG, FINETUNED, ""),
        (STRONG_LONG, as_long(profile, warm), length_of(profile, warm)),
    ):
        stage = evaluate(profile, finetune(profile, None, schedule=schedule, augmentation="strong_labeled"), "ap_det")
        said = "; ".join(filter(None, (profile.start, note)))
        for column, figure in FIGURES.items():
            yield Cell(row=row, column=column, metric="ap_det", stage=stage, figure=figure, note=said)


ABLATION = Ablation(
    name="table9",
    title="Initialisation strategy",
    source="CA-SSL (ECCV 2022), Table 9",
    cells=cells,
    rows="parts of the warmup",
    columns="figure",
    unit="row",
    figure="bars",
    baseline="none",
)
