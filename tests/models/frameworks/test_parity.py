"""torchvision's own models, resize, backbone and all, against ours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.retinanet import _default_anchorgen

from casl.models.detect import InferenceSettings
from casl.models.frameworks.adapter import Framework, anchors
from tests.models.frameworks.cases import batch, scene, small, total, without_objects

FULL_SIZE = (64, 128, 256, 512)  # ranges at which anchors are torchvision's


class Pyramid(nn.Module):
    """Our backbone and pyramid as torchvision wants them."""

    def __init__(self, model: Framework) -> None:
        super().__init__()
        self.model = model
        self.out_channels = model.settings.channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        levels = self.model.pyramid(self.model.backbone(images))
        return OrderedDict((str(i), level) for i, level in enumerate(levels))


def test_with_norms_the_head_is_that_of_torchvisions_second_retinanet() -> None:
    """At 256 channels; names, shapes and what it predicts."""
    ours = small("retinanet", num_classes=7, channels=256, ranges=FULL_SIZE, head_norm=True).framework
    build = detection.retinanet_resnet50_fpn_v2
    head = build(weights=None, weights_backbone=None, num_classes=7).head
    head.load_state_dict(ours.head.state_dict())
    maps = [torch.randn(1, 256, side, side) for side in (8, 4, 2, 1, 1)]
    for name, expected in head(maps).items():
        assert torch.equal(ours.head(maps)[name], expected)


def theirs(name: str, ours: Framework) -> Any:
    """torchvision's model with our pyramid and our heads' weights; its input is on 0..255 and 64 pixels wide."""
    size: dict[str, Any] = {"min_size": 64, "max_size": 64}
    size |= {"image_mean": ours.backbone.mean.flatten(), "image_std": ours.backbone.std.flatten()}
    if name == "retinanet":
        model = detection.RetinaNet(Pyramid(ours), 2, **size)
    else:
        heads = ours.framework.roi_heads  # torchvision's would be 1024 wide, for 256 channels
        model = detection.FasterRCNN(Pyramid(ours), box_head=heads.box_head, box_predictor=heads.box_predictor, **size)
    missing, unexpected = model.load_state_dict(ours.framework.state_dict(), strict=False)
    assert not unexpected
    assert all(key.startswith("backbone.") for key in missing)
    return model


def in_their_terms(name: str) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    images, targets = batch(scene(), without_objects())
    first = 1 if name == "faster_rcnn" else 0
    wanted = [{"boxes": t["boxes"], "labels": t["labels"] + first} for t in targets]
    return [image.float() for image in images], wanted


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_losses_are_those_of_torchvisions_whole_model(name: str) -> None:
    ours = small(name, ranges=FULL_SIZE)
    other = theirs(name, ours).train()
    torch.manual_seed(1)
    torch.rand(2)  # torchvision draws the size of each of the two images before it draws samples
    mine = total(ours.losses(*batch(scene(), without_objects())))
    torch.manual_seed(1)
    torch.testing.assert_close(mine, total(other(*in_their_terms(name))))


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_predictions_are_those_of_torchvisions_whole_model(name: str) -> None:
    ours = small(name, ranges=FULL_SIZE).eval()
    other = theirs(name, ours).eval()
    with torch.no_grad():
        expected = other(in_their_terms(name)[0])
    limits = InferenceSettings(score_threshold=0.05, nms=0.5, max_detections=300 if name == "retinanet" else 100)
    found = ours.predict([scene()[0], without_objects()[0]], [(64, 64)] * 2, limits)
    first = 1 if name == "faster_rcnn" else 0
    assert sum(len(result["scores"]) for result in found) == sum(len(result["scores"]) for result in expected)
    for mine, result in zip(found, expected, strict=True):
        torch.testing.assert_close(mine["boxes"], result["boxes"])
        torch.testing.assert_close(mine["scores"], result["scores"])
        assert torch.equal(mine["labels"], result["labels"] - first)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("retinanet", detection.retinanet_resnet50_fpn),
        ("faster_rcnn", detection.fasterrcnn_resnet50_fpn),
        ("mask_rcnn", detection.maskrcnn_resnet50_fpn),
        ("keypoint_rcnn", detection.keypointrcnn_resnet50_fpn),
    ],
)
def test_at_256_channels_the_heads_are_torchvisions(name: str, theirs: Callable[..., nn.Module]) -> None:
    options = {"num_keypoints": 17} if name == "keypoint_rcnn" else {}
    changes = {"keypoints": 17} if name == "keypoint_rcnn" else {}
    if name not in ("retinanet", "faster_rcnn"):
        changes["towers"] = 4
    ours = small(name, num_classes=7, channels=256, ranges=FULL_SIZE, **changes)
    classes = 7 if name == "retinanet" else 8
    with torch.device("meta"):
        expected = theirs(weights=None, weights_backbone=None, num_classes=classes, **options).state_dict()
    shapes = {key: value.shape for key, value in expected.items() if not key.startswith("backbone.")}
    assert {key: value.shape for key, value in ours.framework.state_dict().items()} == shapes


def test_anchors_are_torchvisions_at_full_size_and_a_quarter_at_a_quarter() -> None:
    expected = _default_anchorgen()
    full, quarter = anchors(expected.sizes, 1.0), anchors(expected.sizes, 0.25)
    for cells, small_cells, theirs in zip(full.cell_anchors, quarter.cell_anchors, expected.cell_anchors, strict=True):
        assert torch.equal(cells, theirs)
        assert torch.equal(small_cells, theirs / 4)
    assert [round(float(cells[0, 2] * 2 / 2**0.5)) for cells in quarter.cell_anchors] == [8, 16, 32, 64, 128]


def test_objects_are_shared_among_levels_by_their_size() -> None:
    boxes = [torch.tensor([[0.0, 0, side, side] for side in (20, 28, 55, 57, 111, 113, 300)])]
    quarter = small("faster_rcnn").framework.roi_heads.box_roi_pool.map_levels  # 224 pixels are 56 here
    assert quarter(boxes).tolist() == [0, 1, 1, 2, 2, 3, 3]
    full = small("faster_rcnn", ranges=FULL_SIZE).framework.roi_heads.box_roi_pool.map_levels
    assert full([boxes[0] * 4]).tolist() == quarter(boxes).tolist()
