"""Table 4.4 of the dissertation: objects that are missed, by how much of them others hide.

Run:     make dissertation, or casl run pre_4_4 --seeds 3
Expect:  detection misses fewer objects than class only, of both groups, by about the same share (published: 31 % fewer
         of both). Low figures are good in this table.

Missed is what no box of its class finds at IoU .5. People judged the published levels; here low is less than a quarter
of the object's area hidden, and medium less than half. Few objects of scenes are, so val has four times as many images
as in other tables; smaller splits are the beginning of larger ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ablations.pretraining import (
    BOXES,
    CLASSES,
    CLS,
    OTHER_TARGET,
    SOURCE,
    absent,
    fewer,
    note,
    starts,
    target,
)
from casl.spec import Ablation, Cell, Evaluate, Profile, Scenes, Train, evaluate

COLUMNS = {"occluded low": "missed_low", "occluded medium": "missed_medium"}
PUBLISHED = {CLS: (14.7, 15.7), BOXES: (10.1, 10.8)}  # ours beside ImageNet-CLS and OpenImages
ROWS = (CLS, CLASSES, BOXES)
TIMES = 4  # as many images of val


def fewer_missed() -> dict[str, float]:
    """By what share OpenImages misses fewer, as published."""
    return {c: fewer(a, b) for c, a, b in zip(COLUMNS, PUBLISHED[CLS], PUBLISHED[BOXES], strict=True)}


def cells(profile: Profile) -> Iterator[Cell]:
    lacking = profile.lacks("missed_objects")
    for row, start in starts(profile).items():
        if row not in ROWS:
            continue
        paper = dict(zip(COLUMNS, PUBLISHED.get(row, ()), strict=False))
        if lacking or isinstance(start, str):
            yield from absent(row, COLUMNS, "missed_objects", lacking or str(start), paper)
            continue
        told = note(profile, row, start) + (f"; {OTHER_TARGET}" if paper else "")
        stage = _judged(profile, target(profile, row, start))
        for column, figure in COLUMNS.items():
            less = f", {fewer_missed()[column]:.0%} fewer" if row == BOXES else ""
            yield Cell(row, column, "missed_objects", stage, paper.get(column), figure, told + less)


def _judged(profile: Profile, model: Train) -> Evaluate:
    stage = evaluate(profile, model, "missed_objects")
    assert isinstance(stage.data, Scenes)
    return replace(stage, data=replace(stage.data, count=TIMES * stage.data.count))


ABLATION = Ablation(
    name="pre_4_4",
    title="Missed objects by how much of them is hidden, percent",
    source=f"{SOURCE}, Table 4.4",
    cells=cells,
    rows="pre-training",
    columns="group",
    unit="row",
    figure="bars",
    baseline=CLASSES,
)
