"""Detectors: what each learns, takes, gives and converts to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from casl.rows import PARTS, Converts, Detector


def _detectron2(row: Detector, build: str, classifier: tuple[str, ...], **converts: Any) -> Detector:
    """detectron2's form of a framework: it learns and predicts the same; processes cannot share its training."""
    return replace(
        row,
        build=f"casl.models.frameworks.{build}",
        divisible=False,
        classifier=classifier,
        head=("framework.",),
        graph="",
        no_graph="its heads are detectron2's, which exports them itself: `--to detectron2` gives it the weights",
        converts=Converts(project="detectron2", **converts),
    )


_DENSE = {"detectron2": ("head.*",), "torchvision": ("head.*",)}
_REGIONS = ("proposal_generator.*", "roi_heads.*")
_TWO_STAGE = {"detectron2": _REGIONS, "torchvision": ("rpn.*", "roi_heads.*")}
_RPN = "framework.rpn.head.cls_logits.weight"
_BOXES = "framework.roi_heads.box_predictor."  # four numbers a class
_MASKS, _POINTS = "framework.roi_heads.mask_head.", "framework.roi_heads.keypoint_head."
_D2_RPN = "framework.proposal_generator.rpn_head.objectness_logits.weight"

FCOS = Detector(
    "casl.models.fcos:build",
    takes=PARTS,
    divisible=True,
    settings=("clean", "clean_alpha", "clean_gamma", "towers"),
    classifier=("head.cls_logits.",),
    head=("head.",),
    converts=Converts(marks=("head.",), targets=_DENSE),
    graph="casl.models.graphs.dense:FCOSGraph",
    teaches="dense",
)
RETINANET = Detector(
    "casl.models.frameworks.retinanet:build",
    divisible=True,
    settings=("anchor_scale", "head_norm"),
    classifier=("framework.head.classification_head.cls_logits.",),
    light={"head_norm": True},  # few channels lose the signal without
    converts=Converts(
        marks=("framework.head.classification_head.cls_logits.weight",), project="torchvision", targets=_DENSE
    ),
    graph="casl.models.graphs.framework:FrameworkGraph",
)
CLEAN = ("assign", "clean_alpha", "clean_gamma", "label", "top_n")  # of whatever learns from noisy anchors
# The head, its anchors and its selection; what it minimises is defined over whole batches.
RETINANET_NOISY = replace(
    RETINANET,
    build="casl.models.frameworks.retinanet_noisy:build",
    divisible=False,
    settings=("anchor_scale", *CLEAN, "focal_alpha", "head_norm", "start"),
    converts=None,
)
# Heads on crops of objects cost most of Tables 2 and 10 on a CPU, in proportion to the crops: 16 an image instead of 32
# halve it. Keypoint R-CNN's head is eight convolutions twice as wide as the neck; four take 0.6 of the time.
FASTER_RCNN = Detector(
    "casl.models.frameworks.faster_rcnn:build",
    settings=("rois",),
    classifier=(_BOXES,),
    light={"rois": 16},
    converts=Converts(marks=(_RPN,), project="torchvision", targets=_TWO_STAGE, reads_p2=True),
    graph="casl.models.graphs.framework:FrameworkGraph",
)
MASK_RCNN = replace(
    FASTER_RCNN,
    build="casl.models.frameworks.faster_rcnn:build_mask",
    outputs=("masks",),
    settings=("rois", "towers"),
    classifier=(_BOXES, "framework.roi_heads.mask_predictor.mask_fcn_logits."),
    converts=Converts(marks=(_RPN, _MASKS), project="torchvision", targets=_TWO_STAGE, reads_p2=True),
    graph="casl.models.graphs.framework:MaskGraph",
)
KEYPOINT_RCNN = replace(
    FASTER_RCNN,
    build="casl.models.frameworks.faster_rcnn:build_keypoint",
    learns="keypoints",
    outputs=("keypoints",),
    settings=("keypoints", "rois", "towers"),
    light={"rois": 16, "towers": 2},
    converts=Converts(marks=(_RPN, _POINTS), project="torchvision", targets=_TWO_STAGE, reads_p2=True),
    graph="casl.models.graphs.framework:KeypointGraph",
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
    graph="",
    no_graph="none has been written for its map of stuff",
)
_STAGES = range(3)
_STAGE = "framework.roi_heads.{}."  # of a cascade; its boxes have four numbers for all classes
CASCADE_RCNN = replace(
    FASTER_RCNN,
    build="casl.models.frameworks.cascade_rcnn:build",
    settings=("rois",),
    classifier=tuple(f"{_STAGE.format(stage)}box_predictor.cls_score." for stage in _STAGES),
    converts=Converts(
        marks=(_RPN, _STAGE.format(2)), project="torchvision", targets={"detectron2": _REGIONS}, reads_p2=True
    ),
    softens=True,
    graph="",
    no_graph="none has been written for its stages",
)
HTC = replace(
    CASCADE_RCNN,
    build="casl.models.frameworks.htc:build",
    learns="panoptic",  # "objects" leaves the semantic branch out
    outputs=("masks",),
    settings=("rois", "semantic_weight", "stuff", "towers"),
    light={"rois": 8},  # crops for three stages of boxes, masks and stuff take two thirds of its time on a CPU
    classifier=(
        *CASCADE_RCNN.classifier,
        *(f"{_STAGE.format(stage)}mask_predictor.mask_fcn_logits." for stage in _STAGES),
        "semantic.classes.",
    ),
    head=("framework.", "semantic."),
    converts=Converts(marks=(_RPN, _STAGE.format(2), "framework.flows."), project="torchvision", reads_p2=True),
)

