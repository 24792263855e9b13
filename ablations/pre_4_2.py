"""Table 4.2 of the dissertation: detection after pre-training on classes or on boxes. With `pre_budget`, of ours.

Run:     make dissertation, or casl run pre_4_2 pre_budget --seeds 3
Expect:  detection above class only at AP70, by more than at AP50 (published: 4.8 at .7 and 2.2 at .5, 2.2 times as
         much); a quarter or four times the source images, or half of its classes, move AP70 by less than that gap
         (published: 1.1 at .7 between .89 and 14.6 million boxes); and in `pre_budget`, class only for twice as long
         stays below classes and then boxes. With eight classes, class only is weaker than ImageNet's thousand.

Of 64 pixels, an object of 12 may be off by 1.1 pixels at IoU .7 and 2.2 at .5: `mini` shows that it runs, `gpu` is for
a verdict. Published rows differ in classes, images, objects, scales and heads at once; here one thing at a time does,
and every row trains for as many iterations. What stands for ImageNet is in the note of its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ablations.pretraining import (
    BOXES,
    CLASSES,
    CLS,
    OTHER_TARGET,
    SETS,
    SOURCE,
    absent,
    class_only,
    detection,
    gain,
    note,
    objects_an_image,
    source,
    starts,
    target,
)
from casl.spec import Ablation, Cell, Profile, Start, Train, evaluate, quoted

COLUMNS = {"mAP@0.5": "AP50", "mAP@0.7": "AP70", "mAP@0.75": "AP75", "AP": "AP"}
PUBLISHED = {
    "DCNv1": (81.9, 68.2),
    "DCNv2": (84.9, 73.5),
    CLS: (84.6, 76.3),
    "ImageNet-LOC": (86.5, 80.0),
    "COCO": (86.8, 80.7),
    "OpenImages": (86.8, 81.1),
}
MEASURED_AS = {CLS: CLS, BOXES: "OpenImages"}  # our row -> the published one that it stands beside
QUOTED = {
    "DCNv1": "another network with ImageNet-CLS; published only",
    "DCNv2": "another network with ImageNet-CLS; published only",
    "ImageNet-LOC": "casl varies one thing of one source at a time",
    "COCO": "casl varies one thing of one source at a time",
}
SIZES = {"detection, ¼ of the images": 0.25, "detection, 4 times the images": 4.0}
HALF = "detection, half of the classes"
BUDGET = (CLASSES, "class only, twice as long", "class only, then detection")


def published(row: str) -> dict[str, float]:
    """The published numbers beside one of our rows, by column."""
    return dict(zip(COLUMNS, PUBLISHED.get(MEASURED_AS.get(row, ""), ()), strict=False))


def ratio_of_gains(row: str = "OpenImages") -> float:
    """Gain over ImageNet-CLS at IoU .7 over that at .5, as published."""
    at_half, at_seventy = (gain(a, b) for a, b in zip(PUBLISHED[row], PUBLISHED[CLS], strict=True))
    return at_seventy / at_half


def models(profile: Profile) -> dict[str, Train | Start | str | None]:
    """Row -> what the backbone starts from, as of `starts`; other sizes of the source and half of its classes too."""
    rows = starts(profile)
    for row, times in SIZES.items():
        seen = source(profile, times)
        rows[row] = seen if isinstance(seen, str) else detection(profile, seen)
    seen = source(profile)
    half = seen if isinstance(seen, str) else replace(seen, without=tuple(range(1, seen.classes, 2)))
    rows[HALF] = half if isinstance(half, str) else detection(profile, half)
    return rows


def cells(profile: Profile) -> Iterator[Cell]:
    for row, why in QUOTED.items():
        seen = f"; {objects_an_image(row):.1f} objects an image" if row in SETS else ""
        for column, paper in zip(COLUMNS, PUBLISHED[row], strict=False):
            yield quoted(row, column, "ap_det", paper, figure=COLUMNS[column], note=why + seen)
    for row, start in models(profile).items():
        yield from _row(profile, row, start)


def _row(profile: Profile, row: str, start: Train | Start | str | None) -> Iterator[Cell]:
    if isinstance(start, str):
        yield from absent(row, COLUMNS, "ap_det", start, published(row))
        return
    told = note(profile, row, start)
    if row in MEASURED_AS:
        told += f"; {OTHER_TARGET}"
    if row == BOXES:
        told += f", there OpenImages' gain at .7 is {ratio_of_gains():.1f} times that at .5"
    stage = evaluate(profile, target(profile, row, start), "ap_det")
    for column, figure in COLUMNS.items():
        yield Cell(row, column, "ap_det", stage, published(row).get(column), figure, told)


def budget(profile: Profile) -> Iterator[Cell]:
    seen = source(profile)
    if isinstance(seen, str):
        for row in BUDGET:
            yield from absent(row, COLUMNS, "ap_det", seen, {})
        return
    iters = detection(profile, seen).iters
    once, twice = class_only(profile, seen, iters), class_only(profile, seen, 2 * iters)
    told = (f"{iters:,} iterations", f"{2 * iters:,} iterations", f"{iters:,} and {iters:,} iterations")
    made: tuple[Train | Start, ...] = (once, twice, detection(profile, seen, once))
    for row, start, length in zip(BUDGET, made, told, strict=True):
        stage = evaluate(profile, target(profile, row, start), "ap_det")
        for column, figure in COLUMNS.items():
            yield Cell(row, column, "ap_det", stage, None, figure, f"{length} on the same images, after {CLS}")


ABLATION = Ablation(
    name="pre_4_2",
    title="Detection after pre-training on classes or on boxes",
    source=f"{SOURCE}, Table 4.2",
    cells=cells,
    rows="pre-training",
    columns="figure",
    unit="row",
    baseline=CLASSES,
)
OF_BUDGET = Ablation(
    name="pre_budget",
    title="Pre-training on classes for longer, or on boxes after them",
    source="not in the dissertation",
    cells=budget,
    rows="pre-training",
    columns="figure",
    unit="row",
    baseline=BUDGET[1],
)
