"""Table 7: more unlabeled images (AP^e of the warmup, AP^det of the finetuned model).

Run:     make table7
Expect:  paper profile, from 40.2 / 48.2 on 123 thousand images to 42.0 / 50.6 on 3.66 million.
"""

from __future__ import annotations

from collections.abc import Iterator

from casl.spec import Ablation, Cell, Profile, evaluate, finetune, labeler, pseudo_label, warmup

PAPER = {"Tiny": (40.2, 48.2), "Small": (40.7, 48.8), "Base": (41.4, 49.7), "Large": (42.0, 50.6)}


def cells(profile: Profile) -> Iterator[Cell]:
    for row, (ap_e, ap_det) in PAPER.items():
        labels = pseudo_label(profile, labeler(profile), scale=row.lower())
        warm = warmup(profile, pseudo=labels)
        fine = finetune(profile, warm)
        note = f"{profile.images_in(row.lower())} unlabeled images"
        for column, metric, model, paper in (
            ("warmup AP^e", "ap_e", warm, ap_e),
            ("finetuned AP^det", "ap_det", fine, ap_det),
        ):
            stage = evaluate(profile, model, metric)
            yield Cell(row=row, column=column, metric=metric, stage=stage, paper=paper, note=note)


ABLATION = Ablation(
    name="table7",
    title="Scale of the unlabeled data",
    source="CA-SSL (ECCV 2022), Table 7",
    cells=cells,
    rows="unlabeled split",
    columns="metric",
    unit="row",
    figure="curves",
)
