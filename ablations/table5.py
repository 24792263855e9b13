"""Table 5: does a better labeler make a better target? (AP^e of both on val2017)

Run:     make table5
Expect:  paper profile, labelers from 38.0 to 42.1 and targets from 36.1 to 40.2, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator

from casl.spec import Ablation, Cell, Labeler, Profile, evaluate, labeler, pseudo_label, warmup

# column -> (backbone, labeler's AP^e, target's AP^e)
PAPER = {
    "R-101": ("resnet101", 38.0, 36.1),
    "Swin-T": ("swin_t", 39.1, 37.3),
    "Swin-S": ("swin_s", 40.6, 38.8),
    "Swin-B": ("swin_b", 41.4, 39.6),
    "Swin-L": ("swin_l", 42.1, 40.2),
}


def cells(profile: Profile) -> Iterator[Cell]:
    for column, (backbone, of_labeler, of_target) in PAPER.items():
        trained = labeler(profile, backbone=backbone)
        target = warmup(profile, pseudo=pseudo_label(profile, trained))
        note = stand_in(profile, trained, column)
        for row, model, paper in (("labeler", trained, of_labeler), ("warmed-up target", target, of_target)):
            stage = evaluate(profile, model, "ap_e")
            yield Cell(row=row, column=column, metric="ap_e", stage=stage, paper=paper, note=note)


def stand_in(profile: Profile, trained: Labeler, name: str) -> str:
    """What a small profile has for a published labeler: its backbone, and its images' short side where these differ."""
    if not profile.small:
        return ""
    size = f" on images of {profile.sides(trained)[0]} px" if profile.labeler_sizes else ""
    return f"{trained.model.backbone}{size} stands for {name}"


ABLATION = Ablation(
    name="table5",
    title="Pseudo labeler and warmed-up target detector",
    source="CA-SSL (ECCV 2022), Table 5",
    cells=cells,
    rows="model",
    columns="backbone of the labeler",
    unit="column",
    figure="scatter",
)
