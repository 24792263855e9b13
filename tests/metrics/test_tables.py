from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from casl.metrics.ap import ap_det, ap_det_a, ap_e_mask, ap_seg, ap_seg_a
from casl.metrics.keypoints import ap_point
from casl.metrics.matching import checked_sides
from casl.metrics.tables import precision_table
from tests.metrics.random_scenes import Json, jittered, oracle, random_scene
from tests.metrics.test_ap import NOWHERE, A, B, found, truth
from tests.metrics.test_keypoints import jittered as jittered_points
from tests.metrics.test_keypoints import oracle as oracle_of_points
from tests.metrics.test_keypoints import people


def by_pycocotools(gt: Json, dt: list[Json], kind: str) -> NDArray[np.float64]:
    """The whole table, not only its means."""
    with contextlib.redirect_stdout(io.StringIO()):
        both = []
        for entries in (gt["annotations"], [r | {"id": i, "iscrowd": 0} for i, r in enumerate(dt, start=1)]):
            both.append(COCO())
            both[-1].dataset = copy.deepcopy(gt | {"annotations": entries})
            for a in both[-1].dataset["annotations"]:
                a.setdefault("area", a["bbox"][2] * a["bbox"][3])
            both[-1].createIndex()
        evaluation = COCOeval(*both, kind)
        evaluation.evaluate()
        evaluation.accumulate()
    table: NDArray[np.float64] = evaluation.eval["precision"][..., -1]
    return table


def table(gt: Json, dt: list[Json], kind: str = "bbox") -> NDArray[np.float64]:
    return precision_table(*checked_sides(gt, dt, masks=kind == "segm", agnostic=False), kind)


def as_it_is(gt: Json, dt: list[Json]) -> None:
    pass


def images_in_another_order(gt: Json, dt: list[Json]) -> None:
    gt["images"] = [gt["images"][i] for i in np.random.default_rng(1).permutation(len(gt["images"]))]
    gt["categories"].reverse()


def every_score_the_same(gt: Json, dt: list[Json]) -> None:
    for result in dt:
        result["score"] = 0.5


def ids_that_floating_point_cannot_tell_apart(gt: Json, dt: list[Json]) -> None:
    for entry in gt["annotations"] + dt:
        entry["image_id"] += 2**60 - 3
    for image in gt["images"]:
        image["id"] += 2**60 - 3
    for annotation in gt["annotations"]:
        annotation["id"] = -annotation["id"] - 2**60


def more_predictions_than_count(gt: Json, dt: list[Json]) -> None:
    dt[:0] = [result | {"score": round(0.01 * i, 2)} for result in dt[:4] for i in range(80)]


def every_object_on_the_limit_of_a_size(gt: Json, dt: list[Json]) -> None:
    for i, entry in enumerate(gt["annotations"]):
        entry["area"] = [32.0**2, 96.0**2, 1e10][i % 3]


def only_crowds(gt: Json, dt: list[Json]) -> None:
    for annotation in gt["annotations"]:
        annotation["iscrowd"] = 1


def no_objects(gt: Json, dt: list[Json]) -> None:
    gt["annotations"] = []


def no_images_with_predictions(gt: Json, dt: list[Json]) -> None:
    dt[:] = [result for result in dt if result["image_id"] == 3]  # the one without objects


CHANGES: list[Callable[[Json, list[Json]], None]] = [
    as_it_is,
    images_in_another_order,
    every_score_the_same,
    ids_that_floating_point_cannot_tell_apart,
    more_predictions_than_count,
    every_object_on_the_limit_of_a_size,
    only_crowds,
    no_objects,
    no_images_with_predictions,
]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("change", CHANGES)
def test_every_precision_is_to_the_bit_that_of_pycocotools(change: Callable[..., None], kind: str) -> None:
    for seed in (21, 22):
        gt, dt = random_scene(seed)
        change(gt, dt)
        np.testing.assert_array_equal(table(gt, dt, kind), by_pycocotools(gt, dt, kind))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("right", [0, 1, 2, 3])
@pytest.mark.parametrize("objects", [1, 2, 50, 99, 100, 101, 150, 250])
def test_the_first_predictions_of_few_and_of_many_objects_count_as_in_pycocotools(
    objects: int, right: int, seed: int
) -> None:
    rng = np.random.default_rng([objects, right, seed])
    images = [{"id": i, "height": 200, "width": 200} for i in range(objects)]
    gt = truth() | {"images": images}
    gt["annotations"] = [a | {"id": i + 1, "image_id": i} for i in range(objects) for a in truth(A)["annotations"]]
    hits = [1] * right + [0] + rng.integers(0, 2, 30).tolist()
    dt = [found(A if hit else NOWHERE, 1 - 0.01 * n) | {"image_id": n % objects} for n, hit in enumerate(hits)]
    np.testing.assert_array_equal(table(gt, dt), by_pycocotools(gt, dt, "bbox"))


@pytest.mark.parametrize("seed", range(30, 36))
def test_figures_are_the_same_floating_point_numbers(seed: int) -> None:
    gt, dt = random_scene(seed)
    assert ap_det(gt, dt) == oracle(gt, dt, "bbox", agnostic=False)
    assert ap_det_a(gt, dt) == oracle(gt, dt, "bbox", agnostic=True)
    assert ap_seg(gt, dt) == oracle(gt, dt, "segm", agnostic=False)
    assert ap_seg_a(gt, dt) == oracle(gt, dt, "segm", agnostic=True)
    assert ap_e_mask(gt, dt) == oracle(gt, dt, "segm", agnostic=True, drop_box=True)
    people_of_it = people(seed, count=17)
    points = jittered_points(people_of_it, 0.04, seed, boxes=seed % 2 == 0)
    assert ap_point(people_of_it, points) == oracle_of_points(people_of_it, points)


def test_keypoints_with_sigmas_of_their_category_are_the_mean_of_both_alone() -> None:
    gt = people(7, count=4)
    sigmas: dict[int, Any] = {1: [0.02, 0.1, 0.2, 0.05], 5: [0.1, 0.03, 0.04, 0.3]}
    for category in gt["categories"]:
        category["sigmas"] = sigmas[category["id"]]
    dt = jittered_points(gt, 0.05, seed=7)
    alone = []
    for number, own in sigmas.items():
        of_it = gt | {"annotations": [a for a in gt["annotations"] if a["category_id"] == number]}
        alone.append(oracle_of_points(of_it, [r for r in dt if r["category_id"] == number], own)["AP"])
    assert ap_point(gt, dt)["AP"] == pytest.approx(sum(alone) / 2, abs=1e-9)
    assert alone[0] != alone[1]


def test_predictions_with_unusual_numbers_score_as_those_with_plain_ones() -> None:
    gt, dt = random_scene(seed=8)
    unusual = [r | {"score": np.float64(r["score"]), "bbox": tuple(r["bbox"])} for r in dt]
    assert ap_det(gt, unusual) == ap_det(gt, dt)


def test_one_unusual_prediction_does_not_change_how_the_others_are_read() -> None:
    gt = truth(A, B)
    assert ap_det(gt, [found(A), found(B) | {"bbox": np.array(B)}])["AP"] == pytest.approx(100)


def test_equal_scores_within_and_across_many_images_keep_their_order() -> None:
    gt, _ = random_scene(seed=9, num_images=25, num_objects=9)
    dt = jittered(gt, 0.1, seed=9, extra=15)
    for result in dt:
        result["score"] = round(result["score"], 1)
    np.testing.assert_array_equal(table(gt, dt), by_pycocotools(gt, dt, "bbox"))
