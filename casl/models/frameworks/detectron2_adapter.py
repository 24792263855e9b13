"""What lets detectron2's meta-architectures run on the backbone and the pyramid of this package.

detectron2's own forward is called, in training and to predict; it asks its backbone for maps, and gets those of our
pyramid. It prepares images itself, with our mean and deviation, bit for bit as `to_batch` does. Images are already
resized, RGB, and classes count from 0 in both. detectron2 is imported when a detector is built, never before.

Source: detectron2 modeling/meta_arch (commit in docs/detectron2.md), its documented inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from casl.errors import need_detectron2
from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings
from casl.models.detector import DIVISOR, B, Builder, D, Target, check_paired, in_shapes
from casl.models.fpn import FPN
from casl.models.frameworks.adapter import FrameworkSettings, check_boxes

NORMALIZER = "loss_normalizer"


class Detectron2Framework(nn.Module):
    """A meta-architecture of detectron2's behind our pyramid.

    State-dict keys begin with `backbone.`, `fpn.` or `framework.`; the last are detectron2's own names.

    Args:
        backbone: C2..C5.
        fpn: its pyramid.
        make: given a backbone of detectron2's that stands for the pyramid, makes the meta-architecture.
        num_classes: without the background; 1 is class-agnostic.
        settings: everything else.

    Attributes:
        levels: names of the maps that the framework reads, and their strides.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    weighted: ClassVar[bool] = False
    levels: ClassVar[Mapping[str, int]] = {}

    def __init__(
        self,
        backbone: Backbone,
        fpn: FPN,
        make: Callable[[Any], nn.Module],
        num_classes: int,
        settings: FrameworkSettings,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.settings = settings
        self.backbone = backbone
        self.fpn = fpn
        self.framework: Any = make(stand_in(self, self.levels, settings.channels))

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) normalised -> the pyramid by detectron2's names, float32 also under mixed precision."""
        levels = self.pyramid(self.backbone(batch))
        return {name: level.float() for name, level in zip(self.levels, levels, strict=True)}

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """C2..C5 -> the levels the framework reads."""
        raise NotImplementedError

    def limit(self, settings: InferenceSettings) -> None:
        """Give the framework the thresholds to predict with."""
        raise NotImplementedError

    def losses(self, images: Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """As in `Detector`, by detectron2's names. Boxes of targets cannot have weights.

        Raises:
            ValueError: as there, or a target has weights.
            RuntimeError: the model is in evaluation mode.
        """
        if not self.training:
            raise RuntimeError("losses need training mode: call .train() first")
        check_paired(images, targets)
        check_boxes(targets, self.num_classes)
        if any("weights" in target for target in targets):
            raise ValueError(
                f"targets with weights, which the losses of detectron2 do not know: {type(self).__name__} learns from "
                "targets without; frameworks of torchvision (--provider torchvision), FCOS and CondInst take them"
            )
        from detectron2.utils.events import EventStorage

        inputs = [self.to_input(image, target) for image, target in zip(images, targets, strict=True)]
        with EventStorage():  # its own curves; ours are made of the losses
            found: dict[str, Tensor] = self.framework(inputs)
        return found

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """The same as `losses`."""
        return self.losses(images, targets)

    def to_input(self, image: Tensor, target: Target) -> dict[str, Any]:
        """One image and its target in detectron2's terms.

        Raises:
            ValueError: the target cannot be learned from; the message says why.
        """
        from detectron2.structures import Boxes, Instances

        if missing := [name for name in self.needs if name not in target]:
            raise ValueError(f"the framework learns {missing[0]}: the target has {', '.join(target)} only")
        objects = Instances((image.shape[1], image.shape[2]))
        objects.gt_boxes = Boxes(target["boxes"].float())
        objects.gt_classes = target["labels"]
        return {"image": image.float(), "instances": objects}

    @torch.no_grad()
    def predict(
        self,
        images: Sequence[Tensor],
        original_sizes: Sequence[tuple[int, int]],
        settings: InferenceSettings | None = None,
    ) -> list[dict[str, Tensor]]:
        """As in `Detector`."""
        if self.training:
            raise RuntimeError("predict needs evaluation mode: call .eval() first")
        self.limit(settings or self.settings.inference)
        return in_shapes(images, original_sizes, self.find)

    def find(self, images: Sequence[Tensor], original_sizes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """As `predict`, of images that are padded to one size together."""
        inputs = [
            {"image": image.float(), "height": height, "width": width}
            for image, (height, width) in zip(images, original_sizes, strict=True)
        ]
        return [self.to_result(found) for found in self.framework(inputs)]

    def to_result(self, found: Mapping[str, Any]) -> dict[str, Tensor]:
        """What detectron2 found in one image, in our terms."""
        objects = found["instances"]
        result = {"boxes": objects.pred_boxes.tensor, "scores": objects.scores, "labels": objects.pred_classes}
        if objects.has("pred_masks"):
            result["masks"] = objects.pred_masks.bool()
        if objects.has("pred_keypoints"):
            result["keypoints"] = objects.pred_keypoints
        return result


def stand_in(owner: Detectron2Framework, levels: Mapping[str, int], channels: int) -> Any:
    """A backbone of detectron2's without weights, whose maps are those of `owner`."""
    from detectron2.layers import ShapeSpec
    from detectron2.modeling import Backbone as Theirs

    class StandIn(Theirs):  # type: ignore[misc]
        size_divisibility = DIVISOR

        def forward(self, batch: Tensor) -> dict[str, Tensor]:
            features: dict[str, Tensor] = self.__dict__["owner"].features(batch)
            return features

        def output_shape(self) -> dict[str, Any]:
            return {name: ShapeSpec(channels=channels, stride=stride) for name, stride in levels.items()}

    made = StandIn()
    made.__dict__["owner"] = owner  # past nn.Module, for which it would be a child and its weights named twice
    return made


def pixels(backbone: Backbone) -> dict[str, Any]:
    """How a meta-architecture normalises images: as we do, RGB."""
    mean, std = (values.flatten().tolist() for values in (backbone.mean, backbone.std))
    return {"pixel_mean": mean, "pixel_std": std, "input_format": "RGB"}


def anchor_generator(sizes: Sequence[Sequence[float]], levels: Mapping[str, int], scale: float) -> Any:
    """detectron2's anchors of `sizes`, one tuple a level, made `scale` times as large."""
    from detectron2.modeling.anchor_generator import DefaultAnchorGenerator

    scaled = [[size * scale for size in of_level] for of_level in sizes]
    strides = list(levels.values())
    # offset 0 as in detectron2's configurations; the default of the class is another
    return DefaultAnchorGenerator(sizes=scaled, aspect_ratios=[0.5, 1.0, 2.0], strides=strides, offset=0.0)


def built_with_detectron2(name: str, settings: type[B], detector: type[D]) -> Builder[B, D]:
    """The entry of a detector in the catalog, which says what is missing where detectron2 is not installed."""

    def make(backbone: Backbone, num_classes: int, chosen: B) -> D:
        need_detectron2(f"detector {name!r}")
        make_detector: Callable[[Backbone, int, B], D] = detector
        return make_detector(backbone, num_classes, chosen)

    return Builder(settings, make)
