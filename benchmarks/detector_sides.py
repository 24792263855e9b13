"""Our FCOS, torchvision's and detectron2's with one backbone, one pyramid and the same weights, called alike."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS as TorchvisionFCOS  # noqa: N811

from casl.models.backbone import build_backbone
from casl.models.detect import InferenceSettings
from casl.models.fcos import FCOS, FCOSSettings
from casl.models.fpn import FPN

STRIDES = (8, 16, 32, 64, 128)
SCORE = 0.2  # least square root of class probability times centre-ness of a candidate, as the peers compare it
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass
class Inputs:
    """One batch. images: (3, size, size) each, RGB on 0..255. targets: boxes (N, 4) XYXY, labels (N,)."""

    images: list[Tensor]
    targets: list[dict[str, Tensor]]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [(image.shape[1], image.shape[2]) for image in self.images]


@dataclass
class Side:
    """One detector. losses, predict: of a batch. logits: its class maps, (B, C, h, w) a level."""

    model: nn.Module
    losses: Callable[[Inputs], Mapping[str, Tensor]]
    predict: Callable[[Inputs], Sequence[Any]]
    logits: Callable[[Inputs], list[Tensor]]


@dataclass
class Sizes:
    """What all sides have in common. size: of the square images, pixels."""

    backbone: str
    size: int
    classes: int
    channels: int = 256
    towers: int = 4


def make_inputs(size: int, batch: int, classes: int, device: str = "cpu") -> Inputs:
    """Random images with eight objects each."""
    images = [torch.randint(0, 256, (3, size, size)).float().to(device) for _ in range(batch)]
    targets = []
    for _ in images:
        corners = torch.rand(8, 2) * size * 0.6
        boxes = torch.cat([corners, corners + 10 + torch.rand(8, 2) * size * 0.3], dim=1)
        targets.append({"boxes": boxes.to(device), "labels": torch.randint(0, classes, (8,)).to(device)})
    return Inputs(images, targets)


def sides(sizes: Sizes, device: str = "cpu") -> dict[str, Side]:
    """All detectors that can be had here, with the weights of ours."""
    ours = casl_side(sizes)
    built = {"casl": ours, "torchvision": torchvision_side(sizes)}
    if detectron2 := detectron2_side(sizes):
        built["detectron2"] = detectron2
    for name, side in built.items():
        if name != "casl":
            copy_weights(ours.model, side.model)
        side.model.to(device)
    return built


class Pyramid(nn.Module):
    """Our backbone and pyramid in the form torchvision wants."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.out_channels = sizes.channels
        self.body = build_backbone(sizes.backbone)
        self.fpn = FPN(self.body.channels, sizes.channels)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict((f"p{i}", level) for i, level in enumerate(self.fpn(self.body(x)), start=3))


def casl_side(sizes: Sizes) -> Side:
    """Ours, with class maps that have something to select from, as after some training."""
    thresholds = InferenceSettings(score_threshold=SCORE**2, nms=0.6, threshold_on_product=True)
    settings = FCOSSettings(channels=sizes.channels, towers=sizes.towers, lowest=3, inference=thresholds)
    model = FCOS(build_backbone(sizes.backbone), sizes.classes, settings)
    nn.init.normal_(model.head.cls_logits.weight, std=0.05)
    return Side(
        model,
        lambda inputs: model.losses(inputs.images, inputs.targets),
        lambda inputs: model.predict(inputs.images, inputs.sizes),
        lambda inputs: model.head(model.features(model.preprocess(inputs.images))).logits,
    )


def torchvision_side(sizes: Sizes) -> Side:
    """Its FCOS takes images on 0..1 and normalises and resizes them itself, here by nothing."""
    mean, std = [v / 255 for v in MEAN], [v / 255 for v in STD]
    limits = {"min_size": sizes.size, "max_size": sizes.size}
    model = TorchvisionFCOS(
        Pyramid(sizes), sizes.classes, **limits, image_mean=mean, image_std=std, score_thresh=SCORE, nms_thresh=0.6
    )

    def scaled(inputs: Inputs) -> list[Tensor]:
        return [image / 255 for image in inputs.images]

    def logits(inputs: Inputs) -> list[Tensor]:
        maps = list(model.backbone(model.transform(scaled(inputs))[0].tensors).values())
        found = model.head.classification_head(maps).transpose(1, 2)  # (B, C, L)
        parts = found.split([m.shape[2] * m.shape[3] for m in maps], dim=2)
        return [part.unflatten(2, m.shape[2:]) for part, m in zip(parts, maps, strict=True)]

    return Side(model, lambda i: model(scaled(i), i.targets), lambda i: model(scaled(i)), logits)


