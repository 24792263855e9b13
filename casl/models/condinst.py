"""CondInst: FCOS whose every detection also brings the network that draws its mask.

Source: CondInst (ECCV 2020) as in AdelaiDet adet/modeling/condinst; the entity options are those of qqlu/Entity,
Entity/EntitySeg.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from casl.errors import SpecError
from casl.models.backbone import Backbone
from casl.models.detect import Detections, InferenceSettings, to_original
from casl.models.detector import Builder, Part, Target, box_weights, check_paired
from casl.models.entity_head import PATH_WEIGHTS, KernelBank, KernelHead, cluster_loss, kernel_conv
from casl.models.fcos import FCOS, FCOSSettings
from casl.models.head import HeadOutput
from casl.models.locations import Assignment, Grid
from casl.models.mask_branch import MaskBranch
from casl.models.mask_head import (
    MASK_STRIDE,
    InstanceKernels,
    KernelLayout,
    Objects,
    dice_loss,
    dynamic_masks,
    masks_to_original,
    mean_or_zero,
    sample_targets,
)
from casl.models.overlap import inclusive_boxes, rescored, resolve_overlaps
from casl.models.positives import (
    Choice,
    MaskLearners,
    Positives,
    best_of_each,
    choose,
    draw_seed,
    gather,
    learners_of,
    owners_of,
)
from casl.models.shares import DenseShare, MaskShare, Peers, total

CHUNK_PIXELS = 2**24  # of masks that are probabilities at a time when predicting: 64 MiB a copy
MASK_THRESHOLD = 0.5
OWN_PATH = "111"  # of the bank: instance kernels alone, what predictions use


@dataclass(frozen=True)
class CondInstSettings(FCOSSettings):
    """Everything about CondInst but its backbone and its classes. Defaults are AdelaiDet's.

    EntitySeg's are `kernel_head=True, bank=True, cluster_weight=0.5, max_per_image=120, bias_on_box=False,
    non_overlap=True, inclusive_boxes=True` and an `inference` that thresholds the class probability.

    Attributes:
        mask_channels: inside the mask branch.
        mask_convs: blocks of the mask branch's tower.
        mask_features: channels of the map masks are drawn from.
        dynamic_channels: between the layers of an instance's network.
        dynamic_layers: of an instance's network.
        relative_coords: whether that network sees where a cell lies relative to its instance.
        max_per_image: positives of an image that get a mask loss, drawn at random; None for all. AdelaiDet draws 500
            and EntitySeg 240 of the two images that a GPU has.
        topk_per_image: instead of drawing, take about this many positives of every image, the best-scored of each
            object and as many of each; needs `max_per_image=None`.
        kernel_head: EntitySeg's controller in place of one convolution.
        bank: also train through EntitySeg's shared kernels.
        cluster_weight: of EntitySeg's loss against overlapping masks, 0.5 there; 0 leaves it out.
        non_overlap: predict entities, of which no two share a pixel.
        inclusive_boxes: with `non_overlap`, give the first and last column and row of what is left of a mask as its
            box, as the truth has it that EntitySeg takes from panoptic PNGs; otherwise boxes are the regressed ones.
        mask_rescore: with `non_overlap`, multiply scores by the mean probability inside the mask.
        inference: as in FCOS, but class probability times centre-ness is compared with the threshold.

    Raises:
        SpecError: as in FCOS, or options that exclude each other.
    """

    mask_channels: int = 128
    mask_convs: int = 4
    mask_features: int = 8
    dynamic_channels: int = 8
    dynamic_layers: int = 3
    relative_coords: bool = True
    max_per_image: int | None = 250
    topk_per_image: int | None = None
    kernel_head: bool = False
    bank: bool = False
    cluster_weight: float = 0.0
    non_overlap: bool = False
    inclusive_boxes: bool = False
    mask_rescore: bool = False
    inference: InferenceSettings = field(default_factory=lambda: InferenceSettings(threshold_on_product=True))

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = (self.max_per_image, self.topk_per_image)
        if any(limit is not None and limit < 1 for limit in limits) or self.cluster_weight < 0:
            raise SpecError(f"limits {limits} must be at least 1 and cluster weight {self.cluster_weight} at least 0")
        if self.topk_per_image is not None and self.max_per_image is not None:
            raise SpecError("topk_per_image replaces the random choice: set max_per_image to None")
        if self.dynamic_layers < 1 or (self.bank and self.dynamic_layers != 3):
            raise SpecError(f"{self.dynamic_layers} dynamic layers: at least one is needed, three with a bank")
        for part in ("mask_rescore", "inclusive_boxes"):
            if getattr(self, part) and not self.non_overlap:
                raise SpecError(f"{part} is part of entity inference: set non_overlap too")

    @property
    def layout(self) -> KernelLayout:
        """Of an instance's parameters."""
        return KernelLayout(self.dynamic_layers, self.dynamic_channels, self.mask_features, self.relative_coords)

    @property
    def sizes_of_interest(self) -> tuple[float, ...]:
        """What relative coordinates are divided by, pixels a level: the upper limit of its objects' reach, twice the
        last one for the level that has none."""
        return (*self.ranges, 2 * self.ranges[-1])


class CondInst(FCOS):
    """CondInst, a `Divisible` detector: FCOS that also draws masks.

    Beside the keys of FCOS the state dict has `head.controller.`, `mask_branch.` and, with a bank, `mask_head.`.

    Args:
        backbone: C2..C5.
        num_classes: 1 is class-agnostic.
        settings: everything else.
    """

    settings: CondInstSettings
    needs: ClassVar[tuple[str, ...]] = ("masks",)

    def __init__(self, backbone: Backbone, num_classes: int, settings: CondInstSettings) -> None:
        outputs = settings.layout.total
        controller = KernelHead if settings.kernel_head else kernel_conv
        super().__init__(backbone, num_classes, settings, controller(settings.channels, outputs))
        self.mask_branch = MaskBranch(
            settings.channels, settings.mask_channels, settings.mask_features, settings.mask_convs
        )
        self.mask_head = KernelBank(settings.layout) if settings.bank else None

    def shares(self, parts: Sequence[Part], size: tuple[int, int], images: int, peers: Peers) -> Sequence[MaskShare]:
        """As in FCOS. Mask losses are averaged over groups of images of the whole batch, see `positives.divisors`."""
        dense = super().shares(parts, size, images, peers)
        seed = self._draw_seed()
        rows = [int(row[0]) for row in peers.gather([sum(len(targets) for _, targets in parts)])]
        first, choices = sum(rows[: peers.rank]), []
        counts = torch.zeros(2, sum(rows))
        place = first
        for share, (_, targets) in zip(dense, parts, strict=True):
            choices.append(self._choice(share.assignment, targets, seed, place))
            here = slice(place, place := place + len(targets))
            counts[:, here] = torch.tensor([choices[-1].positives, choices[-1].objects])
        whole = [int(number) for number in total(peers, counts.flatten().tolist())]
        learners = learners_of(choices, (whole[: sum(rows)], whole[sum(rows) :]), first)
        return [MaskShare(**vars(share), learners=mine) for share, mine in zip(dense, learners, strict=True)]

    def _choice(self, assignment: Assignment, targets: Sequence[Target], seed: int, first: int = 0) -> Choice:
        objects = [len(target["labels"]) for target in targets]
        return choose(assignment, objects, self.settings.max_per_image, self.settings.topk_per_image, seed, first)

    def _draw_seed(self) -> int:
        """Of the positives of a batch. It is the first random number of a training step, drawn before the network drops
        paths; so a part of a batch draws what the whole would."""
        return draw_seed() if self.training else 0

    def losses(
        self, images: Sequence[Tensor], targets: Sequence[Target], share: DenseShare | None = None
    ) -> dict[str, Tensor]:
        """As in FCOS, with "loss_mask"; with a bank instead "loss_mask_111" and so on, one a path, weighted; with a
        cluster weight also "loss_mask_cluster", weighted. A batch without positives has mask losses of 0.

        They are means over the positives of two neighbouring images, and then over the pairs of the batch, as the
        reference has means over a GPU of two images and then over GPUs.

        "masks" are required. The weight of a box multiplies the mask loss of each of its positives, and the cluster
        loss of its object, whose mask still competes for pixels with the others at any weight.

        Raises:
            ValueError: a target has no masks or not of the size of its image, or as in FCOS.
        """
        _check_masks(images, targets)
        return super().losses(images, targets, share)

    def outputs(self, batch: Tensor) -> HeadOutput:
        """As in FCOS, with the map that masks are drawn from."""
        seed = self._draw_seed()
        pyramid = self.features(batch)
        output: HeadOutput = self.head(pyramid)
        output.seed = seed
        output.mask_features = self.mask_branch(pyramid)
        return output

    def criterion(
        self,
        output: HeadOutput,
        grid: Grid,
        assignment: Assignment,
        targets: Sequence[Target],
        share: DenseShare | None = None,
    ) -> dict[str, Tensor]:
        """As in FCOS, with the mask losses."""
        assert output.mask_features is not None
        assert share is None or isinstance(share, MaskShare)
        owners = owners_of([len(target["labels"]) for target in targets], grid.points.device)
        positives = gather(output, grid, assignment, owners, self.settings.sizes_of_interest)
        if share is not None:
            learners = share.learners
        else:
            choice = self._choice(assignment, targets, output.seed)
            (learners,) = learners_of([choice], (choice.positives, choice.objects), 0)
        if self.settings.topk_per_image is not None:
            positives = best_of_each(positives, self.settings.topk_per_image)
        elif learners.chosen is not None:
            positives = positives.select(learners.chosen.to(grid.points.device))
        height, width = (side * MASK_STRIDE for side in output.mask_features.shape[-2:])
        weights = box_weights(targets)
        objects = Objects(
            torch.cat([sample_targets(target["masks"], height, width) for target in targets]),
            owners,
            None if weights is None else torch.cat(weights),
        )
        mask_losses = self._mask_losses(output.mask_features, positives, objects, learners)
        return super().criterion(output, grid, assignment, targets, share) | mask_losses

    def _mask_losses(
        self, features: Tensor, positives: Positives, objects: Objects, learners: MaskLearners
    ) -> dict[str, Tensor]:
        """Of `positives`, on the map `features`."""
        wanted = objects.masks[positives.objects][:, None]
        weights = None if objects.weights is None else objects.weights[positives.objects]
        divisors = learners.positives.to(features.device)[positives.kernels.images]

        def mean_dice(logits: Tensor) -> Tensor:
            return mean_or_zero(dice_loss(logits.sigmoid(), wanted), divisors, weights)

        if self.mask_head is None:
            own = dynamic_masks(features, positives.kernels, self.settings.layout)
            losses = {"loss_mask": mean_dice(own)}
        else:
            logits = self.mask_head(features, positives.kernels)
            own = logits[OWN_PATH]
            losses = {f"loss_mask_{path}": PATH_WEIGHTS[path] * mean_dice(values) for path, values in logits.items()}
        if self.settings.cluster_weight:
            overlap = cluster_loss(own, positives.objects, objects, learners.objects.to(features.device))
            losses["loss_mask_cluster"] = self.settings.cluster_weight * overlap
        return losses

    def results(
        self,
        found: Sequence[Detections],
        output: HeadOutput,
        images: Sequence[Tensor],
        original_sizes: Sequence[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """As in FCOS, with "masks". A mask may be empty, box and score stay, as in the reference. With
        `non_overlap` no two masks share a pixel, none is empty or a line; with `inclusive_boxes` the boxes are those
        of the masks (see `overlap`); with `mask_rescore` the score that FCOS gave is in "detection_scores" (N,).
        """
        assert output.mask_features is not None
        results = []
        for index, (image, original) in enumerate(zip(images, original_sizes, strict=True)):
            size = (image.shape[1], image.shape[2])
            boxes, inside = to_original(found[index].boxes, size, original)
            kernels = self._detected(found[index], index).select(inside)
            result = {
                "boxes": boxes[inside],
                "scores": found[index].scores[inside],
                "labels": found[index].labels[inside],
            }
            results.append(self._with_masks(result, output.mask_features, kernels, size, original))
        return results

    def _detected(self, detections: Detections, image: int) -> InstanceKernels:
        assert detections.kernels is not None
        sizes = detections.locations.new_tensor(self.settings.sizes_of_interest)
        images = torch.full_like(detections.levels, image)
        return InstanceKernels(detections.kernels, detections.locations, sizes[detections.levels], images)

    def _with_masks(
        self,
        result: dict[str, Tensor],
        features: Tensor,
        kernels: InstanceKernels,
        size: tuple[int, int],
        original: tuple[int, int],
    ) -> dict[str, Tensor]:
        """`result` of one image of `size` with the masks of its `kernels`, made exclusive if the settings say so."""

        def paint(kernels: InstanceKernels) -> Iterator[Tensor]:
            area = max(features.shape[2] * features.shape[3] * MASK_STRIDE**2, original[0] * original[1])
            for piece in kernels.chunks(max(1, CHUNK_PIXELS // area)):
                logits = dynamic_masks(features, piece, self.settings.layout)
                yield masks_to_original(logits.sigmoid(), size, original)

        none = torch.zeros(0, *original, dtype=torch.bool, device=features.device)
        masks = torch.cat([none, *(probabilities > MASK_THRESHOLD for probabilities in paint(kernels))])
        if not self.settings.non_overlap:
            return result | {"masks": masks}
        keep, masks = resolve_overlaps(masks, result["scores"])
        result = {name: value[keep] for name, value in result.items()} | {"masks": masks}
        if self.settings.inclusive_boxes:
            result["boxes"] = inclusive_boxes(masks)
        return rescored(result, paint(kernels.select(keep))) if self.settings.mask_rescore else result


def _check_masks(images: Sequence[Tensor], targets: Sequence[Target]) -> None:
    check_paired(images, targets)
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        if "masks" not in target:
            raise ValueError(f"CondInst learns masks, but target {index} has none: train FCOS on boxes alone")
        wanted = (len(target["boxes"]), *image.shape[1:])
        if target["masks"].shape != wanted:
            raise ValueError(
                f"masks of target {index} are {tuple(target['masks'].shape)}, its boxes and image {wanted}"
            )


build = Builder(CondInstSettings, CondInst)
