"""Faster, Mask and Keypoint R-CNN and PanopticFPN: detectron2's own on our backbone and pyramid.

Source: Faster R-CNN (NeurIPS 2015), FPN (CVPR 2017), Mask R-CNN (ICCV 2017) and PanopticFPN (CVPR 2019) with the
numbers of detectron2's configs/common/models: P2..P5 and a max-pooled P6, ROIAlign with aligned corners.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings
from casl.models.detector import Target
from casl.models.fpn import FPN
from casl.models.frameworks.adapter import SIZES, in_float32
from casl.models.frameworks.detectron2_adapter import (
    Detectron2Framework,
    anchor_generator,
    built_with_detectron2,
    pixels,
)
from casl.models.frameworks.faster_rcnn import CANONICAL, FasterRCNNSettings, KeypointRCNNSettings
from casl.models.frameworks.panoptic_fpn import IGNORE, PanopticFPNSettings

POOLED = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}  # levels that objects are cropped from, and their strides
CODE = (10.0, 10.0, 5.0, 5.0)  # what offsets of boxes are multiplied by: x, y, width, height
GROUP = 4  # channels a group in the semantic branch: detectron2's 32 groups at its 128 channels


class Detectron2FasterRCNN(Detectron2Framework):
    """Reads P2..P6. Losses are "loss_rpn_cls", "loss_rpn_loc", "loss_cls" and "loss_box_reg".

    Widths of the heads are detectron2's at 256 channels and in proportion otherwise.
    """

    levels: ClassVar[Mapping[str, int]] = {**POOLED, "p6": 64}
    proposals: ClassVar[int] = 1000  # an image, to learn from
    loss_beta: ClassVar[float] = 0.0  # below which the box loss is quadratic
    settings: FasterRCNNSettings

    def __init__(self, backbone: Backbone, num_classes: int, settings: FasterRCNNSettings) -> None:
        fpn = FPN(backbone.channels, settings.channels, lowest=2)
        fpn.add_module("p6", nn.MaxPool2d(1, stride=2))
        fpn.add_module("p7", nn.Identity())  # computed and dropped
        super().__init__(backbone, fpn, self._make, num_classes, settings)
        for head in (self.framework.proposal_generator.rpn_head, self.framework.roi_heads.box_predictor):
            in_float32(head)

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """C2..C5 -> P2..P6."""
        return self.fpn.forward_all(maps)[:-1]

    def limit(self, settings: InferenceSettings) -> None:
        """Thresholds of the proposals and of the selection."""
        self.framework.proposal_generator.pre_nms_topk[False] = settings.topk
        predictor = self.framework.roi_heads.box_predictor
        predictor.test_score_thresh, predictor.test_nms_thresh = settings.score_threshold, settings.nms
        predictor.test_topk_per_image = settings.max_detections

    def _make(self, maps: Any) -> nn.Module:
        from detectron2.modeling import GeneralizedRCNN

        made: nn.Module = GeneralizedRCNN(backbone=maps, **self._parts())
        return made

    def _parts(self) -> dict[str, Any]:
        """Arguments of the meta-architecture, its backbone aside."""
        return {
            "proposal_generator": _proposals(self.settings, self.levels, self.proposals),
            "roi_heads": self._heads(),
            **pixels(self.backbone),
        }

    def _heads(self) -> Any:
        """What sorts and refines the proposals."""
        from detectron2.modeling.roi_heads import StandardROIHeads

        return StandardROIHeads(
            **regions(self.num_classes, self.settings),
            proposal_matcher=matcher(0.5),
            box_head=box_head(self.settings),
            box_predictor=box_predictor(self.num_classes, self.settings, CODE, smooth_l1_beta=self.loss_beta),
            **self._further(),
        )

    def _further(self) -> dict[str, Any]:
        """Heads beside that of the boxes, as arguments of StandardROIHeads."""
        return {}


class Detectron2MaskRCNN(Detectron2FasterRCNN):
    """Faster R-CNN that also learns "masks"; further loss "loss_mask"."""

    needs: ClassVar[tuple[str, ...]] = ("masks",)

    def to_input(self, image: Tensor, target: Target) -> dict[str, Any]:
        """As in Faster R-CNN, with masks."""
        from detectron2.structures import BitMasks

        made = super().to_input(image, target)
        made["instances"].gt_masks = BitMasks(target["masks"])
        return made

    def _further(self) -> dict[str, Any]:
        from detectron2.modeling.roi_heads import MaskRCNNConvUpsampleHead

        width = self.settings.channels
        head = MaskRCNNConvUpsampleHead(
            _crop(width, 14), num_classes=self.num_classes, conv_dims=[width] * (self.settings.towers + 1)
        )
        return {
            "mask_in_features": list(POOLED),
            "mask_pooler": _pooler(14, self.settings.scale),
            "mask_head": head,
        }


class Detectron2KeypointRCNN(Detectron2FasterRCNN):
    """Faster R-CNN that also learns "keypoints"; further loss "loss_keypoint"."""

    needs: ClassVar[tuple[str, ...]] = ("keypoints",)
    proposals: ClassVar[int] = 1500
    loss_beta: ClassVar[float] = 0.5
    settings: KeypointRCNNSettings

    def to_input(self, image: Tensor, target: Target) -> dict[str, Any]:
        """As in Faster R-CNN, with keypoints."""
        from detectron2.structures import Keypoints

        made = super().to_input(image, target)
        made["instances"].gt_keypoints = Keypoints(target["keypoints"].float())
        return made

    def _further(self) -> dict[str, Any]:
        from detectron2.modeling.roi_heads import KRCNNConvDeconvUpsampleHead

        width = self.settings.channels
        head = KRCNNConvDeconvUpsampleHead(
            _crop(width, 14),
            num_keypoints=self.settings.keypoints,
            conv_dims=[2 * width] * (2 * self.settings.towers),
            loss_normalizer="visible",
        )
        in_float32(head.score_lowres)  # its loss views maps as only the usual memory layout allows
        return {
            "keypoint_in_features": list(POOLED),
            "keypoint_pooler": _pooler(14, self.settings.scale),
            "keypoint_head": head,
        }


class Detectron2PanopticFPN(Detectron2MaskRCNN):
    """Mask R-CNN that also learns "semantic" maps and predicts them; further loss "loss_sem_seg". Stuff and
    things are merged into one map by our metric, not by detectron2."""

    needs: ClassVar[tuple[str, ...]] = ("masks", "semantic")
    settings: PanopticFPNSettings

    def to_input(self, image: Tensor, target: Target) -> dict[str, Any]:
        """As in Mask R-CNN, with a semantic map."""
        return super().to_input(image, target) | {"sem_seg": target["semantic"]}

    def to_result(self, found: Mapping[str, Any]) -> dict[str, Tensor]:
        """As in Mask R-CNN, with the best class of every pixel."""
        return super().to_result(found) | {"semantic": found["sem_seg"].argmax(0)}

    def _make(self, maps: Any) -> nn.Module:
        from detectron2.modeling import PanopticFPN

        made: nn.Module = PanopticFPN(backbone=maps, sem_seg_head=_semantic(self.settings), **self._parts())
        return made


def _proposals(settings: FasterRCNNSettings, levels: Mapping[str, int], kept: int) -> Any:
    from detectron2.modeling.box_regression import Box2BoxTransform
    from detectron2.modeling.matcher import Matcher
    from detectron2.modeling.proposal_generator import RPN, StandardRPNHead

    return RPN(
        in_features=list(levels),
        head=StandardRPNHead(in_channels=settings.channels, num_anchors=3),
        anchor_generator=anchor_generator([(size,) for size in SIZES], levels, settings.scale),
        anchor_matcher=Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0)),
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_topk=(2000, 1000),
        post_nms_topk=(kept, 1000),
        nms_thresh=0.7,
    )


def regions(num_classes: int, settings: FasterRCNNSettings) -> dict[str, Any]:
    """Arguments of detectron2's heads on regions: how many are drawn, and how they are cropped for the boxes."""
    return {
        "num_classes": num_classes,
        "batch_size_per_image": settings.regions,
        "positive_fraction": 0.25,
        "box_in_features": list(POOLED),
        "box_pooler": _pooler(7, settings.scale),
    }


