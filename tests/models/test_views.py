from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from casl.models.detect import InferenceSettings
from casl.models.views import merged, mirrored

WIDTH, HEIGHT = 12, 8
SETTINGS = InferenceSettings(nms=0.5)


def found(*objects: tuple[list[float], float, int]) -> dict[str, Tensor]:
    """Boxes with their scores and labels; masks fill the boxes."""
    boxes = torch.tensor([box for box, _, _ in objects])
    masks = torch.zeros(len(objects), HEIGHT, WIDTH, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    scores, labels = torch.tensor([s for _, s, _ in objects]), torch.tensor([label for _, _, label in objects])
    return {"boxes": boxes, "scores": scores, "labels": labels, "masks": masks}


def test_a_box_on_the_left_of_a_mirrored_image_is_on_the_right_of_the_image() -> None:
    turned = mirrored(found(([1.0, 2, 4, 7], 0.9, 3)), WIDTH)
    assert turned["boxes"].tolist() == [[8, 2, 11, 7]]
    assert torch.equal(turned["masks"], found(([8.0, 2, 11, 7], 0.9, 3))["masks"])
    assert (turned["scores"].tolist(), turned["labels"].tolist()) == ([pytest.approx(0.9)], [3])


def test_mirrored_twice_is_as_found() -> None:
    once = found(([1.5, 2, 4, 7], 0.9, 3), ([0.0, 0, 12, 8], 0.2, 1))
    twice = mirrored(mirrored(once, WIDTH), WIDTH)
    assert all(torch.equal(twice[key], once[key]) for key in once)


def test_what_two_views_see_is_there_once_with_the_better_score_and_its_mask() -> None:
    first = found(([1.0, 1, 5, 5], 0.6, 0), ([6.0, 1, 9, 5], 0.3, 0))
    second = found(([1.0, 1, 5, 6], 0.8, 0), ([1.0, 1, 5, 5], 0.7, 1))
    result = merged([first, second], SETTINGS)
    assert result["boxes"].tolist() == [[1, 1, 5, 6], [1, 1, 5, 5], [6, 1, 9, 5]]
    assert result["labels"].tolist() == [0, 1, 0]
    torch.testing.assert_close(result["scores"], torch.tensor([0.8, 0.7, 0.3]))
    assert result["masks"].sum((1, 2)).tolist() == [20, 16, 12]


@pytest.mark.parametrize("views", [1, 3])
def test_merging_is_torchvisions_suppression_of_all_views(views: int) -> None:
    draw = torch.Generator().manual_seed(views)
    results = []
    for _ in range(views):
        corner = torch.rand(30, 2, generator=draw) * 6
        boxes = torch.cat([corner, corner + 2 + 4 * torch.rand(30, 2, generator=draw)], 1)
        labels = torch.randint(2, (30,), generator=draw)
        results.append({"boxes": boxes, "scores": torch.rand(30, generator=draw), "labels": labels})
    boxes, scores, labels = (torch.cat([r[key] for r in results]) for key in ("boxes", "scores", "labels"))
    keep = batched_nms(boxes, scores, labels, 0.5)[:10]
    result = merged(results, InferenceSettings(nms=0.5, max_detections=10))
    assert torch.equal(result["boxes"], boxes[keep]) and torch.equal(result["scores"], scores[keep])
    assert len(keep) == 10


def test_nothing_found_in_any_view_is_legal() -> None:
    none = {key: value[:0] for key, value in found(([1.0, 1, 5, 5], 0.6, 0)).items()}
    for method in ("hard", "linear"):
        assert {
            k: len(v) for k, v in merged([none, none], InferenceSettings(suppression=method)).items()
        } == dict.fromkeys(none, 0)


def test_what_views_cannot_tell_together_is_refused() -> None:
    pose = found(([1.0, 1, 5, 5], 0.6, 0)) | {"keypoints": torch.zeros(1, 3, 3)}
    with pytest.raises(ValueError, match="boxes, labels, masks, scores together, not keypoints"):
        merged([pose], SETTINGS)
    with pytest.raises(ValueError, match="not keypoints"):
        mirrored(pose, WIDTH)
    with pytest.raises(ValueError, match="no views"):
        merged([], SETTINGS)
