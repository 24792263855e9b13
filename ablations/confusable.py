"""Confusable: do labels without classes pay where classes are hard to tell apart? Not a table of the paper.

Run:     make confusable, or casl run confusable --seeds 3 && casl report confusable --seeds 3
Expect:  labels without classes gain over labels with classes on confusable classes, more than on the standard ones:
         where a labeler hardly tells the classes apart, the classes that it gives are mostly noise.

Scenes of both kinds have the same grounds, places, sizes and numbers of objects (casl/data/scene_shapes.py), so finding
objects is about as hard. Labelers are of one strength: one model, length and set of images, with classes or without.
What a finetune takes over from labels with classes includes a classifier of these very classes, and from labels
without classes it cannot; the last row takes that advantage away. The standard half is made of stages of Table 2 and of
`reasons`.

A data set on disk has one set of models, judged on the classes of CONFUSED that it has, and on its others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ablations.controls import LONG, as_long, length_of
from casl.spec import (
    Ablation,
    Cell,
    FolderData,
    Profile,
    PseudoLabel,
    SceneData,
    Train,
    evaluate,
    finetune,
    labeler,
    pseudo_label,
    warmup,
)

NONE, AGNOSTIC, SPECIFIC = "no warmup", "labels without classes", "labels with classes"
RENEWED = "labels with classes, new classifier"
STANDARD, CONFUSABLE = "standard", "confusable"
# on photographs: animals of like build, a group counts where a set has all of it; chosen before any was measured
CONFUSED = (("cat", "dog"), ("cow", "horse", "sheep"))
PAIRS = "classes in pairs of one outline and hue, told apart by where a small hole is"
UNKNOWN = "not measured: which classes of {} are easily confused is not known when tables are planned"
NO_OTHERS = "not measured: {} has no class beside {}"


def cells(profile: Profile) -> Iterator[Cell]:
    if not isinstance(profile.data, SceneData):
        yield from _by_classes(profile)
        return
    for side, data, about in ((STANDARD, profile.data, ""), (CONFUSABLE, profile.data.lookalikes(), PAIRS)):
        of = replace(profile, data=data)
        for row, model in targets(of).items():
            note = "; ".join(filter(None, (about, _told(of, row))))
            for metric, name in (("ap_det", "AP^det"), ("ap_det_a", "AP^det-a")):
                yield Cell(row, f"{side} {name}", metric, evaluate(of, model, metric), note=note)
        specific = pseudo_labels(of)[SPECIFIC].labeler
        stage = evaluate(of, specific, "ap_det", split="unlabeled")
        yield Cell(SPECIFIC, f"{side} labels AP^det", "ap_det", stage, note=about)
        for cell in _of_labels(of):
            yield replace(cell, column=f"{side} {cell.column}", note="; ".join(filter(None, (about, cell.note))))


def pseudo_labels(profile: Profile) -> Mapping[str, PseudoLabel]:
    """Row -> labels of objects, by a labeler of the same strength without and with classes."""
    return {
        row: pseudo_label(profile, labeler(profile, labels="objects", agnostic=row == AGNOSTIC))
        for row in (AGNOSTIC, SPECIFIC)
    }


def targets(profile: Profile) -> Mapping[str, Train]:
    """Row -> the finetuned target."""
    without, having = (warmup(profile, pseudo=labels) for labels in pseudo_labels(profile).values())
    return {
        NONE: finetune(profile, None),
        LONG: finetune(profile, None, schedule=as_long(profile, without)),
        AGNOSTIC: finetune(profile, without),
        SPECIFIC: finetune(profile, having),
        RENEWED: finetune(profile, having, parts=("backbone", "neck", "head")),
    }


def _of_labels(profile: Profile) -> Iterator[Cell]:
    """How good both kinds of labels are by the truth of their images, whatever classes they give."""
    for row, labels in pseudo_labels(profile).items():
        stage = evaluate(profile, labels.labeler, "ap_det_a", split="unlabeled")
        yield Cell(row, "labels AP^det-a", "ap_det_a", stage)
        stage = evaluate(profile, labels.labeler, "ar_det_a", split="unlabeled", above=profile.threshold)
        note = f"share of objects found by the labels that score above {profile.threshold:g}"
        yield Cell(row, "labels found", "ar_det_a", stage, note=note)


def _told(profile: Profile, row: str) -> str:
    """What a cell of this row says beside its number."""
    if row == LONG:
        return length_of(profile, warmup(profile, pseudo=pseudo_labels(profile)[AGNOSTIC]))
    return profile.start if row == NONE else ""


def confused(data: FolderData) -> tuple[int, ...]:
    """Positions of the classes of CONFUSED, of those groups of which a set on disk has every class."""
    return tuple(sorted(p for group in CONFUSED if set(group) <= set(data.names) for p in data.places_of(*group)))


def _by_classes(profile: Profile) -> Iterator[Cell]:
    """One set of models, judged on some of its classes and on the others."""
    data = profile.data
    hard = confused(data) if isinstance(data, FolderData) else ()
    easy = tuple(place for place in range(data.classes) if place not in hard)
    names = ", ".join(data.names[place] for place in hard) if isinstance(data, FolderData) else ""
    sides = {
        STANDARD: (easy, f"all classes but {names}" if hard else "all classes", NO_OTHERS.format(data.name, names)),
        CONFUSABLE: (hard, names, UNKNOWN.format(data.name)),
    }
    for row, model in targets(profile).items():
        for side, (classes, about, missing) in sides.items():
            stage = evaluate(profile, model, "ap_det", classes=classes if hard else ()) if classes else None
            note = "; ".join(filter(None, (about, _told(profile, row)))) if classes else missing
            yield Cell(row, f"{side} AP^det", "ap_det", stage, note=note)
        yield Cell(row, "AP^det-a", "ap_det_a", evaluate(profile, model, "ap_det_a"), note=_told(profile, row))
    if not data.knows("objects"):
        return
    specific = pseudo_labels(profile)[SPECIFIC].labeler
    for side, (classes, about, _) in sides.items():
        if classes:
            stage = evaluate(profile, specific, "ap_det", split="unlabeled", classes=classes if hard else ())
            yield Cell(SPECIFIC, f"{side} labels AP^det", "ap_det", stage, note=about)
    yield from _of_labels(profile)


ABLATION = Ablation(
    name="confusable",
    title="Labels without classes, where classes are easily confused",
    source="not in the paper",
    cells=cells,
    rows="labels of the warmup",
    columns="metric",
    unit="row",
    figure="bars",
    baseline=SPECIFIC,
)