def detectron2_side(sizes: Sizes) -> Side | None:
    """Its FCOS with group norm, as in its configuration; None where detectron2 is not installed."""
    try:
        from detectron2.layers import ShapeSpec
        from detectron2.modeling.backbone import Backbone
        from detectron2.modeling.meta_arch import fcos
        from detectron2.structures import Boxes, Instances
        from detectron2.utils.events import EventStorage
    except ImportError:
        return None
    shapes = {f"p{i}": ShapeSpec(channels=sizes.channels, stride=stride) for i, stride in enumerate(STRIDES, start=3)}

    class Neck(Pyramid, Backbone):  # type: ignore[misc]
        """Our backbone and pyramid in the form detectron2 wants."""

        size_divisibility = 32

        def output_shape(self) -> dict[str, Any]:
            return shapes

    head = fcos.FCOSHead(
        input_shape=list(shapes.values()),
        num_classes=sizes.classes,
        conv_dims=[sizes.channels] * sizes.towers,
        norm=lambda channels: nn.GroupNorm(32, channels),
    )
    model = fcos.FCOS(
        backbone=Neck(sizes),
        head=head,
        head_in_features=list(shapes),
        num_classes=sizes.classes,
        pixel_mean=MEAN,
        pixel_std=STD,
        test_score_thresh=SCORE,
        test_nms_thresh=0.6,
    )

    def records(inputs: Inputs) -> list[dict[str, Any]]:
        found = []
        for image, target, size in zip(inputs.images, inputs.targets, inputs.sizes, strict=True):
            truth = Instances(size, gt_boxes=Boxes(target["boxes"]), gt_classes=target["labels"])
            found.append({"image": image, "instances": truth})
        return found

    def logits(inputs: Inputs) -> list[Tensor]:
        maps: list[Tensor] = head(list(model.backbone(model.preprocess_image(records(inputs)).tensor).values()))[0]
        return maps

    def losses(inputs: Inputs) -> dict[str, Tensor]:
        with EventStorage():  # its losses count positives there
            found: dict[str, Tensor] = model(records(inputs))
        return found

    return Side(model, losses, lambda i: model(records(i)), logits)


# where the peers keep what our head calls by these names: torchvision, detectron2
_PLACES = {
    "cls_tower": ("classification_head.conv", "cls_subnet"),
    "box_tower": ("regression_head.conv", "bbox_subnet"),
    "cls_logits": ("classification_head.cls_logits", "cls_score"),
    "bbox_pred": ("regression_head.bbox_reg", "bbox_pred"),
    "ctrness": ("regression_head.bbox_ctrness", "ctrness"),
}


def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """All weights of our FCOS into a peer with our backbone and pyramid. Scales of levels are one, which it has not."""
    theirs.get_submodule("backbone.body").load_state_dict(ours.get_submodule("backbone").state_dict())
    theirs.get_submodule("backbone.fpn").load_state_dict(ours.get_submodule("fpn").state_dict())
    which = 0 if hasattr(theirs.get_submodule("head"), "classification_head") else 1
    for name, places in _PLACES.items():
        target = theirs.get_submodule(f"head.{places[which]}")
        target.load_state_dict(ours.get_submodule(f"head.{name}").state_dict())


@torch.no_grad()
def agreement(built: Mapping[str, Side], inputs: Inputs) -> float:
    """Largest difference of a class map of any side from ours, in evaluation mode."""
    for side in built.values():
        side.model.eval()
    maps = {name: side.logits(inputs) for name, side in built.items()}
    return max(
        float((a - b).abs().max())
        for name in maps.keys() - {"casl"}
        for a, b in zip(maps["casl"], maps[name], strict=True)
    )
