"""The oracle: the metric itself, or pycocotools, on a file in which images are repeated as often as they are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from casl.catalog import METRICS, load_place
from casl.metrics.bootstrap import boxes, image_weights, keypoints, masks, pq_of_draws
from casl.metrics.keypoints import ap_point
from casl.metrics.pq import pq_of_arrays
from tests.metrics.random_scenes import Json, oracle, random_scene

KINDS = [
    ("ap_det", "bbox", False),
    ("ap_det_a", "bbox", True),
    ("ap_e", "bbox", True),
    ("ap_seg", "segm", False),
    ("ap_seg_a", "segm", True),
    ("ap_e_mask", "segm", True),
]


def untied(dt: list[Json]) -> list[Json]:
    """The order of equal scores in different images is the only thing that may differ."""
    return [result | {"score": result["score"] + 1e-5 * n} for n, result in enumerate(dt)]


def repeated(gt: Json, dt: list[Json], times: list[int]) -> tuple[Json, list[Json]]:
    """A file that holds image n as often as times[n]."""
    images: list[Json] = []
    annotations: list[Json] = []
    results: list[Json] = []
    for image, count in zip(gt["images"], times, strict=True):
        for _ in range(count):
            number = len(images) + 1
            images.append(image | {"id": number})
            own = [a for a in gt["annotations"] if a["image_id"] == image["id"]]
            annotations += [a | {"id": len(annotations) + n, "image_id": number} for n, a in enumerate(own, start=1)]
            results += [r | {"image_id": number} for r in dt if r["image_id"] == image["id"]]
    return gt | {"images": images, "annotations": annotations}, results


@pytest.mark.parametrize(("metric", "iou_type", "agnostic"), KINDS)
def test_a_draw_scores_as_pycocotools_on_repeated_images(metric: str, iou_type: str, agnostic: bool) -> None:
    gt, dt = random_scene(3)
    dt = untied(dt)
    weights = image_weights(len(gt["images"]), draws=5)

    values = load_place(METRICS[metric].interval)(gt, dt, weights)

    for value, drawn in zip(values, weights.astype(int).tolist(), strict=True):
        expected = oracle(*repeated(gt, dt, drawn), iou_type, agnostic, drop_box=metric == "ap_e_mask")["AP"]
        assert value == pytest.approx(expected, abs=1e-4)


def test_every_image_once_is_the_metric_itself() -> None:
    gt, dt = random_scene(1)
    values = masks(gt, dt, np.ones((1, len(gt["images"])), np.float32))
    assert values[0] == pytest.approx(oracle(gt, dt, "segm", agnostic=False)["AP"], abs=1e-6)


def test_weights_follow_the_order_of_the_file_and_not_the_ids() -> None:
    gt, dt = random_scene(2)
    dt = untied(dt)
    backwards = gt | {"images": gt["images"][::-1]}
    weights = image_weights(len(gt["images"]), draws=3)

    values = boxes(backwards, dt, weights)

    np.testing.assert_allclose(values, boxes(gt, dt, weights[:, ::-1]), atol=1e-6)


def test_keypoints_are_drawn_too() -> None:
    gt: Json = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a", "keypoints": ["x", "y"]}]}
    dt, rng = [], np.random.default_rng(0)
    for n in range(1, 7):
        gt["images"].append({"id": n, "width": 100, "height": 100})
        points = rng.uniform(10, 90, (2, 2))
        flat = [v for p in points for v in (*p.tolist(), 2)]
        gt["annotations"].append(
            {"id": n, "image_id": n, "category_id": 1, "keypoints": flat, "bbox": [0, 0, 99, 99], "area": 4000}
        )
        moved = points + rng.normal(0, 5, (2, 2))
        found = [v for p in moved for v in (*p.tolist(), 1)]
        dt.append({"image_id": n, "category_id": 1, "keypoints": found, "score": float(rng.random())})
    weights = image_weights(6, draws=4)

    values = keypoints(gt, dt, weights)

    for value, drawn in zip(values, weights.astype(int).tolist(), strict=True):
        assert value == pytest.approx(ap_point(*repeated(gt, dt, drawn))["AP"], abs=1e-4)


def test_panoptic_quality_is_drawn_too() -> None:
    categories = [{"id": 1, "isthing": 1}, {"id": 7, "isthing": 0}]
    rng = np.random.default_rng(0)
    pairs: list[Any] = []
    for _ in range(6):
        ids = rng.permutation(np.repeat([1, 2], 30)).reshape(6, 10)
        moved = np.where(rng.random(ids.shape) < 0.2, 3 - ids, ids)
        segments = [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 7}]
        pairs.append((ids, segments, moved, segments))
    weights = image_weights(6, draws=4)

    values = pq_of_draws(pairs, categories, weights)

    for value, drawn in zip(values, weights.astype(int).tolist(), strict=True):
        again = [pair for pair, count in zip(pairs, drawn, strict=True) for _ in range(count)]
        assert value == pytest.approx(pq_of_arrays(again, categories)["PQ"], abs=1e-9)


def test_draws_are_the_same_for_every_model_and_differ_from_one_another() -> None:
    weights = image_weights(50, draws=3)
    np.testing.assert_array_equal(weights, image_weights(50, draws=3))
    np.testing.assert_array_equal(weights[:2], image_weights(50, draws=2), "more draws only add to the first ones")
    assert weights.sum(axis=1).tolist() == [50.0, 50.0, 50.0]
    assert (weights[0] != weights[1]).any()


def test_without_predictions_a_draw_scores_nothing() -> None:
    gt, _ = random_scene(0)
    assert boxes(gt, [], image_weights(len(gt["images"]), draws=2)).tolist() == [0.0, 0.0]
