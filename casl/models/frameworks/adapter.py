"""What lets torchvision's detectors run on the backbone and the pyramid of this package.

torchvision's detectors take a backbone that is also the pyramid, resize their images and count classes from the
background on. Here they get maps of our own pyramid, images that are already resized, and classes from 0 on; what is
torchvision's is everything behind the pyramid: heads, anchors, matching, sampling, losses and selection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image

from casl.errors import SpecError
from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings, check_hard, to_original
from casl.models.detector import Target, check_paired, check_targets, in_shapes, to_batch
from casl.models.fpn import FPN
from casl.models.shares import Share

SIZES = (32, 64, 128, 256, 512)  # of torchvision's anchors, pixels, finest level first
RATIOS = (0.5, 1.0, 2.0)  # height over width
REFERENCE_RANGE = 64.0  # `ranges[0]` at which anchors have these sizes
MASK_THRESHOLD = 0.5
CHUNK_PIXELS = 2**24  # of masks that are probabilities at a time: 64 MiB a copy


@dataclass(frozen=True)
class FrameworkSettings:
    """What all frameworks have. Defaults are torchvision's.

    Attributes:
        channels: of the pyramid.
        ranges: upper object sizes of FCOS' levels, pixels. Only the first counts: anchors, and the sizes by which
            objects are shared among levels, are torchvision's at 64 and in proportion otherwise, so that small images
            get small anchors.
        inference: thresholds of `predict`. `topk` counts candidates a level before the first suppression.

    Raises:
        SpecError: a number is out of its range, or `inference` thresholds a product with a centre-ness, which no
            framework has.
    """

    channels: int = 256
    ranges: tuple[float, ...] = (64, 128, 256, 512)
    inference: InferenceSettings = field(default_factory=lambda: InferenceSettings(nms=0.5))

    def __post_init__(self) -> None:
        if self.channels < 1 or not self.ranges or self.ranges[0] <= 0:
            raise SpecError(f"channels {self.channels} and the first of ranges {self.ranges} must be positive")
        if self.inference.threshold_on_product:
            raise SpecError("threshold_on_product is about centre-ness, which only FCOS and CondInst predict")

    @property
    def scale(self) -> float:
        """Size of anchors and objects relative to torchvision's."""
        return self.ranges[0] / REFERENCE_RANGE