DETECTORS = {
    "cascade_rcnn": CASCADE_RCNN,
    "condinst": replace(
        FCOS,
        build="casl.models.condinst:build",
        outputs=("masks", "entities"),
        settings=("entity_head", "towers"),
        head=("head.", "mask_branch.", "mask_head."),
        converts=Converts(marks=("head.", "mask_branch."), name="fcos"),
        graph="casl.models.graphs.dense:CondInstGraph",
    ),
    "d2_cascade_rcnn": _detectron2(
        replace(CASCADE_RCNN, softens=False),
        "detectron2_cascade:build",
        tuple(f"{_BOXES}{stage}.cls_score." for stage in _STAGES),
        marks=(_D2_RPN, f"{_BOXES}2."),
        name="cascade_rcnn",
        reads_p2=True,
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
    "faster_rcnn": replace(FASTER_RCNN, settings=("proposals", "rois"), teaches="regions"),
    "faster_rcnn_interval": replace(
        FASTER_RCNN,
        build="casl.models.frameworks.interval_rcnn:build",
        settings=("form", "intervals", "proposals", "rois", "score", "span"),
        converts=Converts(marks=(_RPN, "framework.roi_heads.side_predictor."), project="torchvision", reads_p2=True),
        graph="",
        no_graph="none has been written for its intervals",
        teaches="intervals",
    ),
    "faster_rcnn_noisy": replace(
        FASTER_RCNN,
        build="casl.models.frameworks.noisy_proposals:build_faster_rcnn",
        settings=(*CLEAN, "rois"),
        converts=None,
    ),
    "fcos": FCOS,
    "htc": HTC,
    "keypoint_rcnn": KEYPOINT_RCNN,
    "mask_rcnn": MASK_RCNN,
    "panoptic_fpn": PANOPTIC_FPN,
    "proposals": Detector(
        "casl.models.frameworks.noisy_proposals:build",
        settings=("bg_iou", *CLEAN, "fg_iou"),
        no_graph="it proposes regions to other detectors",
    ),
    "retinanet": replace(RETINANET, settings=("anchor_scale", "focal_alpha", "head_norm")),
    "retinanet_noisy": RETINANET_NOISY,
}
