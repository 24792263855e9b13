"""FCOS: backbone, pyramid and head as one detector. CondInst is built on it.

Source: FCOS (ICCV 2019) as in AdelaiDet; see the modules it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from casl.errors import SpecError, unknown
from casl.models.backbone import Backbone
from casl.models.detect import Detections, InferenceSettings, select, to_original
from casl.models.fpn import FPN
from casl.models.head import FCOSHead, HeadOutput
from casl.models.locations import (
    Assignment,
    Grid,
    assign_on,
    locations,
    make_grid,
    mask_centers,
    stack_assignments,
)
from casl.models.losses import BOX_QUALITIES, fcos_losses, normalisers
from casl.models.shares import DenseShare, Part, Peers, padded, total


@dataclass(frozen=True)
class FCOSSettings:
    """Everything about FCOS but its backbone and its classes. Defaults are the reference's.

    Attributes:
        channels: of the pyramid and the head.
        towers: depth of the head's towers.
        strides: of P3..P7, pixels.
        ranges: limits between the levels, pixels; see `locations.make_grid`. Smaller images want smaller ones.
        radius: of the centre region, in strides.
        box_quality: "ctrness" or "iou".
        bias_on_box: whether box and centre-ness layers have a bias (the Entity variant has none).
        clip: of box distances below zero, a key of `head.CLIPS`; it changes gradients only.
        lowest: finest level of the pyramid. With 2, lateral and output layer of P2 exist as in the Entity variant, for
            frameworks that load the neck; they are never trained here.
        top_from: "p5" or "c5", the map P6 is computed from.
        mean, std: of the input, RGB on 0..255. The default is ImageNet's, which timm's weights expect. The reference
            code feeds BGR with std 1 instead, for Swin too.
        inference: thresholds of `predict`.

    Raises:
        SpecError: a name is unknown, or strides and ranges do not fit together.
    """

    channels: int = 256
    towers: int = 4
    strides: tuple[int, ...] = (8, 16, 32, 64, 128)
    ranges: tuple[float, ...] = (64, 128, 256, 512)
    radius: float = 1.5
    box_quality: str = "ctrness"
    bias_on_box: bool = True
    clip: str = "relu"
    lowest: int = 2
    top_from: str = "p5"
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    inference: InferenceSettings = field(default_factory=InferenceSettings)

    def __post_init__(self) -> None:
        if self.box_quality not in BOX_QUALITIES:
            raise SpecError(unknown("box quality", self.box_quality, BOX_QUALITIES))
        if len(self.strides) != 5 or len(self.ranges) != 4 or list(self.ranges) != sorted(self.ranges):
            raise SpecError(f"strides {self.strides} must be five, P3..P7, and ranges {self.ranges} four, ascending")


class FCOS(nn.Module):
    """A detector: images in, losses or boxes out.

    State-dict keys begin with `backbone.`, `fpn.` or `head.`; `casl.models.parts` reads them. Of these the gradient
    never reaches `fpn.lateral2`, `fpn.output2` and, in Swin, `backbone.body.norm0`: their gradients are None.

    Args:
        backbone: C2..C5.
        num_classes: 1 is class-agnostic.
        settings: everything else.
        controller: made part of the head, runs on the box tower; for CondInst.

    Attributes:
        needs: what a target must have besides boxes and labels.
    """

    mean: Tensor
    std: Tensor
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, backbone: Backbone, num_classes: int, settings: FCOSSettings, controller: nn.Module | None = None
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise SpecError(f"a detector needs at least one class, got {num_classes}")
        self.num_classes = num_classes
        self.settings = settings
        self.backbone = backbone
        self.fpn = FPN(backbone.channels, settings.channels, settings.lowest, settings.top_from)
        self.head = FCOSHead(
            settings.channels,
            num_classes,
            len(settings.strides),
            settings.towers,
            controller,
            settings.bias_on_box,
            settings.clip,
        )
        self.register_buffer("mean", torch.tensor(settings.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(settings.std)[:, None, None], persistent=False)

    def preprocess(self, images: Sequence[Tensor], size: tuple[int, int] | None = None) -> Tensor:
        """Normalise, then pad with zeros at the bottom and the right to one size, a multiple of 32.

        Args:
            images: (3, h, w) each, uint8 or float, RGB on 0..255, sizes may differ.
            size: (H, W) to pad to, None for the smallest that holds all.

        Returns:
            (B, 3, H, W) float32 on the device of the model.

        Raises:
            ValueError: no image, or one that is not (3, h, w).
        """
        if not images:
            raise ValueError("no images")
        if wrong := [tuple(image.shape) for image in images if image.dim() != 3 or len(image) != 3]:
            raise ValueError(f"an image is (3, height, width) RGB, got {wrong[0]}")
        height, width = size or padded(max(i.shape[1] for i in images), max(i.shape[2] for i in images))
        batch = self.mean.new_zeros(len(images), 3, height, width)
        for row, image in zip(batch, images, strict=True):
            row[:, : image.shape[1], : image.shape[2]] = (image.to(self.mean) - self.mean) / self.std
        return batch

    def features(self, batch: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> P3..P7, each (B, channels, h, w)."""
        pyramid: list[Tensor] = self.fpn(self.backbone(batch))
        return pyramid

    def locations(self, output: HeadOutput) -> list[Tensor]:
        """Per level (h * w, 2), x and y in pixels of the padded image."""
        maps = zip(output.logits, self.settings.strides, strict=True)
        return [locations(m.shape[2], m.shape[3], stride, m.device) for m, stride in maps]

    def grid(self, output: HeadOutput) -> Grid:
        """All locations of a batch with their level, stride and range."""
        return make_grid(self.locations(output), self.settings.strides, self.settings.ranges)

    def assign(self, grid: Grid, targets: Sequence[Mapping[str, Tensor]]) -> Assignment:
        """Assignment (B, L) of a batch. Targets with masks are sampled around the centroid of the mask, others around
        the box.

        Raises:
            ValueError: a label is not in [0, num_classes), a mask is empty, or lengths do not fit together.
        """
        labels = torch.cat([target["labels"] for target in targets])
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ValueError(f"labels {sorted(set(labels.tolist()))} for a detector of {self.num_classes} classes")
        images = []
        for target in targets:
            centers = mask_centers(target["masks"]) if "masks" in target else None
            images.append(
                assign_on(grid, target["boxes"], target["labels"], centers, self.num_classes, self.settings.radius)
            )
        return stack_assignments(images)

    def shares(self, parts: Sequence[Part], size: tuple[int, int], images: int, peers: Peers) -> Sequence[DenseShare]:
        """What `losses` must know of the whole batch for each of its parts that this process has.

        Args:
            parts: images and targets, in the order of the batch.
            size: (height, width) that holds every image of the batch.
            images: of the whole batch.
            peers: the processes that have the other parts; all of them call this.
        """
        height, width = padded(*size)
        points = [locations(-(-height // s), -(-width // s), s, self.mean.device) for s in self.settings.strides]
        grid = make_grid(points, self.settings.strides, self.settings.ranges)
        assignments = [self.assign(grid, targets) for _, targets in parts]
        sums = [normalisers(assignment, self.settings.box_quality) for assignment in assignments]
        positives, quality = total(peers, [float(sum(column)) for column in zip(*sums, strict=True)])
        return [DenseShare((height, width), images, assignment, positives, quality) for assignment in assignments]

    def head_losses(
        self, output: HeadOutput, assignment: Assignment, share: DenseShare | None = None
    ) -> dict[str, Tensor]:
        """ "loss_cls", "loss_box" and "loss_center" of a batch, or of a share of one."""
        whole = (share.positives, share.quality) if share else None
        return fcos_losses(output, assignment, self.settings.box_quality, whole)

    def losses(
        self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]], share: DenseShare | None = None
    ) -> dict[str, Tensor]:
        """Losses of a batch, to be added up.

        Args:
            images: (3, h, w) each, see `preprocess`.
            targets: one an image, in its pixels: "boxes" (N, 4) float XYXY, "labels" (N,) int64, and optionally "masks"
                (N, h, w) bool, none of them empty. N = 0 is legal. Masks move the sampling to their centroids even
                here, where no mask is predicted, as in the reference; leave them out to sample around the centres of
                the boxes.
            share: of `shares`, if these images are a part of a batch; losses of all parts then add up to its losses.

        Returns:
            Scalars "loss_cls", "loss_box", "loss_center".
        """
        if len(images) != len(targets):
            raise ValueError(f"{len(images)} images but {len(targets)} targets")
        output = self.head(self.features(self.preprocess(images, share.size if share else None)))
        assignment = share.assignment if share else self.assign(self.grid(output), targets)
        return self.head_losses(output, assignment, share)

    def forward(self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The same as `losses`; data-parallel wrappers only see calls of the module itself."""
        return self.losses(images, targets)

    def detect(self, output: HeadOutput, settings: InferenceSettings | None = None) -> list[Detections]:
        """Detections of every image in the coordinates of the padded input."""
        return select(output, self.locations(output), self.settings.strides, settings or self.settings.inference)

    @torch.no_grad()
    def predict(
        self,
        images: Sequence[Tensor],
        original_sizes: Sequence[tuple[int, int]],
        settings: InferenceSettings | None = None,
    ) -> list[dict[str, Tensor]]:
        """Objects found in every image, best first.

        Args:
            images: (3, h, w) each, see `preprocess`.
            original_sizes: (height, width) of each image before it was resized.
            settings: thresholds, None for those of the detector's settings.

        Returns:
            One dict an image: "boxes" (N, 4) XYXY in the original image, clipped to it, "scores" (N,), "labels" (N,).

        Raises:
            RuntimeError: the model is in training mode, where predicting would move the statistics of its batch norms.
        """
        if self.training:
            raise RuntimeError("predict needs evaluation mode: call .eval() first")
        found = self.detect(self.head(self.features(self.preprocess(images))), settings)
        results = []
        for detections, image, original in zip(found, images, original_sizes, strict=True):
            boxes, inside = to_original(detections.boxes, (image.shape[1], image.shape[2]), original)
            results.append(
                {"boxes": boxes[inside], "scores": detections.scores[inside], "labels": detections.labels[inside]}
            )
        return results


def build(backbone: Backbone, num_classes: int, settings: FCOSSettings) -> FCOS:
    """FCOS, ready to train. The entry of the catalog."""
    return FCOS(backbone, num_classes, settings)
