"""Delta: which score threshold for pseudo labels? Not a table of the paper, which keeps its choice in the supplement.

Run:     casl run delta && casl report delta
Expect:  a hill: low thresholds let wrong labels in, high ones leave few images. Labels are scored once for all rows.
"""

from __future__ import annotations

from collections.abc import Iterator

from casl.spec import Ablation, Cell, Profile, evaluate, finetune, warmup

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def cells(profile: Profile) -> Iterator[Cell]:
    for threshold in THRESHOLDS:
        warm = warmup(profile, threshold=threshold)
        models = (("warmup AP^e", "ap_e", warm), ("finetuned AP^det", "ap_det", finetune(profile, warm)))
        for column, metric, model in models:
            yield Cell(row=f"{threshold:.1f}", column=column, metric=metric, stage=evaluate(profile, model, metric))


ABLATION = Ablation(
    name="delta",
    title="Score threshold of pseudo labels",
    source="not in the paper",
    cells=cells,
    rows="delta",
    columns="metric",
    unit="row",
    figure="curves",
)
