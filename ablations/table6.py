"""Table 6: weak and strong augmentation in both stages (AP^e of the warmup, AP^det of the finetuned model).

Run:     make table6
Expect:  paper profile, 48.2 with weak in both and 49.1 with strong in both.

Strong is the student's list of Soft Teacher; its labeled branch, without geometry and erasing, for finetuning.
"""

from __future__ import annotations

from collections.abc import Iterator

from casl.spec import Ablation, Cell, Profile, evaluate, finetune, warmup

# (finetune, warmup) -> (AP^e, AP^det)
PAPER = {
    ("weak", "weak"): (40.2, 48.2),
    ("weak", "strong"): (40.6, 48.6),
    ("strong", "weak"): (40.2, 48.6),
    ("strong", "strong"): (40.6, 49.1),
}
FINETUNE = {"weak": "weak", "strong": "strong_labeled"}


def cells(profile: Profile) -> Iterator[Cell]:
    for (f, w), (ap_e, ap_det) in PAPER.items():
        warm = warmup(profile, augmentation=w)
        fine = finetune(profile, warm, augmentation=FINETUNE[f])
        for metric, model, paper in (("ap_e", warm, ap_e), ("ap_det", fine, ap_det)):
            yield Cell(
                row=f"F {f}", column=f"W {w}", metric=metric, stage=evaluate(profile, model, metric), paper=paper
            )


ABLATION = Ablation(
    name="table6",
    title="Data augmentation in warmup and finetuning",
    source="CA-SSL (ECCV 2022), Table 6",
    cells=cells,
    rows="finetune augmentation",
    columns="warmup augmentation",
    figure="bars",
)
