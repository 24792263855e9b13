"""Tables 3.3 to 3.7 of the dissertation: what each part of certainty-aware pseudo labels adds, and tables of ours.

Run:     casl run certain_3_3a certain_3_4 certain_3_5 certain_3_6 certain_3_7 certain_tail certain_head --seeds 3
Expect:  paper profile, 19.9 without any part and 22.5 with all, with 2 % of the labels; K 30 best of 4 to 40.

The 19 rows of Tables 3.4 to 3.7 are 16 students: those of the full method are one. `certain_tail` has the parts on
scenes whose last classes are rare, since thresholds and weights hardly differ where they are not; `certain_head` what
the text leaves open about the head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ablations.certain import (
    FIGURES,
    GAMMAS,
    PLAIN,
    TAIL,
    Student,
    judged,
    long_tailed,
    note_of,
    of_chapter,
    student_of,
    three,
)
from ablations.certain_published import SOURCE, data_note, voc_student
from casl.spec import Ablation, Cell, Profile, SceneData, quoted

OFF = (0.0, 0.0)
NOTHING, CA, RE, DT, EVERYTHING = "none", "CA", "RE", "DT", "CA + RE + DT"
COMPONENTS = {
    NOTHING: (Student(detector=PLAIN, gammas=OFF), (36.9, 19.4, 19.9)),
    CA: (Student(gammas=OFF), (35.3, 22.9, 21.6)),
    RE: (Student(detector=PLAIN, gammas=(0.0, GAMMAS[1])), (38.6, 19.9, 20.7)),
    DT: (Student(detector=PLAIN, gammas=(GAMMAS[0], 0.0)), (38.4, 19.6, 20.4)),
    EVERYTHING: (Student(), (37.1, 23.7, 22.5)),
}
VIEWS = {
    "none": (Student(view="weak"), (33.9, 21.3, 20.3)),
    "Color": (Student(view="ut_colour"), (34.9, 22.4, 21.1)),
    "Color + Blur": (Student(view="ut_blur"), (35.5, 22.7, 21.5)),
    "Color + Blur + Cutout": (Student(), (37.1, 23.7, 22.5)),
}
INTERVALS = {
    4: (37.2, 18.9, 19.7),
    8: (38.1, 21.1, 21.0),
    20: (36.3, 23.4, 22.3),
    30: (37.1, 23.7, 22.5),
    40: (37.9, 23.4, 22.4),
}
POWERS = {
    (0.05, 0.4): (36.6, 23.2, 22.2),
    (0.05, 0.6): (37.1, 23.7, 22.5),
    (0.05, 0.8): (37.0, 23.7, 22.5),
    (0.03, 0.6): (36.8, 23.6, 22.3),
    (0.07, 0.6): (36.7, 23.3, 22.3),
}
HEADS = {
    "root of p v, binary cross-entropy": Student(),
    "p alone": Student(options=(("score", "p"),)),
    "softmax": Student(options=(("form", "softmax"),)),
    "span 1.7": Student(options=(("span", 1.7),)),
}


def with_intervals(count: int) -> Student:
    """The full method with so many intervals; 30 are the detector's own number."""
    return Student() if count == 30 else Student(options=(("intervals", count),))


def components(profile: Profile) -> Iterator[Cell]:
    """Table 3.4."""
    yield from _rows(profile, COMPONENTS)


def views(profile: Profile) -> Iterator[Cell]:
    """Table 3.5."""
    yield from _rows(profile, VIEWS)


def intervals(profile: Profile) -> Iterator[Cell]:
    """Table 3.6."""
    yield from _rows(profile, {f"K {k}": (with_intervals(k), papers) for k, papers in INTERVALS.items()})


def powers(profile: Profile) -> Iterator[Cell]:
    """Table 3.7."""
    rows = {
        f"gamma1 {one:g}, gamma2 {two:g}": (Student(gammas=(one, two)), papers) for (one, two), papers in POWERS.items()
    }
    yield from _rows(profile, rows)


def _rows(profile: Profile, rows: dict[str, tuple[Student, tuple[float, float, float]]]) -> Iterator[Cell]:
    chapter = of_chapter(profile)
    for row, (student, published) in rows.items():
        model = student_of(chapter, student)
        yield from three(chapter, row, model, published, note_of(model))


def rare(profile: Profile) -> Iterator[Cell]:
    """Table 3.3, left, on the images of Table 3.4, and beside it on long-tailed ones."""
    published = {"ap_det": (21.6, 22.5), "ap_det_rare": (23.9, 26.0)}
    rows = {"ap_det": "Overall", "ap_det_rare": "Rarest classes"}
    for tailed in (False, True):
        if tailed and not isinstance(profile.data, SceneData):
            continue
        chapter = of_chapter(long_tailed(profile) if tailed else profile)
        percent = 10 if tailed else 2
        for column, place, gammas in (("without", 0, OFF), ("with", 1, GAMMAS)):
            model = student_of(chapter, Student(gammas=gammas, percent=percent))
            for metric, row in rows.items():
                yield Cell(
                    row=f"{row}, long tail" if tailed else row,
                    column=column,
                    metric=metric,
                    stage=judged(chapter, model, metric),
                    paper=None if tailed else published[metric][place],
                    note=note_of(model, f"class k in proportion to k^-{TAIL:g}" if tailed else ""),
                )


