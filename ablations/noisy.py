"""NoisyAnchor (chapter 2): RetinaNet whose anchors are judged by its own outputs (AP of boxes on COCO minival).

Run:     casl run noisy_2_2      (and noisy_2_3, noisy_2_4a, noisy_2_4b, noisy_2_4c, noisy_labels, noisy_warmup)
Expect:  paper profile, ResNet-50 from 36.2 to 38.0 with alpha .75; soft labels bring .9, weights .5, both 1.5.

21 trainings give the 27 rows that the dissertation prints in Tables 2.2 to 2.4. Its ablations begin at alpha .5, its
table of backbones has alpha .75. The detector stands behind torchvision's head whatever the provider. `noisy_labels`
and `noisy_warmup` are tables of ours. Readings that the source leaves open: docs/dissertation.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from casl.spec import (
    Ablation,
    Cell,
    Finetune,
    Profile,
    Warmup,
    evaluate,
    finetune,
    labeler,
    pseudo_label,
    warmup,
)

SOURCE = "NoisyAnchor (dissertation, chapter 2; CVPR 2020), Table "
R50, NOISY = "ResNet-50", "retinanet_noisy"
# backbone -> the paper's name of it, and of what stands for it in small profiles, where three differ and get stronger
BACKBONES = {
    R50: ("resnet50", "swin_t"),
    "ResNet-101": ("resnet101", "swin_b"),
    "ResNeXt-101": ("resnext101", "swin_l"),
}
PUBLISHED_N = 30
FEWEST = 3  # at 64 px the third-best anchor of an object overlaps it as the thirtieth does at 800
SMALL_SCHEDULE = 3  # in small profiles 1x, the published length, is too short for differences of methods
SHOWS_NOTHING = 100  # iterations of 1x below which a profile shows that everything runs, and no difference of methods
BASELINE = "neither"

# row -> AP, AP50, AP75
BY_BACKBONE = {
    (R50, "Baseline"): (36.2, 54.0, 38.7),
    (R50, "Ours"): (38.0, 56.9, 40.6),
    ("ResNet-101", "Baseline"): (38.1, 56.4, 40.7),
    ("ResNet-101", "Ours"): (40.2, 59.3, 42.9),
    ("ResNeXt-101", "Baseline"): (40.3, 59.2, 43.1),
    ("ResNeXt-101", "Ours"): (42.3, 61.6, 45.4),
}
# row -> AP, AP50, AP75, APs, APm, APl
BY_COMPONENT = {
    BASELINE: (36.2, 54.0, 38.7, 19.3, 40.1, 48.8),
    "SL": (37.1, 56.5, 40.0, 19.4, 40.9, 49.3),
    "SR": (36.7, 54.4, 39.3, 19.5, 40.3, 49.4),
    "SL + SR": (37.7, 56.5, 40.2, 20.0, 41.1, 51.2),
}
BY_GAMMA = {
    0.0: (37.1, 56.6, 40.0),
    0.5: (37.6, 56.9, 40.1),
    1.0: (37.7, 56.5, 40.2),
    1.25: (37.7, 56.2, 40.3),
    1.5: (37.7, 55.9, 40.5),
    1.75: (35.9, 52.9, 38.4),
}
# (N as published, gamma) -> AP, AP50, AP75; None for two of ours, below what is published
BY_N: dict[tuple[int, float], tuple[float, float, float] | None] = {
    (10, 1.0): None,
    (20, 1.0): None,
    (30, 1.0): (37.7, 56.5, 40.2),
    (40, 1.0): (37.7, 56.8, 40.3),
    (50, 1.0): (37.3, 56.2, 39.9),
    (60, 1.0): (37.1, 55.8, 39.5),
    (80, 1.0): (36.6, 55.6, 38.9),
    (80, 1.25): (36.9, 55.5, 39.2),
}
BY_ALPHA = {
    0.0: (37.3, 56.3, 39.7),
    0.25: (37.3, 56.2, 39.9),
    0.5: (37.7, 56.5, 40.2),
    0.75: (38.0, 56.9, 40.6),
    1.0: (37.8, 56.5, 40.5),
}
COLUMNS = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "APS": "APs", "APM": "APm", "APL": "APl"}
ONE_RUN = "printed with AP50 56.5 as SL of Table 2.3 and 56.6 here: one training"
NOTHING_SOFT: Mapping[str, Any] = {"label": "hard", "gamma": 0.0}


def density(profile: Profile, detector: str = NOISY) -> float:
    """Anchors that overlap an object, in relation to COCO's sizes: their sizes follow the profile's, their strides do
    not, so it goes with the square."""
    model = trained(profile, detector=detector).model
    return (model.anchor_scale * model.ranges[0] / 64) ** 2


def anchors_for(profile: Profile, published: int, detector: str = NOISY) -> int:
    """What stands for a published number of anchors of an object: one of about the same overlap."""
    return max(1, round(max(FEWEST, PUBLISHED_N * density(profile, detector)) * published / PUBLISHED_N))


def length(profile: Profile, wanted: int) -> int:
    """A schedule in x: the one that is wanted, or 1x where no length would show a difference."""
    return wanted if profile.iters_1x >= SHOWS_NOTHING else 1


def _published(profile: Profile) -> int:
    """What stands for the published length of a RetinaNet."""
    return length(profile, SMALL_SCHEDULE if profile.small else 1)


def trained(profile: Profile, backbone: str = R50, detector: str = "retinanet", **options: Any) -> Finetune:
    """A detector, without warmup, of a published backbone and of the published length.

    Args:
        options: of the detector.
    """
    plain = profile if profile.provider == "torchvision" else replace(profile, provider="torchvision")
    name, small = BACKBONES[backbone]
    schedule = _published(profile)
    stage = finetune(plain, None, schedule=schedule, detector=detector, backbone=small if profile.small else name)
    return replace(stage, model=replace(stage.model, options=tuple(sorted(options.items()))))


def noisy(
    profile: Profile,
    backbone: str = R50,
    *,
    n: int = PUBLISHED_N,
    alpha: float = 0.5,
    gamma: float = 1.0,
    label: str = "released",
    **options: Any,
) -> Finetune:
    """A RetinaNet on noisy anchors.

    Args:
        n: anchors of an object as published.
        alpha, gamma, label: as of casl.models.noisy.Rule.
        options: further ones of the detector.
    """
    values = {"top_n": anchors_for(profile, n), "clean_alpha": alpha, "clean_gamma": gamma, "label": label} | options
    return trained(profile, backbone, NOISY, **_start(profile), **values)


def _start(profile: Profile) -> dict[str, Any]:
    """The released normaliser begins at 100, a number of anchors that suits COCO; a small profile's with a batch."""
    return {"start": 0.0} if profile.small else {}


