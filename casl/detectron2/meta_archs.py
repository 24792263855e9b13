"""Our FCOS and CondInst as meta-architectures of detectron2. Imports detectron2: only `register` imports this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.structures import BitMasks, Boxes, Instances
from torch import Tensor, nn

from casl.detectron2.backbones import named
from casl.errors import SpecError
from casl.models.condinst import CondInst, CondInstSettings
from casl.models.detect import InferenceSettings
from casl.models.fcos import FCOS, FCOSSettings

ORDERS = ("BGR", "RGB")
ENTITY: dict[str, Any] = {
    "kernel_head": True,
    "bank": True,
    "cluster_weight": 0.5,
    "max_per_image": 120,
    "bias_on_box": False,
    "non_overlap": True,
    "inference": InferenceSettings(),
}


class CaslFCOS(nn.Module):
    """Our FCOS with detectron2's inputs and outputs. State-dict keys begin with `detector.`; behind that they are ours.

    In training: a list of dicts with "image" (3, h, w) on 0..255 in the order of INPUT.FORMAT, and "instances" with
    gt_boxes and gt_classes -> losses by name. In evaluation: the same without instances, optionally with "height" and
    "width" to predict for -> a list of {"instances": Instances} with pred_boxes, scores, pred_classes.
    Images are normalised as ours are, whatever MODEL.PIXEL_MEAN and PIXEL_STD say.

    Args:
        cfg: with MODEL.CASL, see `add_casl_config`.

    Raises:
        SpecError: an input format other than BGR and RGB, or as in the detector.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__()
        if cfg.INPUT.FORMAT not in ORDERS:
            raise SpecError(f"INPUT.FORMAT is {' or '.join(ORDERS)} for detectors of casl, got {cfg.INPUT.FORMAT!r}")
        self.reversed = cfg.INPUT.FORMAT == "BGR"
        self.detector = self._build(cfg)

    def _build(self, cfg: Any) -> FCOS:
        return FCOS(named(cfg), cfg.MODEL.CASL.NUM_CLASSES, FCOSSettings(**_shared(cfg)))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.detector.backbone.mean.device

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> Any:
        """See the class."""
        images = [self._image(entry["image"]) for entry in batched_inputs]
        if self.training:
            targets = [self._target(entry["instances"].to(self.device)) for entry in batched_inputs]
            return self.detector.losses(images, targets)
        sizes = [
            (int(entry.get("height", image.shape[1])), int(entry.get("width", image.shape[2])))
            for entry, image in zip(batched_inputs, images, strict=True)
        ]
        found = self.detector.predict(images, sizes)
        return [{"instances": _instances(f, size)} for f, size in zip(found, sizes, strict=True)]

    def _image(self, image: Tensor) -> Tensor:
        image = image.to(self.device)
        return image.flip(0) if self.reversed else image

    def _target(self, objects: Any) -> dict[str, Tensor]:
        """Boxes and labels of one image; a mask moves the sampling of FCOS, so it is not taken."""
        return {"boxes": objects.gt_boxes.tensor, "labels": objects.gt_classes}


class CaslCondInst(CaslFCOS):
    """Our CondInst, with EntitySeg's additions if MODEL.CASL.ENTITY. As `CaslFCOS`, and instances need gt_masks, of
    either format; predictions have pred_masks, (N, height, width) bool. Objects with an empty mask are left out."""

    def _build(self, cfg: Any) -> FCOS:
        ours = cfg.MODEL.CASL
        entity = {**ENTITY, "inclusive_boxes": ours.INCLUSIVE_BOXES} if ours.ENTITY else {}
        settings = CondInstSettings(**_shared(cfg), mask_channels=ours.MASK_CHANNELS, **entity)
        return CondInst(named(cfg), ours.NUM_CLASSES, settings)

    def _target(self, objects: Any) -> dict[str, Tensor]:
        masks = objects.gt_masks
        if not isinstance(masks, BitMasks):
            masks = BitMasks.from_polygon_masks(masks, *objects.image_size)
        masks = masks.tensor.to(self.device)
        kept = masks.flatten(1).any(1)
        return {name: value[kept] for name, value in super()._target(objects).items()} | {"masks": masks[kept]}


def _shared(cfg: Any) -> dict[str, Any]:
    ours = cfg.MODEL.CASL
    return {"channels": ours.CHANNELS, "towers": ours.TOWERS, "ranges": tuple(ours.RANGES)}


def _instances(found: Mapping[str, Tensor], size: tuple[int, int]) -> Any:
    objects = Instances(size)
    objects.pred_boxes = Boxes(found["boxes"])
    objects.scores, objects.pred_classes = found["scores"], found["labels"]
    if "masks" in found:
        objects.pred_masks = found["masks"]
    return objects


ENTRIES = (CaslFCOS, CaslCondInst)
