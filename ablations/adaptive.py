"""Adaptive labeling: a labeler that skips blocks of its Swin where an image does not need them. Not a table of a paper.

Run:     casl run adaptive && casl report adaptive; benchmarks/adaptive.py measures multiply-adds and images a second
Expect:  AdaViT (chapter 6 of the dissertation) classifies images with half of the operations for 0.8 points. Stage 3 of
         Swin-L has 76 % of its multiply-adds; with 70 % of its block halves 77 % of the backbone's are left.
         It is a gain only if it beats a smaller labeler, or smaller images, at the same cost: the rows below.

In small profiles a Swin of 32 channels stands for the labeler's. Labels cost less than 1 % of a run's time there: what
is saved can be measured and is of no use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from casl.spec import Ablation, Cell, Labeler, Profile, PseudoLabel, adaptive, evaluate, labeler, pseudo_label, warmup

ALL, LONGER = "all blocks", "all blocks, trained on"
USAGES = (0.9, 0.7, 0.5)
SMALLER, FEWER = "smaller labeler", "images of 3/4 the side"
RIVAL = "swin_s"
SIDE = 0.75
LABELS, TARGET = "labeler AP^e", "warmup AP^e"


def cells(profile: Profile) -> Iterator[Cell]:
    profile, note = _with_swin(profile)
    first = labeler(profile)
    for row, trained, told in _labelers(profile, first):
        labels = pseudo_label(profile, trained)
        if row == FEWER:
            labels = _smaller(labels)
        stage = evaluate(profile, trained, "ap_e")
        if row == FEWER:
            stage = replace(stage, size=labels.size, max_size=labels.max_size)
        notes = "; ".join(filter(None, (told, note if row != SMALLER else "")))
        yield Cell(row=row, column=LABELS, metric="ap_e", stage=stage, note=notes)
        target = evaluate(profile, warmup(profile, pseudo=labels), "ap_e")
        yield Cell(row=row, column=TARGET, metric="ap_e", stage=target, note=notes)


def _labelers(profile: Profile, first: Labeler) -> Iterator[tuple[str, Labeler, str]]:
    yield ALL, first, ""
    yield LONGER, adaptive(profile, first, 1.0), "1x more, without policies"
    for usage in USAGES:
        told = f"1x more; the loss pulls the share of stage 3's block halves that run to {usage:.0%}"
        yield f"{usage:.0%} of stage 3", adaptive(profile, first, usage), told
    yield SMALLER, labeler(profile, backbone=RIVAL), f"{profile.backbone(RIVAL)}"
    yield FEWER, first, "the labeler as it is"


def _smaller(labels: PseudoLabel) -> PseudoLabel:
    return replace(labels, size=round(SIDE * labels.size), max_size=round(SIDE * labels.max_size))


def _with_swin(profile: Profile) -> tuple[Profile, str]:
    if not profile.small:
        return profile, ""
    stands = {**profile.backbones, profile.labeler_backbone: "swin_mini"}
    return replace(profile, backbones=stands), "swin_mini stands for Swin-L"


ABLATION = Ablation(
    name="adaptive",
    title="A labeler that skips blocks, beside a smaller one and smaller images",
    source="not in the paper; after AdaViT, chapter 6 of the dissertation",
    cells=cells,
    rows="labeler",
    columns="metric",
    unit="row",
    figure="bars",
    baseline=ALL,
)