def said(profile: Profile, *, backbone: str = "", n: int = 0, more: str = "", detector: str = NOISY) -> str:
    """What differs from the published setting, for the note of a cell."""
    words = [more]
    if profile.small:
        stands = profile.backbone(BACKBONES[backbone][1]) if backbone else ""
        words += [f"{stands} stands for {backbone}"] * bool(backbone)
        ours = anchors_for(profile, n, detector)
        words += [f"N {ours} stands for {n}"] * (n > 0 and ours != n)
        words += [f"{_published(profile)}x, published 1x"] * (_published(profile) > 1)
    return "; ".join(filter(None, words))


def of_row(
    profile: Profile, row: str, model: Finetune, published: tuple[float, ...] | None, note: str, count: int = 3
) -> Iterator[Cell]:
    """Cells of one training: the first `count` columns."""
    stage = evaluate(profile, model, "ap_det")
    papers = published or (None,) * count
    for (column, figure), paper in zip(list(COLUMNS.items())[:count], papers, strict=True):
        yield Cell(row=row, column=column, metric="ap_det", stage=stage, paper=paper, figure=figure, note=note)


def by_backbone(profile: Profile) -> Iterator[Cell]:
    for (backbone, whose), published in BY_BACKBONE.items():
        ours = whose == "Ours"
        model = noisy(profile, backbone, alpha=0.75) if ours else trained(profile, backbone)
        note = said(profile, backbone=backbone, n=PUBLISHED_N * ours, more="" if ours else profile.start)
        yield from of_row(profile, f"{whose}, {backbone}", model, published, note)


def by_component(profile: Profile) -> Iterator[Cell]:
    models = {
        BASELINE: trained(profile),
        "SL": noisy(profile, gamma=0.0),
        "SR": noisy(profile, label="hard"),
        "SL + SR": noisy(profile),
    }
    for row, published in BY_COMPONENT.items():
        alone = row == BASELINE
        note = said(profile, n=PUBLISHED_N * (not alone), more=profile.start if alone else "")
        yield from of_row(profile, row, models[row], published, note, 6)


def by_gamma(profile: Profile) -> Iterator[Cell]:
    for gamma, published in BY_GAMMA.items():
        note = said(profile, n=PUBLISHED_N, more="" if gamma else ONE_RUN)
        yield from of_row(profile, f"gamma {gamma}", noisy(profile, gamma=gamma), published, note)


