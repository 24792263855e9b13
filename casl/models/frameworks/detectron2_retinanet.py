"""RetinaNet: detectron2's own on our backbone and pyramid.

Source: RetinaNet (ICCV 2017) with the numbers of detectron2's retinanet_R_50_FPN configurations; P6 and P7 from P5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings
from casl.models.fpn import FPN
from casl.models.frameworks.adapter import SIZES, in_float32
from casl.models.frameworks.detectron2_adapter import (
    NORMALIZER,
    Detectron2Framework,
    anchor_generator,
    built_with_detectron2,
    pixels,
)
from casl.models.frameworks.retinanet import RetinaNetSettings
from casl.models.head import group_norm

FIRST_NORMALIZER = 100.0  # detectron2's, of a mean number of positives that moves by a tenth at every step
_OCTAVES = tuple(tuple(size * 2 ** (third / 3) for third in range(3)) for size in SIZES)


class Detectron2RetinaNet(Detectron2Framework):
    """Reads P3..P7. Losses are "loss_cls" and "loss_box_reg".

    detectron2 divides them by a moving mean of the number of positives, which it forgets with the process; here that is
    a buffer, `framework.loss_normalizer`, so that a continued training goes on with it.
    """

    levels: ClassVar[dict[str, int]] = {f"p{level}": 2**level for level in range(3, 8)}
    settings: RetinaNetSettings

    def __init__(self, backbone: Backbone, num_classes: int, settings: RetinaNetSettings) -> None:
        def make(maps: Any) -> nn.Module:
            return _make(maps, num_classes, settings, pixels(backbone))

        fpn = FPN(backbone.channels, settings.channels, 3, settings.top_from)
        super().__init__(backbone, fpn, make, num_classes, settings)
        in_float32(self.framework.head)
        self.framework.register_buffer(NORMALIZER, torch.tensor(FIRST_NORMALIZER))

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """C2..C5 -> P3..P7."""
        levels: list[Tensor] = self.fpn(maps)
        return levels

    def limit(self, settings: InferenceSettings) -> None:
        """Thresholds of the selection."""
        framework = self.framework
        framework.test_score_thresh, framework.test_nms_thresh = settings.score_threshold, settings.nms
        framework.test_topk_candidates = settings.topk
        framework.max_detections_per_image = settings.max_detections


def _make(maps: Any, num_classes: int, settings: RetinaNetSettings, normal: Mapping[str, Any]) -> nn.Module:
    from detectron2.modeling.box_regression import Box2BoxTransform
    from detectron2.modeling.matcher import Matcher
    from detectron2.modeling.meta_arch.retinanet import RetinaNet, RetinaNetHead

    shapes = maps.output_shape()
    head = RetinaNetHead(
        input_shape=list(shapes.values()),
        num_classes=num_classes,
        num_anchors=9,
        conv_dims=[settings.channels] * 4,
        norm=group_norm if settings.head_norm else "",
    )
    made: nn.Module = RetinaNet(
        backbone=maps,
        head=head,
        head_in_features=list(shapes),
        anchor_generator=anchor_generator(_OCTAVES, Detectron2RetinaNet.levels, settings.scale * settings.anchor_scale),
        box2box_transform=Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0)),
        anchor_matcher=Matcher([0.4, 0.5], [0, -1, 1], allow_low_quality_matches=True),
        num_classes=num_classes,
        **normal,
    )
    return made


build = built_with_detectron2("d2_retinanet", RetinaNetSettings, Detectron2RetinaNet)
