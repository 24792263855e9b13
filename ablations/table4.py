"""Table 4: how long to warm up and how long to finetune (AP^det on COCO val2017).

Run:     make table4 PROFILE=smoke     (25 cells, 57 stages)
Expect:  paper profile, 5x warmup and 3x finetune is best at 48.2.
"""

from __future__ import annotations

from collections.abc import Iterator

from casl.spec import Ablation, Cell, Profile, evaluate, finetune, warmup

# rows: finetune 1x..5x, columns: warmup 1x..5x
PAPER = [
    [45.3, 46.3, 46.4, 46.8, 47.1],
    [47.0, 47.4, 47.7, 47.3, 47.7],
    [47.2, 47.7, 47.6, 47.9, 48.2],
    [47.3, 47.6, 47.7, 47.9, 48.0],
    [47.5, 47.7, 47.9, 47.9, 48.0],
]


def cells(profile: Profile) -> Iterator[Cell]:
    for f, row in enumerate(PAPER, start=1):
        for w, ap in enumerate(row, start=1):
            model = finetune(profile, warmup(profile, schedule=w), schedule=f)
            yield Cell(
                row=f"F {f}x",
                column=f"W {w}x",
                metric="ap_det",
                stage=evaluate(profile, model, "ap_det"),
                paper=ap,
            )


ABLATION = Ablation(
    name="table4",
    title="Warmup and finetuning schedules",
    source="CA-SSL (ECCV 2022), Table 4",
    cells=cells,
    rows="finetune length",
    columns="warmup length",
)
