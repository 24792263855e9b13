"""Every name a spec may use, and where it lives: name -> "module:attribute".

Nothing is registered by importing: a new detector, metric, backbone, augmentation or launcher is one file and one line
here. `load` imports the module at the moment of use, so that planning never imports torch.
"""

from __future__ import annotations

import importlib
from typing import Any

from casl.errors import SpecError, unknown

DETECTORS = {
    "condinst": "casl.models.condinst:build",
    "d2_faster_rcnn": "casl.models.frameworks.detectron2_rcnn:build",
    "d2_keypoint_rcnn": "casl.models.frameworks.detectron2_rcnn:build_keypoint",
    "d2_mask_rcnn": "casl.models.frameworks.detectron2_rcnn:build_mask",
    "d2_panoptic_fpn": "casl.models.frameworks.detectron2_rcnn:build_panoptic",
    "d2_retinanet": "casl.models.frameworks.detectron2_retinanet:build",
    "faster_rcnn": "casl.models.frameworks.faster_rcnn:build",
    "fcos": "casl.models.fcos:build",
    "keypoint_rcnn": "casl.models.frameworks.faster_rcnn:build_keypoint",
    "mask_rcnn": "casl.models.frameworks.faster_rcnn:build_mask",
    "panoptic_fpn": "casl.models.frameworks.panoptic_fpn:build",
    "retinanet": "casl.models.frameworks.retinanet:build",
}

DIVISIBLE = frozenset({"condinst", "fcos", "retinanet"})  # detectors that several processes may train together

BACKBONES = {
    "resnet101": "casl.models.backbone:build_backbone",
    "resnet10t": "casl.models.backbone:build_backbone",
    "resnet14t": "casl.models.backbone:build_backbone",
    "resnet18": "casl.models.backbone:build_backbone",
    "resnet26": "casl.models.backbone:build_backbone",
    "resnet50": "casl.models.backbone:build_backbone",
    "resnet_half": "casl.models.backbone:build_backbone",
    "resnet_lite": "casl.models.backbone:build_backbone",
    "resnet_micro": "casl.models.backbone:build_backbone",
    "resnet_nano": "casl.models.backbone:build_backbone",
    "swin_b": "casl.models.backbone:build_backbone",
    "swin_l": "casl.models.backbone:build_backbone",
    "swin_s": "casl.models.backbone:build_backbone",
    "swin_t": "casl.models.backbone:build_backbone",
}

AUGMENTATIONS = {
    "strong": "casl.data.augment_strong:strong",
    "strong_labeled": "casl.data.augment_strong:strong_labeled",
    "weak": "casl.data.augment:weak",
}

METRICS = {
    "ap_det": "casl.metrics.ap:ap_det",
    "ap_det_a": "casl.metrics.ap:ap_det_a",
    "ap_e": "casl.metrics.ap:ap_e",
    "ap_e_mask": "casl.metrics.ap:ap_e_mask",
    "ap_point": "casl.metrics.keypoints:ap_point",
    "ap_seg": "casl.metrics.ap:ap_seg",
    "ap_seg_a": "casl.metrics.ap:ap_seg_a",
    "pq": "casl.metrics.pq:pq_of_arrays",
}

OPTIMIZERS = {
    "adamw": "casl.train.optimizer:adamw",
    "sgd": "casl.train.optimizer:sgd",
}

STAGES = {
    "evaluate": "casl.stages.evaluate:run",
    "finetune": "casl.stages.finetune:run",
    "folder": "casl.stages.folder:run",
    "labeler": "casl.stages.labeler:run",
    "pretrain": "casl.stages.pretrain:run",
    "pseudolabel": "casl.stages.pseudolabel:run",
    "scenes": "casl.stages.scenes:run",
    "warmup": "casl.stages.warmup:run",
}

ABLATIONS = {f"table{n}": f"ablations.table{n}:ABLATION" for n in range(1, 11)} | {
    "delta": "ablations.delta:ABLATION",
    "reasons": "ablations.reasons:ABLATION",
}

PROFILES = {
    "gpu": "ablations.profiles:GPU",
    "mini": "ablations.profiles:MINI",
    "paper": "ablations.profiles:PAPER",
    "smoke": "ablations.profiles:SMOKE",
}

CLAIMS = {
    "paper": "ablations.claims:CLAIMS",
}

LAUNCHERS = {
    "inline": "casl.runner.launch.inline:Inline",
    "local": "casl.runner.launch.local:Local",
    "ray": "casl.runner.launch.ray:Ray",
    "slurm": "casl.runner.launch.slurm:Slurm",
}

CATALOGS: dict[str, dict[str, str]] = {
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


def check_name(kind: str, name: str) -> str:
    """The name itself, if the catalog of that kind knows it.

    Args:
        kind: a key of CATALOGS, such as "detector".
        name: what a spec or a command line asked for.

    Raises:
        SpecError: unknown name; the message lists the known ones and the nearest.
    """
    if name not in CATALOGS[kind]:
        advice = f"A new {kind} is one file and one line in casl/catalog.py."
        raise SpecError(unknown(kind, name, CATALOGS[kind], advice))
    return name


def load(kind: str, name: str) -> Any:
    """The object a name stands for, imported now.

    Raises:
        SpecError: unknown name.
    """
    module, attribute = CATALOGS[kind][check_name(kind, name)].split(":")
    return getattr(importlib.import_module(module), attribute)