def ensemble(profile: Profile) -> Iterator[Cell]:
    """Table 3.3, middle."""
    chapter = of_chapter(profile)
    model = student_of(chapter, Student())
    yield from three(chapter, "Single model", model, (37.1, 23.7, 22.5), note_of(model))
    for figure, paper in zip(FIGURES, (37.9, 24.1, 23.0), strict=True):
        why = "two teachers and two students; casl stores the labels of one teacher"
        yield quoted("Ensemble", figure, "ap_det", paper, figure=figure, note=why)


def sampling(profile: Profile) -> Iterator[Cell]:
    """Table 3.3, right."""
    chapter, told = of_chapter(profile), data_note(profile, "small")
    for row, union, published in (("Original", True, (79.6, 61.2, 56.1)), ("1:1 sampling", False, (79.8, 62.1, 56.9))):
        model = voc_student(chapter, "small", multi=True, union=union)
        yield from three(chapter, row, model, published, note_of(model, told))


def tail(profile: Profile) -> Iterator[Cell]:
    """Parts on images whose last classes are rare."""
    chapter = of_chapter(long_tailed(profile))
    told = f"class k in proportion to k^-{TAIL:g}" if isinstance(profile.data, SceneData) else "classes as they are"
    for row, (student, _) in COMPONENTS.items():
        model = student_of(chapter, replace(student, percent=10))
        for column, metric in (("AP", "ap_det"), ("AP of the rarest", "ap_det_rare")):
            stage = judged(chapter, model, metric)
            yield Cell(row=row, column=column, metric=metric, stage=stage, note=note_of(model, told))


def heads(profile: Profile) -> Iterator[Cell]:
    """What the text leaves open about the head."""
    chapter = of_chapter(profile)
    for row, student in HEADS.items():
        model, stage = student_of(chapter, student), None
        stage = judged(chapter, model)
        for figure in FIGURES:
            yield Cell(row=row, column=figure, metric="ap_det", stage=stage, figure=figure, note=note_of(model))


TABLE_3_3A = Ablation(
    name="certain_3_3a",
    title="Thresholds and weights by class, and rare classes",
    source=f"{SOURCE} Table 3.3 left",
    cells=rare,
    rows="classes",
    columns="thresholds and weights by class",
    baseline="without",
)
TABLE_3_3B = Ablation(
    name="certain_3_3b",
    title="Certainty-aware pseudo labels, ensembles",
    source=f"{SOURCE} Table 3.3 middle",
    cells=ensemble,
    rows="models",
    columns="figure",
    unit="row",
)
TABLE_3_3C = Ablation(
    name="certain_3_3c",
    title="How labeled and unlabeled images are mixed",
    source=f"{SOURCE} Table 3.3 right",
    cells=sampling,
    rows="sampling",
    columns="figure",
    unit="row",
    baseline="Original",
)
TABLE_3_4 = Ablation(
    name="certain_3_4",
    title="Parts of certainty-aware pseudo labels",
    source=f"{SOURCE} Table 3.4",
    cells=components,
    rows="parts",
    columns="figure",
    unit="row",
    baseline=NOTHING,
)
TABLE_3_5 = Ablation(
    name="certain_3_5",
    title="Augmentation of the student's images",
    source=f"{SOURCE} Table 3.5",
    cells=views,
    rows="augmentation",
    columns="figure",
    unit="row",
    baseline="none",
)
TABLE_3_6 = Ablation(
    name="certain_3_6",
    title="Number of intervals",
    source=f"{SOURCE} Table 3.6",
    cells=intervals,
    rows="intervals",
    columns="figure",
    unit="row",
    figure="curves",
)
TABLE_3_7 = Ablation(
    name="certain_3_7",
    title="Powers of thresholds and of weights",
    source=f"{SOURCE} Table 3.7",
    cells=powers,
    rows="powers",
    columns="figure",
    unit="row",
)
TABLE_TAIL = Ablation(
    name="certain_tail",
    title="Parts of certainty-aware pseudo labels where classes are rare",
    source="not in the dissertation",
    cells=tail,
    rows="parts",
    columns="figure",
    unit="row",
    baseline=NOTHING,
)
TABLE_HEAD = Ablation(
    name="certain_head",
    title="What the text leaves open about the head of intervals",
    source="not in the dissertation",
    cells=heads,
    rows="head",
    columns="figure",
    unit="row",
)
