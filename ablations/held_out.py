"""Held out: are objects found whose classes were left out of training? Not a table of the paper.

Run:     make held_out     (a labeler with and without classes, each twice, and the warmups on their labels)
Expect:  without classes, a labeler finds more of the objects that it was never taught, and so do its labels and what is
         warmed up on them; of the classes that it was taught, both find about as much.

Classes at positions 1, 5, 9 ... by rising category id, counted from 0, are held out: two of the scenes' eight, twenty
of COCO's eighty. Their objects are left out of the annotations of the labeled images; the images stay, so that a
labeler learns them as background, as in Kim et al. 2022. Objects found are counted on val, without classes. Where those
held out are to be found, predictions on the others are not counted at all (casl.metrics.matching.HeldOut).
"""

from __future__ import annotations

from collections.abc import Iterator

from casl.spec import Ablation, Cell, Labeler, Profile, Train, evaluate, labeler, pseudo_label, warmup

FIGURES = {"AR@10": "AR10", "AR@100": "AR100"}
ROWS = ("labeler without classes", "labeler with classes")
FEWEST = 3  # classes, so that one can be held out and two are left to tell apart
TOO_FEW = "not measured: {} has {} classes, and fewer than {} leave none to hold out"


def held_out(classes: int) -> tuple[int, ...]:
    """Positions of the classes that are held out of so many; none of fewer than three."""
    return tuple(range(1, classes, 4)) if classes >= FEWEST else ()


def cells(profile: Profile) -> Iterator[Cell]:
    count = profile.data.classes
    held = held_out(count)
    if not held:
        note = TOO_FEW.format(profile.data.name, count, FEWEST)
        yield from (Cell(ROWS[0], f"held out {f}", "ar_det_a", None, None, FIGURES[f], note) for f in FIGURES)
        return
    seen = tuple(place for place in range(count) if place not in held)
    for row, model, above in _models(profile, held):
        for name, classes in (("held out", held), ("taught", seen)):
            stage = evaluate(profile, model, "ar_det_a", classes=classes, above=above)
            for column, figure in FIGURES.items():
                yield Cell(row, f"{name} {column}", "ar_det_a", stage, None, figure)


def _models(profile: Profile, held: tuple[int, ...]) -> Iterator[tuple[str, Train, float]]:
    """Row, model, and the score that its predictions must exceed."""
    labelers = {row: _labeler(profile, held, agnostic=row == ROWS[0]) for row in ROWS}
    for row, trained in labelers.items():
        yield row, trained, 0.0
    for row, trained in labelers.items():
        yield f"labels of the {row}", trained, profile.threshold
    for row, trained in labelers.items():
        yield f"warmup on labels of the {row}", warmup(profile, pseudo=pseudo_label(profile, trained)), 0.0
    for row in ROWS:
        yield f"{row}, taught all", _labeler(profile, (), agnostic=row == ROWS[0]), 0.0


def _labeler(profile: Profile, without: tuple[int, ...], *, agnostic: bool) -> Labeler:
    return labeler(profile, labels="objects", agnostic=agnostic, without=without)


ABLATION = Ablation(
    name="held_out",
    title="Objects of classes left out of training",
    source="not in the paper",
    cells=cells,
    rows="model",
    columns="objects found",
    unit="row",
    figure="heat map",
)
