"""NoisyAnchor (chapter 2) in proposals, and what it does to confidence (COCO minival).

Run:     casl run noisy_2_5      (and noisy_2_6, noisy_2_7)
Expect:  paper profile, recall of 100 proposals from 43.3 to 51.1, Faster R-CNN from 36.8 to 37.8; less confident
         predictions that fit as well.

Alpha, N and sampling of the proposals are not published: alpha .75 and N 30 as for RetinaNet, 256 anchors of an image,
at most half of them positives. Where images are small, 10, 30 and 100 proposals stand for 100, 300 and 1,000.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ablations.noisy import (
    COLUMNS,
    PUBLISHED_N,
    SOURCE,
    anchors_for,
    noisy,
    said,
    trained,
)
from casl.spec import Ablation, Cell, Finetune, Profile, evaluate, quoted

PROPOSALS = {"AR100": "AR10", "AR300": "AR30", "AR1000": "AR100"}  # as published -> in small images
RPN, ALONE, FASTER_RCNN = "RPN Baseline", "proposals", "faster_rcnn_noisy"
# row -> AR100, AR300, AR1000
RECALLS = {
    RPN: (43.3, 51.6, 56.9),
    "RPN-0.5": (46.8, 53.4, 56.2),
    "RPN+Iterative": (49.7, 56.0, 60.0),
    "RefineRPN": (50.2, 56.3, 60.6),
    "RPN-0.5 + SR": (48.3, 54.6, 56.6),
    "Ours": (51.1, 57.0, 60.3),
}
TWO_STEPS = "published for another method, which regresses proposals twice: casl does not have it"
PLAIN: Mapping[str, Any] = {"label": "hard", "clean_gamma": 0.0}
HALF: Mapping[str, Any] = {"assign": "iou", "fg_iou": 0.5, "bg_iou": 0.5}
# row -> AP, AP50, AP75, APs, APm, APl
FASTER = {
    "Baseline": (36.8, 58.5, 39.8, 21.0, 39.9, 47.6),
    "Ours": (37.8, 59.2, 41.1, 21.7, 41.3, 48.9),
}
# column -> (metric, figure, baseline, ours), percent
CONFIDENCE = {
    "mean confidence before NMS": ("fit_raw", "confidence", 84.5, 78.2),
    "mean IoU before NMS": ("fit_raw", "iou", 89.5, 88.2),
    "correlation before NMS": ("fit_raw", "pearson", 16.9, 19.4),
    "mean confidence after NMS": ("fit", "confidence", 95.8, 92.0),
    "mean IoU after NMS": ("fit", "iou", 91.4, 92.1),
}


def by_proposals(profile: Profile) -> Iterator[Cell]:
    method = {"top_n": anchors_for(profile, PUBLISHED_N, ALONE), "clean_alpha": 0.75, "clean_gamma": 1.0}
    options = {
        RPN: {"assign": "iou", **PLAIN},
        "RPN-0.5": {**HALF, **PLAIN},
        "RPN-0.5 + SR": {**HALF, "clean_alpha": 0.75, "clean_gamma": 1.0, "label": "hard"},
        "Ours": method | {"label": "released"},
    }
    for row, published in RECALLS.items():
        if row not in options:
            metric, figures = _recall(profile)
            for column, paper in zip(PROPOSALS, published, strict=True):
                yield quoted(row, column, metric, paper, figure=figures[column], note=TWO_STEPS)
            continue
        model = trained(profile, detector=ALONE, **options[row])
        more = profile.start if row == RPN else ""
        note = said(profile, n=PUBLISHED_N * (row == "Ours"), more=more, detector=ALONE)
        yield from _recalls(profile, row, model, published, note)


def _recall(profile: Profile) -> tuple[str, Mapping[str, str]]:
    """The metric, and its figures by column."""
    return ("ar_proposals", PROPOSALS) if profile.small else ("ar_proposals_1000", {name: name for name in PROPOSALS})


def _recalls(profile: Profile, row: str, model: Finetune, published: tuple[float, ...], note: str) -> Iterator[Cell]:
    metric, figures = _recall(profile)
    stage = evaluate(profile, model, metric)
    for column, paper in zip(PROPOSALS, published, strict=True):
        figure = figures[column]
        words = "; ".join(filter(None, (note, f"{figure} stands for {column}" if figure != column else "")))
        yield Cell(row=row, column=column, metric=metric, stage=stage, paper=paper, figure=figure, note=words)


def by_detector(profile: Profile) -> Iterator[Cell]:
    n = anchors_for(profile, PUBLISHED_N, FASTER_RCNN)
    models = {
        "Baseline": trained(profile, detector="faster_rcnn"),
        "Ours": trained(profile, detector=FASTER_RCNN, clean_alpha=0.75, top_n=n),
    }
    for row, published in FASTER.items():
        ours = row == "Ours"
        note = said(profile, n=PUBLISHED_N * ours, more="" if ours else profile.start, detector=FASTER_RCNN)
        stage = evaluate(profile, models[row], "ap_det")
        for (column, figure), paper in zip(COLUMNS.items(), published, strict=True):
            yield Cell(row=row, column=column, metric="ap_det", stage=stage, paper=paper, figure=figure, note=note)


def by_confidence(profile: Profile) -> Iterator[Cell]:
    models = {"Baseline": trained(profile), "Ours": noisy(profile, alpha=0.75)}
    for row, model in models.items():
        ours = row == "Ours"
        note = said(profile, n=PUBLISHED_N * ours, more="" if ours else profile.start)
        for column, (metric, figure, of_baseline, of_ours) in CONFIDENCE.items():
            stage = evaluate(profile, model, metric)
            paper = of_ours if ours else of_baseline
            yield Cell(row=row, column=column, metric=metric, stage=stage, paper=paper, figure=figure, note=note)


TABLE_2_5 = Ablation(
    name="noisy_2_5",
    title="Recall of proposals that learn from noisy anchors",
    source=SOURCE + "2.5",
    cells=by_proposals,
    rows="proposal network",
    columns="figure",
    unit="row",
    figure="bars",
    baseline=RPN,
)
TABLE_2_6 = Ablation(
    name="noisy_2_6",
    title="Faster R-CNN whose proposals learn from noisy anchors",
    source=SOURCE + "2.6",
    cells=by_detector,
    rows="model",
    columns="figure",
    unit="row",
    figure="bars",
    baseline="Baseline",
)
TABLE_2_7 = Ablation(
    name="noisy_2_7",
    title="Confidence and IoU of the most confident predictions",
    source=SOURCE + "2.7",
    cells=by_confidence,
    rows="model",
    columns="figure",
    unit="row",
    figure="bars",
    baseline="Baseline",
)
