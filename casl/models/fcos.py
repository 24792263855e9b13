"""FCOS: backbone, pyramid and head as one detector. CondInst is built on it.

Source: FCOS (ICCV 2019) as in AdelaiDet; see the modules it is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from casl.errors import SpecError, unknown
from casl.models.backbone import Backbone
from casl.models.detect import Detections, InferenceSettings, select, to_original
from casl.models.detector import (
    Builder,
    Part,
    Target,
    box_weights,
    check_paired,
    check_targets,
    in_shapes,
    padded,
    to_batch,
)
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
from casl.models.losses import BOX_QUALITIES, fcos_losses, judge_points, normalisers
from casl.models.noisy import LABELS, Rule
from casl.models.shares import DenseShare, Peers, total


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
        inference: thresholds of `predict`.
        clean: "off", or one of casl.models.noisy.LABELS: positives have soft targets and weights by what the head says
            of them. No method of FCOS; for labels that are noisy.
        clean_alpha, clean_gamma: as of casl.models.noisy.Rule.

    Raises:
        SpecError: a name is unknown, a number is out of its range, or strides and ranges do not fit together.
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
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    clean: str = "off"
    clean_alpha: float = 0.75
    clean_gamma: float = 1.0

    def __post_init__(self) -> None:
        if self.clean not in ("off", *LABELS):
            raise SpecError(unknown("label of locations", self.clean, ("off", *LABELS)))
        Rule(self.clean_alpha, self.clean_gamma)  # refuses what is out of range
        if self.box_quality not in BOX_QUALITIES:
            raise SpecError(unknown("box quality", self.box_quality, BOX_QUALITIES))
        if len(self.strides) != 5 or len(self.ranges) != 4 or list(self.ranges) != sorted(self.ranges):
            raise SpecError(f"strides {self.strides} must be five, P3..P7, and ranges {self.ranges} four, ascending")

    @property
    def rule(self) -> Rule | None:
        """How positives are judged; None if they are not."""
        return None if self.clean == "off" else Rule(self.clean_alpha, self.clean_gamma, self.clean)


class FCOS(nn.Module):
    """FCOS, a `Divisible` detector.

    State-dict keys begin with `backbone.`, `fpn.` or `head.`; `casl.models.parts` reads them. Of these the gradient
    never reaches `fpn.lateral2`, `fpn.output2` and, in Swin, `backbone.body.norm0`: their gradients are None.

    Args:
        backbone: C2..C5.
        num_classes: 1 is class-agnostic.
        settings: everything else.
        controller: made part of the head, runs on the box tower; for CondInst.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    weighted: ClassVar[bool] = True

    def __init__(
        self, backbone: Backbone, num_classes: int, settings: FCOSSettings, controller: nn.Module | None = None
    ) -> None:
        super().__init__()
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

    def preprocess(self, images: Sequence[Tensor], size: tuple[int, int] | None = None) -> Tensor:
        """A batch of images, see `to_batch`."""
        return to_batch(images, self.backbone.mean, self.backbone.std, size)

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

    def assign(self, grid: Grid, targets: Sequence[Target]) -> Assignment:
        """Assignment (B, L) of a batch. Targets with masks are sampled around the centroid of the mask, others around
        the box.

        Raises:
            ValueError: labels, boxes and weights do not fit together, a label is not in [0, num_classes), or a mask is
                empty.
        """
        check_targets(targets, self.num_classes)
        images = []
        for target in targets:
            centers = mask_centers(target["masks"]) if "masks" in target else None
            images.append(
                assign_on(grid, target["boxes"], target["labels"], centers, self.num_classes, self.settings.radius)
            )
        return stack_assignments(images, box_weights(targets))

    def shares(self, parts: Sequence[Part], size: tuple[int, int], images: int, peers: Peers) -> Sequence[DenseShare]:
        """As in `Divisible`."""
        height, width = padded(*size)
        points = [
            locations(-(-height // s), -(-width // s), s, self.backbone.mean.device) for s in self.settings.strides
        ]
        grid = make_grid(points, self.settings.strides, self.settings.ranges)
        assignments = [self.assign(grid, targets) for _, targets in parts]
        sums = [normalisers(assignment, self.settings.box_quality) for assignment in assignments]
        positives, quality = total(peers, [float(sum(column)) for column in zip(*sums, strict=True)])
        return [DenseShare((height, width), images, assignment, positives, quality) for assignment in assignments]

    def losses(
        self, images: Sequence[Tensor], targets: Sequence[Target], share: DenseShare | None = None
    ) -> dict[str, Tensor]:
        """As in `Divisible`: "loss_cls", "loss_box" and "loss_center".

        Targets may have "masks", none of them empty. They move the sampling to their centroids even here, where no mask
        is predicted, as in the reference; leave them out to sample around the centres of the boxes.
        """
        check_paired(images, targets)
        output = self.outputs(self.preprocess(images, share.size if share else None))
        grid = self.grid(output)
        assignment = share.assignment if share else self.assign(grid, targets)
        return self.criterion(output, grid, assignment, targets, share)

    def outputs(self, batch: Tensor) -> HeadOutput:
        """(B, 3, H, W) normalised -> all that the losses compare with targets."""
        output: HeadOutput = self.head(self.features(batch))
        return output

    def criterion(
        self,
        output: HeadOutput,
        grid: Grid,
        assignment: Assignment,
        targets: Sequence[Target],
        share: DenseShare | None = None,
    ) -> dict[str, Tensor]:
        """Losses of what was predicted. Another assignment or other weights, and other losses, come in here.

        Args:
            output: of a batch.
            grid: its L locations.
            assignment: (B, L), what each should predict and how much that counts.
            targets: of the batch.
            share: if this is a part of a batch.
        """
        del grid, targets  # the assignment says all that FCOS needs
        whole = (share.positives, share.quality) if share else None
        soft = None
        if rule := self.settings.rule:
            assignment, soft = judge_points(output, assignment, rule)
        return fcos_losses(output, assignment, self.settings.box_quality, whole, soft)

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
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
        """As in `Detector`."""
        if self.training:
            raise RuntimeError("predict needs evaluation mode: call .eval() first")
        return in_shapes(images, original_sizes, partial(self.find, settings=settings))

    def find(
        self, images: Sequence[Tensor], original_sizes: Sequence[tuple[int, int]], settings: InferenceSettings | None
    ) -> list[dict[str, Tensor]]:
        """As `predict`, of images that are padded to one size together."""
        output = self.outputs(self.preprocess(images))
        return self.results(self.detect(output, settings), output, images, original_sizes)

    def results(
        self,
        found: Sequence[Detections],
        output: HeadOutput,
        images: Sequence[Tensor],
        original_sizes: Sequence[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """What `predict` gives for detections (all or some) in the output for images."""
        del output  # it has all that further predictions of a detection are made from
        results = []
        for detections, image, original in zip(found, images, original_sizes, strict=True):
            boxes, inside = to_original(detections.boxes, (image.shape[1], image.shape[2]), original)
            results.append(
                {"boxes": boxes[inside], "scores": detections.scores[inside], "labels": detections.labels[inside]}
            )
        return results


build = Builder(FCOSSettings, FCOS)
