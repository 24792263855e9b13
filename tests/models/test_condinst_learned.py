"""CondInst after it learned one scene by heart: masks, AP, entity inference."""

from __future__ import annotations

import copy
import dataclasses
import io
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor
from torchvision.ops import box_iou

from casl.models.condinst import CondInst
from tests.models.test_condinst import EVERYTHING, Target, batch, scene, small, total


@pytest.fixture(scope="module")
def learned() -> CondInst:
    """A model that knows one scene by heart."""
    model = small()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    images, targets = batch(scene(), scene())
    for _ in range(150):
        optimizer.zero_grad()
        torch.autograd.backward(total(model(images, targets)))
        optimizer.step()
    return model.eval()


def mask_ap(result: Target, target: Target) -> float:
    def encode(mask: Tensor) -> dict[str, Any]:
        return dict(rle.encode(np.asfortranarray(mask.numpy().astype(np.uint8))))

    def records(source: Target) -> list[dict[str, Any]]:
        return [
            {
                "id": i + 1,
                "image_id": 1,
                "category_id": int(source["labels"][i]) + 1,
                "segmentation": encode(mask),
                "area": int(mask.sum()),
                "iscrowd": 0,
                "bbox": [0, 0, 1, 1],
                "score": float(source["scores"][i]) if "scores" in source else 1.0,
            }
            for i, mask in enumerate(source["masks"])
        ]

    with redirect_stdout(io.StringIO()):
        truth = COCO()
        categories = [{"id": 1, "name": "rectangle"}, {"id": 2, "name": "disc"}]
        truth.dataset = {
            "images": [{"id": 1, "height": 64, "width": 64}],
            "categories": categories,
            "annotations": records(target),
            "info": {},
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(records(result)), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def test_one_scene_is_learned_by_heart(learned: CondInst) -> None:
    image, target = scene()
    result = learned.predict([image], [(64, 64)])[0]
    assert mask_ap(result, target) > 0.75
    for mask, label in zip(target["masks"], target["labels"], strict=True):
        found = result["masks"][result["labels"] == label][0]
        assert (found & mask).sum() / (found | mask).sum() > 0.85


def test_masks_scale_with_the_original_size(learned: CondInst) -> None:
    image, target = scene()
    result = learned.predict([image], [(128, 192)])[0]
    wanted = functional.interpolate(target["masks"][None].float(), (128, 192))[0].bool()
    for mask, label in zip(wanted, target["labels"], strict=True):
        found = result["masks"][result["labels"] == label][0]
        assert (found & mask).sum() / (found | mask).sum() > 0.85


def with_options(model: CondInst, **changes: Any) -> CondInst:
    other = copy.deepcopy(model)
    other.settings = dataclasses.replace(model.settings, **changes)
    return other


def test_inclusive_boxes_of_entities_are_those_of_masks_that_share_no_pixel(learned: CondInst) -> None:
    changes = {"non_overlap": True, "inclusive_boxes": True}
    result = with_options(learned, **changes).predict([scene()[0]], [(80, 64)], EVERYTHING)[0]
    assert len(result["masks"]) >= 2
    assert result["masks"].sum(0).max() == 1
    for mask, box in zip(result["masks"], result["boxes"], strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        assert box.tolist() == [columns.min(), rows.min(), columns.max(), rows.max()]


def test_boxes_of_entities_are_the_regressed_ones_beside_an_exact_truth(learned: CondInst) -> None:
    image, target = scene()
    plain, result, inclusive = (
        with_options(learned, **changes).predict([image], [(64, 64)], EVERYTHING)[0]
        for changes in ({}, {"non_overlap": True}, {"non_overlap": True, "inclusive_boxes": True})
    )
    assert len(result["masks"]) >= 2 and result["masks"].sum(0).max() == 1
    regressed = dict(zip(plain["scores"].tolist(), plain["boxes"].tolist(), strict=True))
    assert [regressed[score] for score in result["scores"].tolist()] == result["boxes"].tolist()
    assert torch.equal(result["masks"], inclusive["masks"])
    near, short = (box_iou(target["boxes"], found["boxes"]).amax(1) for found in (result, inclusive))
    assert (near > short).all()  # of boxes that end with the last pixel, not with its index


def test_rescoring_lowers_scores_keeps_the_old_ones_and_sorts_again(learned: CondInst) -> None:
    plain = with_options(learned, non_overlap=True).predict([scene()[0]], [(64, 64)], EVERYTHING)[0]
    result = with_options(learned, non_overlap=True, mask_rescore=True).predict([scene()[0]], [(64, 64)], EVERYTHING)[0]
    assert sorted(result["detection_scores"].tolist()) == sorted(plain["scores"].tolist())
    assert bool((result["scores"] < result["detection_scores"]).all())
    assert result["scores"].tolist() == sorted(result["scores"].tolist(), reverse=True)


def test_masks_do_not_depend_on_how_many_are_drawn_at_a_time(
    learned: CondInst, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = with_options(learned, non_overlap=True, mask_rescore=True)
    whole = options.predict([scene()[0]], [(64, 64)], EVERYTHING)[0]
    monkeypatch.setattr("casl.models.condinst.CHUNK_PIXELS", 1)
    one_by_one = options.predict([scene()[0]], [(64, 64)], EVERYTHING)[0]
    torch.testing.assert_close(one_by_one, whole)
