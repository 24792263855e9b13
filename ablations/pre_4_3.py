"""Table 4.3 of the dissertation: detection of a super-category that the boxes of pre-training lacked.

Run:     make dissertation, or casl run pre_4_3 --seeds 3
Expect:  detection without a super-category above class only on its classes at IoU .7, and not far below detection with
         it (published: 86 % of the gain is left for vehicles, 52 % for animals): boxes teach more than classes.

The pair of equal images of chapter 4, so the main one: all three rows saw the same source images, with the classes of
their objects, with boxes of the other super-categories, with all boxes. Of scenes, two classes that share a silhouette
are a super-category. Images without any other object are not trained on, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ablations.pretraining import (
    BOXES,
    CLASSES,
    OTHER_TARGET,
    SOURCE,
    class_only,
    detection,
    note,
    share_left,
    source,
    target,
)
from casl.spec import Ablation, Cell, Folder, Profile, Scenes, Start, Train, evaluate, quoted

WITHOUT = "detection without category"
ROWS = (CLASSES, WITHOUT, BOXES)
PUBLISHED = {"Vehicle": (84.52, 86.83, 87.20), "Animal": (82.98, 83.95, 84.83)}
NO_GROUPS = "not measured: which classes of {} belong together is not known when tables are planned"
OTHERS = "published; of {}, other classes belong together"


def left(column: str) -> float:
    """Share of the published gain that is left without the super-category."""
    return share_left(*PUBLISHED[column])


def cells(profile: Profile) -> Iterator[Cell]:
    own, seen, name = profile.data.groups, source(profile), profile.data.name
    for column in [*own, *(c for c in PUBLISHED if c not in own)]:
        if isinstance(seen, str) or column not in own:
            why = seen if isinstance(seen, str) else (OTHERS if own else NO_GROUPS).format(name)
            if column in PUBLISHED:
                yield from _quoted(column, why)
            continue
        yield from _column(profile, column, own[column], seen)


def _quoted(column: str, why: str) -> Iterator[Cell]:
    for row, paper in zip(ROWS, PUBLISHED[column], strict=True):
        told = f"{why}; {left(column):.0%} of the published gain is left" if row == WITHOUT else why
        yield quoted(row, column, "ap_det", paper, figure="AP70", note=told)


def _column(profile: Profile, column: str, places: tuple[int, ...], seen: Scenes | Folder) -> Iterator[Cell]:
    """The three rows, of classes at these positions of the target."""
    boxes = detection(profile, seen)
    rows: dict[str, Train | Start | None] = {CLASSES: class_only(profile, seen, boxes.iters), BOXES: boxes}
    # of planned sources whose classes are other ones it is not known which those are
    lacking = replace(seen, without=places) if seen.classes == profile.data.classes else None
    rows[WITHOUT] = detection(profile, lacking) if lacking is not None else None
    for row, paper in zip(ROWS, PUBLISHED.get(column, (None, None, None)), strict=True):
        start = rows[row]
        if start is None:
            why = f"not measured: which of the source's {seen.classes} classes are {column.lower()} is not known"
            yield Cell(row, column, "ap_det", None, paper, "AP70", why)
            continue
        stage = evaluate(profile, target(profile, row, start), "ap_det", classes=places)
        told = note(profile, row, start) + (f"; {OTHER_TARGET}" if paper else "")
        yield Cell(row, column, "ap_det", stage, paper, "AP70", told)


ABLATION = Ablation(
    name="pre_4_3",
    title="Detection of classes that the boxes of pre-training lacked, AP at IoU .7",
    source=f"{SOURCE}, Table 4.3",
    cells=cells,
    rows="pre-training",
    columns="classes",
    unit="row",
    baseline=CLASSES,
)