class Framework(nn.Module):
    """A detector of torchvision's behind our pyramid.

    State-dict keys begin with `backbone.`, `fpn.` or `framework.`; the last are torchvision's own names.

    Args:
        backbone: C2..C5.
        fpn: its pyramid.
        framework: of torchvision, built on `Placeholder`.
        num_classes: without the background; 1 is class-agnostic.
        settings: everything else.

    Attributes:
        first_label: what torchvision calls class 0.
        softens: whether it has Soft-NMS beside hard suppression.
    """

    first_label: ClassVar[int] = 1
    softens: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()
    weighted: ClassVar[bool] = True

    def __init__(
        self, backbone: Backbone, fpn: FPN, framework: Any, num_classes: int, settings: FrameworkSettings
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.settings = settings
        self.backbone = backbone
        self.fpn = fpn
        self.framework = framework

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) normalised -> the pyramid in torchvision's form, float32 also under mixed precision: its anchors
        take their type from the maps, and half precision knows large coordinates to a few pixels only."""
        levels: list[Tensor] = self.pyramid(self.backbone(batch))
        return {str(i): level.float() for i, level in enumerate(levels)}

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """C2..C5 -> the levels the framework reads."""
        raise NotImplementedError

    def framework_losses(
        self, batch: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Losses of targets that are in torchvision's terms."""
        raise NotImplementedError

    def detect(
        self, batch: ImageList, features: dict[str, Tensor], settings: InferenceSettings
    ) -> list[dict[str, Tensor]]:
        """Objects in the resized images, in torchvision's terms."""
        raise NotImplementedError

    def losses(
        self, images: Sequence[Tensor], targets: Sequence[Target], share: Share | None = None
    ) -> dict[str, Tensor]:
        """As in `Detector`; `share` as in `Divisible`, of a framework that has `shares`."""
        if not self.training:
            raise RuntimeError("losses need training mode: call .train() first")
        check_paired(images, targets)
        check_boxes(targets, self.num_classes)
        for image, target in zip(images, targets, strict=True):
            self.check(image, target)
        batch = self.batch(images, share.size if share else None)
        return self.framework_losses(batch, self.features(batch.tensors), [self.translated(t) for t in targets])

    def batch(self, images: Sequence[Tensor], size: tuple[int, int] | None = None) -> ImageList:
        """Images in torchvision's terms: a batch, and the sizes before padding."""
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        return ImageList(to_batch(images, self.backbone.mean, self.backbone.std, size), sizes)

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """The same as `losses`; data-parallel wrappers only see calls of the module itself."""
        return self.losses(images, targets)

    def check(self, image: Tensor, target: Target) -> None:
        """Whether what a target has besides boxes can be learned from.

        Raises:
            ValueError: it cannot; the message says why.
        """
        shapes = self.shapes(len(target["labels"]), image.shape[1], image.shape[2])
        for name in self.needs:
            found = tuple(target[name].shape) if name in target else "none"
            if found != shapes[name]:
                raise ValueError(f"the framework learns {name}: a target should have {shapes[name]}, it has {found}")

    def shapes(self, count: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """Shapes of what the framework `needs`, for `count` objects in an image of that size."""
        return {}

    def translated(self, target: Target) -> dict[str, Tensor]:
        """A target in torchvision's terms."""
        values = {"boxes": target["boxes"].float(), "labels": target["labels"] + self.first_label}
        return values | {name: target[name] for name in (*self.needs, "weights") if name in target}

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
        settings = settings or self.settings.inference
        if not self.softens:
            check_hard(settings)
        return in_shapes(images, original_sizes, partial(self.find, settings=settings))

    def find(
        self, images: Sequence[Tensor], original_sizes: Sequence[tuple[int, int]], settings: InferenceSettings
    ) -> list[dict[str, Tensor]]:
        """As `predict`, of images that are padded to one size together."""
        batch = self.batch(images)
        found = self.detect(batch, self.features(batch.tensors), settings)
        results = []
        for objects, size, original in zip(found, batch.image_sizes, original_sizes, strict=True):
            labels = objects["labels"] - self.first_label
            results.append(restore(objects | {"labels": labels}, size, original))
        return results


class Placeholder(nn.Module):
    """Stands where torchvision's constructors want a backbone, of which they read the number of channels only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels


def check_boxes(targets: Sequence[Target], num_classes: int) -> None:
    """As `check_targets`; besides, boxes must have a width and a height.

    Raises:
        ValueError: as there, or a box has none.
    """
    check_targets(targets, num_classes)
    boxes = torch.cat([target["boxes"] for target in targets])
    if bool((boxes[:, 2:] <= boxes[:, :2]).any()):
        raise ValueError(f"a box without width or height, which no anchor can be matched to, among {boxes.tolist()}")


def anchors(sizes: Sequence[Sequence[int]], scale: float) -> AnchorGenerator:
    """torchvision's anchors of `sizes`, one tuple a level, made `scale` times as large.

    torchvision rounds them to whole pixels; scaled afterwards, small ones keep the shapes of the large ones.
    """
    generator = AnchorGenerator(tuple(map(tuple, sizes)), (RATIOS,) * len(sizes))
    generator.cell_anchors = [cells * scale for cells in generator.cell_anchors]
    return generator


def in_float32(module: nn.Module) -> None:
    """Make a module of torchvision's return plain float32 tensors, whatever precision and memory layout it works in.

    Boxes decoded from bfloat16 are off by pixels, and some of torchvision's code views its maps as only the usual
    layout allows. Without mixed precision and channels_last nothing changes.
    """
    module.register_forward_hook(_plain_output)


def _plain_output(module: nn.Module, inputs: Any, output: Any) -> Any:
    return _plain(output)


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float().contiguous()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return type(value)(_plain(inner) for inner in value)


def restore(found: Mapping[str, Tensor], size: tuple[int, int], original: tuple[int, int]) -> dict[str, Tensor]:
    """Objects of one image in its original coordinates; those of which nothing is left inside are dropped.

    Args:
        found: "boxes" (N, 4) XYXY in the resized image, "scores" (N,), "labels" (N,), and any of "masks" (N, 1, m, m)
            probabilities inside the boxes, "keypoints" (N, K, 3) x and y in the resized image, "semantic" (C, h, w)
            logits of the padded image at its full resolution.
        size: (height, width) of the resized image, without padding.
        original: (height, width) of the original image.

    Returns:
        "boxes" (N, 4) clipped to the original image, "scores", "labels", and, where found, "masks" (N, height, width)
        bool, "keypoints" (N, K, 3) x, y and torchvision's constant 1, "semantic" (height, width) int64, the best class.
    """
    boxes, inside = to_original(found["boxes"], size, original)
    result = {"boxes": boxes[inside], "scores": found["scores"][inside], "labels": found["labels"][inside]}
    if "masks" in found:
        result["masks"] = _pasted(found["masks"][inside], result["boxes"], original)
    if "keypoints" in found:
        ratio = boxes.new_tensor([original[1] / size[1], original[0] / size[0], 1.0])
        result["keypoints"] = found["keypoints"][inside] * ratio
    if "semantic" in found:
        logits = found["semantic"][None, :, : size[0], : size[1]]
        result["semantic"] = functional.interpolate(logits, original, mode="bilinear", align_corners=False)[0].argmax(0)
    return result


def _pasted(masks: Tensor, boxes: Tensor, original: tuple[int, int]) -> Tensor:
    pieces = [torch.zeros(0, *original, dtype=torch.bool, device=masks.device)]
    step = max(1, CHUNK_PIXELS // (original[0] * original[1]))
    for first in range(0, len(masks), step):
        pasted = paste_masks_in_image(masks[first : first + step], boxes[first : first + step], original)
        pieces.append(pasted[:, 0] > MASK_THRESHOLD)
    return torch.cat(pieces)