def matcher(iou: float) -> Any:
    """A region is an object where it overlaps one by `iou`."""
    from detectron2.modeling.matcher import Matcher

    return Matcher([iou], [0, 1], allow_low_quality_matches=False)


def box_head(settings: FasterRCNNSettings) -> Any:
    """Two fully connected layers on a crop."""
    from detectron2.modeling.roi_heads import FastRCNNConvFCHead

    width = 4 * settings.channels
    return FastRCNNConvFCHead(_crop(settings.channels, 7), conv_dims=[], fc_dims=[width, width])


def box_predictor(num_classes: int, settings: FasterRCNNSettings, code: Sequence[float], **more: Any) -> Any:
    """Logits and offsets after them. code: what offsets are multiplied by. more: as detectron2 has them."""
    from detectron2.layers import ShapeSpec
    from detectron2.modeling.box_regression import Box2BoxTransform
    from detectron2.modeling.roi_heads import FastRCNNOutputLayers

    shape, transform = ShapeSpec(channels=4 * settings.channels), Box2BoxTransform(weights=tuple(code))
    return FastRCNNOutputLayers(shape, box2box_transform=transform, num_classes=num_classes, **more)


def _crop(channels: int, size: int) -> Any:
    from detectron2.layers import ShapeSpec

    return ShapeSpec(channels=channels, height=size, width=size)


def _pooler(size: int, scale: float) -> Any:
    from detectron2.modeling.poolers import ROIPooler

    return ROIPooler(
        output_size=size,
        scales=[1 / stride for stride in POOLED.values()],
        sampling_ratio=0,
        pooler_type="ROIAlignV2",
        canonical_box_size=CANONICAL[0] * scale,
        canonical_level=CANONICAL[1],
    )


def _semantic(settings: PanopticFPNSettings) -> Any:
    from detectron2.layers import ShapeSpec
    from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead

    width = max(1, settings.channels // 2)
    norm: Callable[[int], nn.Module] | str = "GN"
    if width != GROUP * 32:

        def norm(channels: int) -> nn.Module:
            return nn.GroupNorm(max(1, channels // GROUP), channels)

    shapes = {name: ShapeSpec(channels=settings.channels, stride=stride) for name, stride in POOLED.items()}
    return SemSegFPNHead(
        shapes,
        num_classes=settings.stuff + 1,
        conv_dims=width,
        common_stride=4,
        loss_weight=settings.semantic_weight,
        norm=norm,
        ignore_value=IGNORE,
    )


build = built_with_detectron2("d2_faster_rcnn", FasterRCNNSettings, Detectron2FasterRCNN)
build_mask = built_with_detectron2("d2_mask_rcnn", FasterRCNNSettings, Detectron2MaskRCNN)
build_keypoint = built_with_detectron2("d2_keypoint_rcnn", KeypointRCNNSettings, Detectron2KeypointRCNN)
build_panoptic = built_with_detectron2("d2_panoptic_fpn", PanopticFPNSettings, Detectron2PanopticFPN)
