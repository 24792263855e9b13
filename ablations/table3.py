"""Table 3: how long to warm up (AP^e of the warmed-up model on val2017).

Run:     make table3
Expect:  paper profile, 38.4 at 1x rising to 40.2 at 4x and 5x. Its warmups are those of Table 4: nothing runs twice.
"""

from __future__ import annotations

from collections.abc import Iterator

from casl.spec import Ablation, Cell, Profile, evaluate, warmup

# rows: warmup 1x..5x; columns: the figures below
PAPER = [
    [38.4, 59.6, 40.5, 14.5, 35.0, 52.6],
    [39.6, 60.5, 41.9, 15.0, 36.3, 54.1],
    [39.9, 60.8, 42.4, 15.1, 36.9, 54.6],
    [40.2, 60.8, 42.7, 15.4, 37.1, 54.8],
    [40.2, 60.9, 42.8, 15.4, 37.0, 54.9],
]
FIGURES = {
    "AP^e": "AP",
    "AP^e_50": "AP50",
    "AP^e_75": "AP75",
    "AP^e_s": "APs",
    "AP^e_m": "APm",
    "AP^e_l": "APl",
}


def cells(profile: Profile) -> Iterator[Cell]:
    for length, published in enumerate(PAPER, start=1):
        stage = evaluate(profile, warmup(profile, schedule=length), "ap_e")
        for (column, figure), paper in zip(FIGURES.items(), published, strict=True):
            row = f"{12 * length} ({length}x)"
            yield Cell(row=row, column=column, metric="ap_e", stage=stage, paper=paper, figure=figure)


ABLATION = Ablation(
    name="table3",
    title="Warmup training epochs",
    source="CA-SSL (ECCV 2022), Table 3",
    cells=cells,
    rows="epochs",
    columns="figure",
    unit="row",
    figure="curves",
)
