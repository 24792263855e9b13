"""Confidence against fit. Oracles: counting by hand, scipy's correlation, torchvision's IoU."""

from __future__ import annotations

import copy

import pytest
import torch
from scipy.stats import pearsonr
from torchvision.ops import box_convert, box_iou

from casl.errors import DataError
from casl.metrics.confidence import confidence
from tests.metrics.random_scenes import random_scene
from tests.metrics.test_ap import A, B, found, truth


def test_the_best_two_percent_and_the_correlation_of_all() -> None:
    gt, dt = random_scene(3)
    before = copy.deepcopy((gt, dt))
    ious = []
    for result in dt:
        boxes = [
            a["bbox"]
            for a in gt["annotations"]
            if (a["image_id"], a["category_id"], a.get("iscrowd", 0)) == (result["image_id"], result["category_id"], 0)
        ]
        one = box_convert(torch.tensor([result["bbox"]], dtype=torch.float64), "xywh", "xyxy")
        others = box_convert(torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4), "xywh", "xyxy")
        ious.append(float(box_iou(one, others).max()) if boxes else 0.0)
    scores = [result["score"] for result in dt]
    order = sorted(range(len(dt)), key=lambda i: -scores[i])[: -(-len(dt) // 50)]
    figures = confidence(gt, dt)
    assert (gt, dt) == before
    assert figures["confidence"] == pytest.approx(100 * sum(scores[i] for i in order) / len(order))
    assert figures["iou"] == pytest.approx(100 * sum(ious[i] for i in order) / len(order), abs=1e-4)
    assert figures["pearson"] == pytest.approx(100 * pearsonr(scores, ious)[0], abs=1e-4)


def test_a_class_that_is_not_there_fits_nothing_and_one_prediction_has_no_correlation() -> None:
    gt = truth(A)
    (category,) = {a["category_id"] for a in gt["annotations"]}
    other = next(c["id"] for c in gt["categories"] if c["id"] != category)
    assert confidence(gt, [found(A, 0.9, category=category)]) == pytest.approx(
        {"confidence": 90.0, "iou": 100.0, "pearson": 0.0}
    )
    assert confidence(gt, [found(A, 0.9, category=other)])["iou"] == 0.0
    assert confidence(truth(A, B), []) == {"confidence": -1.0, "iou": -1.0, "pearson": -1.0}


def test_results_of_unknown_images_are_refused() -> None:
    with pytest.raises(DataError):
        confidence(truth(A), [found(A, 0.9) | {"image_id": 77}])
