"""F1 of every image. Oracles: counts by hand, and label_quality on one image of one class."""

from __future__ import annotations

from typing import Any

import pytest

from casl.metrics.counts import label_quality
from casl.metrics.per_image import f1_by_image
from tests.metrics.random_scenes import random_scene

BOX, FAR = [10.0, 10.0, 20.0, 20.0], [50.0, 50.0, 20.0, 20.0]


def truth(*annotations: dict[str, Any], images: int = 1) -> dict[str, Any]:
    return {
        "images": [{"id": n, "width": 100, "height": 100} for n in range(1, images + 1)],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [{"id": n, "area": 400.0, "iscrowd": 0, **a} for n, a in enumerate(annotations, start=1)],
    }


def of(image: int, box: list[float], category: int = 1, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, **more}


@pytest.mark.parametrize(
    ("found", "percent"),
    [
        ([of(1, BOX, score=0.9), of(1, FAR, score=0.9)], 100.0),
        ([of(1, BOX, score=0.9)], 100 * 2 / 3),  # 1 right, 0 wrong, 2 objects
        ([of(1, BOX, score=0.9), of(1, [0.0, 80.0, 9.0, 9.0], score=0.9)], 50.0),
        ([of(1, BOX, 2, score=0.9)], 0.0),  # of another class
        ([of(1, BOX, score=0.3)], 0.0),  # a score must exceed the threshold
        ([of(1, [10.0, 10.0, 20.0, 13.2], score=0.9), of(1, FAR, score=0.9)], 100 * (0.4 * 1.0 + 0.6 * 0.5)),  # IoU .66
    ],
)
def test_f1_is_that_of_counts_by_hand(found: list[dict[str, Any]], percent: float) -> None:
    assert f1_by_image(truth(of(1, BOX), of(1, FAR)), found, 0.3) == {1: pytest.approx(percent)}


def test_images_are_judged_apart_and_one_with_nothing_to_judge_is_left_out() -> None:
    gt = truth(of(1, BOX), of(2, BOX), of(4, BOX, iscrowd=1), images=5)
    dt = [of(1, BOX, score=0.9), of(3, BOX, score=0.9), of(4, BOX, score=0.9)]
    assert f1_by_image(gt, dt, 0.3) == {1: 100.0, 2: 0.0, 3: 0.0}


def test_one_image_of_one_class_has_the_f1_of_all_labels() -> None:
    whole, found = random_scene(3)
    gt = {**whole, "images": whole["images"][:1], "categories": whole["categories"][:1]}
    first, category = gt["images"][0]["id"], gt["categories"][0]["id"]
    gt["annotations"] = [{**a, "category_id": category} for a in whole["annotations"] if a["image_id"] == first]
    dt = [{**r, "category_id": category} for r in found if r["image_id"] == first]
    assert 0 < f1_by_image(gt, dt, 0.2)[first] == pytest.approx(label_quality(gt, dt, 0.2)["f1"])
