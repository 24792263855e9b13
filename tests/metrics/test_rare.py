"""AP of the classes that are met least, against AP of each class."""

from __future__ import annotations

import pytest

from casl.catalog import load
from casl.metrics.per_class import boxes
from casl.metrics.rare import ap_det_rare
from tests.metrics.random_scenes import random_scene
from tests.metrics.test_ap import A, found, truth


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_mean_over_the_two_classes_with_fewest_objects(seed: int) -> None:
    gt, dt = random_scene(seed)
    few = sorted(boxes(gt, dt), key=lambda one: one.objects)[:2]
    if sorted(one.objects for one in boxes(gt, dt))[1:].count(few[1].objects) == 1:
        assert load("metric", "ap_det_rare")(gt, dt)["AP"] == pytest.approx(sum(one.ap for one in few) / 2)


def test_of_eighty_classes_it_is_ten_and_those_without_objects_do_not_count() -> None:
    scene = truth(A)
    (one,) = scene["annotations"]
    numbers = range(1, 82)  # the last has no object
    scene["categories"] = [{"id": n, "name": str(n)} for n in numbers]
    scene["annotations"] = [
        {**one, "id": 1000 * n + copy, "category_id": n} for n in numbers[:-1] for copy in range(1 + (n <= 70))
    ]
    right = [found(A, category=n) for n in range(71, 76)]
    assert ap_det_rare(scene, right) == {"AP": pytest.approx(50.0)}, "five of the ten that have one object"


def test_nothing_to_be_found_is_undefined() -> None:
    gt = truth(A)
    assert ap_det_rare({**gt, "annotations": []}, []) == {"AP": -1.0}
    assert ap_det_rare(gt, []) == {"AP": 0.0}
