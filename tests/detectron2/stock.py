"""Configurations of detectron2's model zoo. Imported where it is known to be installed."""

from __future__ import annotations

from typing import Any

from detectron2 import model_zoo
from torch import Tensor

STOCK = {
    "retinanet": "COCO-Detection/retinanet_R_50_FPN_1x.yaml",
    "faster_rcnn": "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml",
    "mask_rcnn": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml",
    "keypoint_rcnn": "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml",
    "cascade_rcnn": "Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml",
    "panoptic_fpn": "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml",
}


def stock(name: str) -> Any:
    """A configuration with the one setting that docs/detectron2.md asks for."""
    cfg = model_zoo.get_config(STOCK[name])
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.MASK_ON &= name != "cascade_rcnn"  # the zoo has none without masks
    return cfg


def bgr(image: Tensor) -> Tensor:
    """(3, h, w) RGB as detectron2 reads it by default."""
    return image.flip(0).float()
