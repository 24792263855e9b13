"""Our backbones as detectron2's. Imports detectron2: only `register` imports this."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detectron2.layers import ShapeSpec
from detectron2.modeling import FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7
from torch import Tensor

from casl.models.backbone import build_backbone, freezes_norms

FEATURES = ("res2", "res3", "res4", "res5")


class BottomUp(Backbone):  # type: ignore[misc]
    """C2..C5 of a backbone of ours, under the names of detectron2's ResNets. State-dict keys begin with `body.`.

    Args:
        backbone: of `casl.models.backbone`.
    """

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.body = backbone.body
        self._shapes = {
            name: ShapeSpec(channels=channels, stride=stride)
            for name, channels, stride in zip(FEATURES, backbone.channels, backbone.strides, strict=True)
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) normalised -> res2..res5."""
        return dict(zip(FEATURES, self.body(images), strict=True))

    def output_shape(self) -> dict[str, Any]:
        """Channels and stride of each map."""
        return dict(self._shapes)

    @property
    def size_divisibility(self) -> int:
        """Images are padded to a multiple of it."""
        return 32


def build_casl_backbone(cfg: Any, input_shape: Any) -> BottomUp:
    """The backbone that MODEL.CASL names."""
    del input_shape
    return BottomUp(named(cfg))


def named(cfg: Any) -> Any:
    """The backbone of ours that MODEL.CASL names.

    Raises:
        SpecError: an unknown name.
        DataError: MODEL.CASL.WEIGHTS is missing or of another architecture.
    """
    ours = cfg.MODEL.CASL
    return build_backbone(
        ours.BACKBONE,
        weights=Path(ours.WEIGHTS) if ours.WEIGHTS else None,
        drop_path=ours.DROP_PATH,
        frozen_stages=ours.FROZEN_STAGES,
        frozen_norm=freezes_norms(ours.BACKBONE, ours.FROZEN_STAGES),
    )


def build_casl_fpn_backbone(cfg: Any, input_shape: Any) -> Any:
    """The same under detectron2's FPN: P2..P5, and P6 by pooling."""
    return _pyramid(cfg, input_shape, FEATURES, LastLevelMaxPool())


def build_casl_retinanet_fpn_backbone(cfg: Any, input_shape: Any) -> Any:
    """The same under detectron2's FPN: P3..P7, P6 from P5, as in our pyramid."""
    channels = cfg.MODEL.FPN.OUT_CHANNELS
    return _pyramid(cfg, input_shape, FEATURES[1:], LastLevelP6P7(channels, channels, in_feature="p5"))


def _pyramid(cfg: Any, input_shape: Any, features: tuple[str, ...], top: Any) -> Any:
    return FPN(
        bottom_up=build_casl_backbone(cfg, input_shape),
        in_features=list(features),
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=top,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


ENTRIES = (build_casl_backbone, build_casl_fpn_backbone, build_casl_retinanet_fpn_backbone)
