"""The frameworks at a size that learns in seconds, and images to learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from casl.models.backbone import build_backbone
from casl.models.frameworks import cascade_rcnn, faster_rcnn, htc, panoptic_fpn, retinanet
from casl.models.frameworks.adapter import Framework
from casl.models.frameworks.cascade_rcnn import CascadeRCNNSettings
from casl.models.frameworks.faster_rcnn import FasterRCNNSettings, KeypointRCNNSettings
from casl.models.frameworks.htc import HTCSettings
from casl.models.frameworks.panoptic_fpn import PanopticFPNSettings
from casl.models.frameworks.retinanet import RetinaNetSettings

Target = dict[str, Tensor]
SMALL: dict[str, Any] = {"channels": 32, "ranges": (16, 32, 64, 128)}
CASES: dict[str, tuple[Callable[..., Framework], Any]] = {
    "retinanet": (retinanet.build, RetinaNetSettings(**SMALL)),
    "faster_rcnn": (faster_rcnn.build, FasterRCNNSettings(**SMALL)),
    "mask_rcnn": (faster_rcnn.build_mask, FasterRCNNSettings(**SMALL, towers=2)),
    "keypoint_rcnn": (faster_rcnn.build_keypoint, KeypointRCNNSettings(**SMALL, towers=2, keypoints=3)),
    "panoptic_fpn": (panoptic_fpn.build, PanopticFPNSettings(**SMALL, towers=2, stuff=2)),
    "cascade_rcnn": (cascade_rcnn.build, CascadeRCNNSettings(**SMALL)),
    "htc": (htc.build, HTCSettings(**SMALL, towers=2, stuff=2)),
}
NAMES = list(CASES)
R_CNNS = NAMES[1:]
ONE_STAGE = NAMES[1:5]  # R-CNNs with one stage, whose losses are torchvision's own


def small(name: str, num_classes: int = 2, seed: int = 0, **changes: Any) -> Framework:
    torch.manual_seed(seed)
    build, settings = CASES[name]
    return build(build_backbone("resnet_micro"), num_classes, replace(settings, **changes))


def scene() -> tuple[Tensor, Target]:
    """Two rectangles on a floor and a wall, 64 x 64: floor is stuff class 0, wall stuff class 1.

    Keypoints are a rectangle's upper left and lower right corner and its middle.
    """
    generator = torch.Generator().manual_seed(5)
    image = torch.randint(0, 40, (3, 64, 64), generator=generator, dtype=torch.uint8)
    image[2, :40] += 60
    semantic = torch.ones(64, 64, dtype=torch.int64)
    semantic[:40] = 2
    boxes = torch.tensor([[6.0, 8, 30, 34], [34, 30, 60, 62]])
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    for mask, (x1, y1, x2, y2), value in zip(masks, boxes.int().tolist(), (230, 140), strict=True):
        mask[y1:y2, x1:x2] = True
        image[:, mask] = value
    semantic[masks.any(0)] = 0
    semantic[0, :5] = 255
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    points = torch.stack([boxes[:, :2] + 0.5, boxes[:, 2:] - 0.5, middle], dim=1)
    keypoints = torch.cat([points, torch.full((2, 3, 1), 2.0)], dim=2)
    labels = torch.tensor([0, 1])
    return image, {"boxes": boxes, "labels": labels, "masks": masks, "keypoints": keypoints, "semantic": semantic}


def without_objects(height: int = 64, width: int = 64) -> tuple[Tensor, Target]:
    """An image of a floor."""
    image = torch.full((3, height, width), 20, dtype=torch.uint8)
    return image, {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, height, width, dtype=torch.bool),
        "keypoints": torch.zeros(0, 3, 3),
        "semantic": torch.ones(height, width, dtype=torch.int64),
    }


def batch(*pairs: tuple[Tensor, Target]) -> tuple[list[Tensor], list[Target]]:
    return [image for image, _ in pairs], [target for _, target in pairs]


def total(losses: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()