def by_n(profile: Profile) -> Iterator[Cell]:
    for (n, gamma), published in BY_N.items():
        note = said(profile, n=n, more="" if published else "not published")
        yield from of_row(profile, f"N {n}, gamma {gamma}", noisy(profile, n=n, gamma=gamma), published, note)


def by_alpha(profile: Profile) -> Iterator[Cell]:
    for alpha, published in BY_ALPHA.items():
        note = said(profile, n=PUBLISHED_N)
        yield from of_row(profile, f"alpha {alpha}", noisy(profile, alpha=alpha), published, note)


def by_label(profile: Profile) -> Iterator[Cell]:
    """Released against literal, and what of the baseline differs beside: its losses, and its assignment."""
    same: dict[str, Any] = {"assign": "iou", "focal_alpha": 0.25}
    models = {
        "baseline": trained(profile),
        "baseline, focal alpha .5": trained(profile, focal_alpha=0.5),
        "baseline, losses of the method": noisy(profile, alpha=0.75, **NOTHING_SOFT, **same),
        "top-N alone": noisy(profile, alpha=0.75, **NOTHING_SOFT),
        "released": noisy(profile, alpha=0.75),
        "literal": noisy(profile, alpha=0.75, label="literal"),
        "literal, SL": noisy(profile, alpha=0.75, gamma=0.0, label="literal"),
    }
    for row, model in models.items():
        plain = row.startswith("baseline")
        note = said(profile, n=PUBLISHED_N * (not plain), more=profile.start if plain else "")
        yield from of_row(profile, row, model, None, note)


def warmed_up(profile: Profile, clean: str = "off", gamma: float = 1.0) -> Warmup:
    """The default warmup of FCOS; unless "off", its locations judged as anchors are."""
    labels = pseudo_label(profile, labeler(profile))
    stage = warmup(profile, schedule=length(profile, 5), pseudo=labels, detector="fcos")
    if clean == "off":
        return stage
    options = (("clean", clean), ("clean_alpha", 0.75), ("clean_gamma", gamma))
    return replace(stage, model=replace(stage.model, options=options))


def by_warmup(profile: Profile) -> Iterator[Cell]:
    """Scores of the method on FCOS' positives of a warmup, whose labels are noisy by construction."""
    models = {
        "plain": warmed_up(profile),
        "soft labels": warmed_up(profile, "released", 0.0),
        "weights": warmed_up(profile, "hard"),
        "soft labels and weights": warmed_up(profile, "released"),
        "soft labels and weights, literal": warmed_up(profile, "literal"),
    }
    for row, warm in models.items():
        note = profile.start if row == "plain" else ""
        for column, metric, model in (
            ("warmup AP^det-a", "ap_det_a", warm),
            ("finetuned AP^det", "ap_det", finetune(profile, warm, schedule=length(profile, 3))),
        ):
            yield Cell(row=row, column=column, metric=metric, stage=evaluate(profile, model, metric), note=note)


def _of_retinanet(name: str, title: str, cells: Any, number: str = "", **facts: Any) -> Ablation:
    source = SOURCE + number if number else "not in the dissertation"
    return Ablation(f"noisy_{name}", title, source, cells, columns="figure", unit="row", **facts)


TABLE_2_2 = _of_retinanet("2_2", "Noisy anchors with three backbones", by_backbone, "2.2", rows="model", figure="bars")
TABLE_2_3 = _of_retinanet(
    "2_3",
    "Soft labels (SL) and weights (SR) of noisy anchors",
    by_component,
    "2.3",
    rows="components",
    figure="bars",
    baseline=BASELINE,
)
TABLE_2_4A = _of_retinanet("2_4a", "Power of the weights of anchors", by_gamma, "2.4", rows="gamma", figure="curves")
TABLE_2_4B = _of_retinanet("2_4b", "Anchors of an object", by_n, "2.4", rows="N and gamma", figure="curves")
TABLE_2_4C = _of_retinanet("2_4c", "Localisation in the cleanliness", by_alpha, "2.4", rows="alpha", figure="curves")
LABELS = _of_retinanet(
    "labels", "Noisy anchors as released and as written", by_label, rows="model", figure="bars", baseline="baseline"
)
WARMUP = Ablation(
    name="noisy_warmup",
    title="A warmup whose locations are judged as noisy anchors",
    source="not in the dissertation",
    cells=by_warmup,
    rows="warmup",
    columns="metric",
    unit="row",
    figure="bars",
    baseline="plain",
)
