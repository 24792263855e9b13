"""Tables 3.1 and 3.2 of the dissertation: certainty-aware pseudo labels beside other methods (AP^det).

Run:     casl run certain_3_1a certain_3_1b certain_3_1c certain_3_2 --seeds 3
Expect:  paper profile, 43.3 on all of COCO after 3x, and 18.21 to 31.67 with 1 to 10 % of its labels.

Rows that casl can train are trained with Faster R-CNN; rows of methods without an implementation here are quoted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ablations.certain import (
    PLAIN,
    Student,
    judged,
    lasting,
    multi_scale,
    note_of,
    of_chapter,
    options_of,
    student_of,
    teacher,
    three,
    with_share,
)
from casl.spec import Ablation, Cell, Joint, Profile, joint, quoted

SOURCE = "certainty-aware pseudo labels (AAAI 2022), dissertation"
NO_CODE = "published by its authors; casl does not have this method"
FULL = {
    "ISMT": 39.6,
    "Instant-Teaching": 39.6,
    "Multi Phase (3x)": 40.1,
    "Humble teacher (3x)": 42.3,
}
VOC = {
    "CSD": (74.7, None, None),
    "STAC": (77.4, None, 44.6),
    "ISMT": (77.2, None, 46.2),
    "Instant-Teaching": (78.3, 52.0, 48.7),
    "Multi Phase": (77.4, None, None),
    "Unbiased Teacher (multi-scale)": (77.4, None, 48.7),
    "Humble teacher (multi-scale)": (80.9, None, 53.0),
}
VOC_COCO = {
    "CSD": (75.1, None, None),
    "STAC": (79.1, None, 46.0),
    "ISMT": (77.7, None, 49.6),
    "Instant-Teaching": (79.0, 54.1, 49.7),
    "Unbiased Teacher (multi-scale)": (78.8, None, 50.3),
    "Humble teacher (multi-scale)": (81.3, None, 54.4),
}
# lengths of Table 3.1b and c, of a student's 180,000 iterations: teacher 10,000, student 90,000
VOC_TEACHER, VOC_STUDENT = 10 / 180, 0.5
# published row -> AP and spread at 1, 2, 5, 10 % of the labels
PERCENT = (1, 2, 5, 10)
PARTIAL = {
    "Supervised": ((9.05, 0.16), (12.7, 0.15), (18.47, 0.22), (23.86, 0.81)),
    "CSD": ((10.2, 0.15), (13.6, 0.1), (18.9, 0.1), (24.5, 0.15)),
    "STAC": ((13.97, 0.35), (18.25, 0.25), (24.38, 0.12), (28.64, 0.21)),
    "Unbiased Teacher (retrained, batch 8)": ((17.84, 0.12), (21.98, 0.07), (26.3, 0.11), (29.64, 0.1)),
    "Humble teacher (ensemble)": ((16.96, 0.38), (21.72, 0.24), (27.7, 0.15), (31.61, 0.28)),
    "Instant-Teaching (low score threshold)": ((16.0, 0.2), (20.7, 0.3), (25.5, 0.05), (29.45, 0.15)),
    "Instant-Teaching (low score threshold, ensemble)": ((18.05, 0.15), (22.45, 0.15), (26.75, 0.05), (30.4, 0.05)),
    "Ours (threshold 0.05)": ((18.21, 0.31), (22.62, 0.24), (27.78, 0.17), (31.67, 0.18)),
    "Ours (low score threshold 0.001)": ((19.02, 0.25), (23.34, 0.18), (28.4, 0.15), (32.23, 0.14)),
}
LOW = 0.001
# Unbiased Teacher on a few percent of the labels: weight of unlabeled losses, iterations of burn-in
FEW_WEIGHT, FEW_BURN_IN = 4.0, 2000


def full(profile: Profile) -> Iterator[Cell]:
    """Table 3.1a."""
    chapter = of_chapter(profile)
    for row, paper in FULL.items():
        yield quoted(row, "AP", "ap_det", paper, note=NO_CODE)
    for length, words, supervised, ours in ((1, "(1x)", 37.9, 41.0), (3, "(3x)", 40.2, 43.3)):
        whole = Student(percent=100, length=length, teacher=length)
        plain = teacher(chapter, replace(whole, detector=PLAIN))
        rows = [(f"Supervised {words}", plain, supervised), (f"Ours {words}", student_of(chapter, whole), ours)]
        if length == 3:
            rows += [
                (f"STAC {words}", stac(chapter, replace(whole, detector=PLAIN)), 39.2),
                (f"Unbiased Teacher {words}", unbiased(chapter, 100, length), 41.3),
            ]
        for row, model, paper in rows:
            stage = judged(chapter, model)
            yield Cell(row=row, column="AP", metric="ap_det", stage=stage, paper=paper, note=note_of(model))


def stac(profile: Profile, student: Student) -> Joint:
    """STAC as long and on the same labels; it starts anew and has one threshold, as published."""
    found = student_of(profile, replace(student, union=False, view="stac"), "stac")
    started = with_share(profile, student.percent)
    alone = teacher(started, student)
    return replace(found, init=None, pretrained=alone.pretrained)


def unbiased(profile: Profile, percent: int, length: float) -> Joint:
    """Unbiased Teacher as long, with what it published for all labels or for few; in small profiles an eighth of it is
    burn-in."""
    share, few = with_share(profile, percent), percent < 100
    weight = FEW_WEIGHT if few else None
    found = joint(share, method="unbiased_teacher", detector=PLAIN, ratio=(1, 1), labeled_view="weak", weight=weight)
    schedule = lasting(share, length)
    model = replace(found.model, options=options_of(share, Student(detector=PLAIN)))
    if profile.small:
        eighth = max(1, round(schedule[-1][0] / 8))
        found = replace(found, burn_in=eighth, rise=eighth)
    elif few:
        found = replace(found, burn_in=FEW_BURN_IN)
    return replace(found, model=model, schedule=schedule)


def voc(profile: Profile) -> Iterator[Cell]:
    """Table 3.1b."""
    yield from _of_voc(profile, VOC, "tiny", (76.9, 57.9, 52.4), (79.0, 59.4, 54.6))


def voc_and_coco(profile: Profile) -> Iterator[Cell]:
    """Table 3.1c."""
    yield from _of_voc(profile, VOC_COCO, "small", (77.6, 59.1, 54.0), (79.6, 61.2, 56.1))


def voc_student(profile: Profile, scale: str, multi: bool, union: bool = True) -> Joint:
    """The student of Tables 3.1b and c and of 3.3c; profile: of `of_chapter`."""
    sizes = multi_scale(profile) if multi else (profile.test_size[0],)
    wanted = Student(percent=100, length=VOC_STUDENT, teacher=VOC_TEACHER, scale=scale, union=union, sizes=sizes)
    return student_of(profile, wanted)


def data_note(profile: Profile, scale: str) -> str:
    """What stands for VOC and COCO."""
    return f"{profile.data.name}, {profile.images_in(scale)} unlabeled images, in the place of VOC"


def _of_voc(
    profile: Profile,
    others: dict[str, tuple[float, float | None, float | None]] | dict[str, tuple[float | None, ...]],
    scale: str,
    single: tuple[float, ...],
    multi: tuple[float, ...],
) -> Iterator[Cell]:
    chapter, told = of_chapter(profile), data_note(profile, scale)
    for row, published in others.items():
        for figure, paper in zip(("AP50", "AP75", "AP"), published, strict=True):
            if paper is not None:
                yield quoted(
                    row, figure, "ap_det", paper, figure=figure, note="published for VOC, which no profile has"
                )
    plain = teacher(chapter, Student(detector=PLAIN, percent=100, teacher=VOC_TEACHER))
    yield from three(chapter, "Supervised", plain, (76.3, 47.5, 45.3), note_of(plain, told))
    for row, wide, published in (("Ours", False, single), ("Ours (multi-scale)", True, multi)):
        model = voc_student(chapter, scale, wide)
        sides = f"short sides {model.recipe.sizes[0]} to {model.recipe.sizes[-1]}"
        yield from three(chapter, row, model, published, note_of(model, told, sides))


def partial(profile: Profile) -> Iterator[Cell]:
    """Table 3.2."""
    chapter = of_chapter(profile)
    for place, percent in enumerate(PERCENT):
        student, plain = Student(percent=percent, length=1.0), Student(detector=PLAIN, percent=percent, length=1.0)
        ours = student_of(chapter, student)
        models = {
            "Supervised": (teacher(with_share(chapter, percent), plain), 0.0),
            "STAC": (stac(chapter, plain), 0.0),
            "Unbiased Teacher (retrained, batch 8)": (unbiased(chapter, percent, 1.0), 0.0),
            "Ours (threshold 0.05)": (ours, 0.0),
            "Ours (low score threshold 0.001)": (ours, LOW),
        }
        for row, published in PARTIAL.items():
            paper, spread = published[place]
            column, said = f"{percent} %", f"published spread {spread:g}"
            if row not in models:
                yield quoted(row, column, "ap_det", paper, note=f"{NO_CODE}; {said}")
                continue
            model, lowest = models[row]
            stage = judged(chapter, model, lowest=lowest)
            yield Cell(row=row, column=column, metric="ap_det", stage=stage, paper=paper, note=note_of(model, said))


TABLE_3_1A = Ablation(
    name="certain_3_1a",
    title="Certainty-aware pseudo labels with all labels",
    source=f"{SOURCE} Table 3.1a",
    cells=full,
    rows="method",
    columns="figure",
    unit="row",
    figure="bars",
    baseline="Supervised (1x)",
)
TABLE_3_1B = Ablation(
    name="certain_3_1b",
    title="Certainty-aware pseudo labels, another data set",
    source=f"{SOURCE} Table 3.1b",
    cells=voc,
    rows="method",
    columns="figure",
    unit="row",
    baseline="Supervised",
)
TABLE_3_1C = Ablation(
    name="certain_3_1c",
    title="Certainty-aware pseudo labels, more unlabeled images",
    source=f"{SOURCE} Table 3.1c",
    cells=voc_and_coco,
    rows="method",
    columns="figure",
    unit="row",
    baseline="Supervised",
)
TABLE_3_2 = Ablation(
    name="certain_3_2",
    title="Certainty-aware pseudo labels, by the share of labels",
    source=f"{SOURCE} Table 3.2",
    cells=partial,
    rows="method",
    columns="share of labels in COCO",
    unit="cell",
    baseline="Supervised",
)
