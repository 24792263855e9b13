"""Our Cascade R-CNN of torchvision's parts against detectron2's, with the same weights, regions and crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from casl.models.backbone import build_backbone
from casl.models.detect import InferenceSettings
from casl.models.frameworks import cascade_rcnn, detectron2_cascade
from casl.models.frameworks.cascade_rcnn import CascadeRCNNSettings
from casl.models.frameworks.rcnn_losses import BETA, Regions, region_losses
from tests.detectron2.there import MISSING
from tests.models.frameworks.cases import SMALL

pytest.importorskip("detectron2", reason=MISSING)

from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torchvision.models.detection._utils import BoxCoder

SIZE, CLASSES = 96, 3
SETTINGS = CascadeRCNNSettings(**SMALL)
LEVELS = ("p2", "p3", "p4", "p5")


def pair() -> tuple[Any, Any]:
    """Both, with the weights of ours. Background is the first class in ours and the last in theirs."""
    torch.manual_seed(0)
    ours = cascade_rcnn.build(build_backbone("resnet_micro"), CLASSES, SETTINGS).eval()
    theirs = detectron2_cascade.build(build_backbone("resnet_micro"), CLASSES, SETTINGS).eval()
    heads = theirs.framework.roi_heads
    for stage, mine in enumerate(ours.framework.roi_heads):
        with torch.no_grad():
            for values in mine.box_predictor.parameters():
                values.normal_(0, 0.2)
        box = {"fc1": mine.box_head.fc6, "fc2": mine.box_head.fc7}
        for name, layer in box.items():
            getattr(heads.box_head[stage], name).load_state_dict(layer.state_dict())
        classes = {k: torch.cat([v[1:], v[:1]]) for k, v in mine.box_predictor.cls_score.state_dict().items()}
        heads.box_predictor[stage].cls_score.load_state_dict(classes)
        heads.box_predictor[stage].bbox_pred.load_state_dict(mine.box_predictor.bbox_pred.state_dict())
    heads.box_pooler = Pooler(ours.framework.roi_heads[0].box_roi_pool)
    return ours, theirs


class Pooler(torch.nn.Module):
    """torchvision's crops for detectron2: the two place the corners of cells differently, which is not compared."""

    def __init__(self, pool: Any) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, maps: Sequence[Tensor], boxes: Sequence[Any]) -> Tensor:
        features = {str(n): of_level for n, of_level in enumerate(maps)}  # as torchvision calls them
        cropped: Tensor = self.pool(features, [b.tensor for b in boxes], [(SIZE, SIZE)] * len(boxes))
        return cropped


def pyramid(images: int) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(1)
    sides = [SIZE // stride for stride in (4, 8, 16, 32)]
    return {
        name: torch.randn(images, SETTINGS.channels, side, side, generator=source)
        for name, side in zip(LEVELS, sides, strict=True)
    }


def some_boxes(count: int, seed: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=source) * 60
    return torch.cat([corner, corner + 6 + torch.rand(count, 2, generator=source) * 29], 1)


@torch.no_grad()
def test_stages_refine_and_sort_regions_as_detectron2_does() -> None:
    ours, theirs = pair()
    boxes, features = [some_boxes(40, 2), some_boxes(25, 3)], pyramid(2)
    settings = InferenceSettings(0.0, nms=0.5, max_detections=30)
    named = {str(n): of_level for n, of_level in enumerate(features.values())}
    mine = ours.objects(named, [(SIZE, SIZE)] * 2, boxes, settings)
    theirs.limit(settings)
    proposals = [Instances((SIZE, SIZE), proposal_boxes=Boxes(of_image.clone())) for of_image in boxes]
    found, _ = theirs.framework.roi_heads(None, features, proposals)
    for own, other in zip(mine, found, strict=True):
        assert len(own["scores"]) == len(other) == 30
        assert torch.allclose(own["scores"], other.scores, atol=1e-6)
        assert torch.allclose(own["boxes"], other.pred_boxes.tensor, atol=1e-4)
        assert torch.equal(own["labels"] - 1, other.pred_classes)
    start = torch.cat(boxes)
    end = torch.cat([own["boxes"] for own in mine])
    assert torch.cdist(end, start, p=float("inf")).min(1).values.max() > 1, "stages moved the boxes"


@pytest.mark.parametrize("stage", range(3))
def test_losses_of_a_stages_regions_are_those_of_detectron2(stage: int) -> None:
    """Given which region learns what, and where a box loss turns linear: in both, the two differ by default."""
    _, theirs = pair()
    predictor = theirs.framework.roi_heads.box_predictor[stage]
    predictor.smooth_l1_beta = BETA
    source = torch.Generator().manual_seed(stage)
    boxes = [some_boxes(12, 4), some_boxes(9, 5)]
    targets = [one + torch.randn(one.shape, generator=source) * 2 for one in boxes]
    labels = [torch.randint(0, CLASSES + 1, (len(one),), generator=source) for one in boxes]  # 0 is background
    logits = torch.randn(21, CLASSES + 1, generator=source)
    offsets = torch.randn(21, 4, generator=source)
    proposals = [
        Instances((SIZE, SIZE), proposal_boxes=Boxes(b), gt_boxes=Boxes(t), gt_classes=(k - 1) % (CLASSES + 1))
        for b, t, k in zip(boxes, targets, labels, strict=True)
    ]
    with EventStorage():
        wanted = predictor.losses((torch.cat([logits[:, 1:], logits[:, :1]], 1), offsets), proposals)
    coder = BoxCoder(SETTINGS.codes[stage])
    drawn = Regions(boxes, [torch.zeros_like(k) for k in labels], labels, list(coder.encode(targets, boxes)))
    mine = region_losses(logits, offsets.repeat(1, CLASSES + 1), drawn)
    assert torch.allclose(mine["loss_cls"], wanted["loss_cls"], rtol=1e-5)
    assert torch.allclose(mine["loss_box"], wanted["loss_box_reg"], rtol=1e-5)
