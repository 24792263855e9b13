from __future__ import annotations

import json
from pathlib import Path

import pytest

from casl.errors import DataError
from casl.metrics.ap import ap_det, ap_e, ap_e_mask
from casl.metrics.score import score
from tests.metrics.random_scenes import Json, oracle, random_scene
from tests.metrics.test_ap import A, B, found, truth


def write(folder: Path, gt: Json, dt: object) -> tuple[Path, Path]:
    paths = folder / "gt.json", folder / "dt.json"
    for path, content in zip(paths, (gt, dt), strict=True):
        path.write_text(json.dumps(content))
    return paths


def test_the_answer_has_the_values_their_unit_and_the_counts(tmp_path: Path) -> None:
    gt_path, dt_path = write(tmp_path, truth(A, B), [found(A)])

    answer = score(gt_path, dt_path, "ap_det", ap_det)

    assert answer["AP"] == pytest.approx(5100 / 101)
    del answer["AP"], answer["AP50"], answer["AP70"], answer["AP75"], answer["APs"]
    assert answer == {
        "metric": "ap_det",
        "unit": "percent",
        "APm": -1.0,
        "APl": -1.0,
        "images": 1,
        "ground_truth": 2,
        "predictions": 1,
    }


def test_entity_ap_comes_in_both_forms_when_there_are_masks(tmp_path: Path) -> None:
    gt, dt = random_scene(seed=3)
    answer = score(*write(tmp_path, gt, {"annotations": dt}), "ap_e", ap_e, ap_e_mask)
    boxes, masks = oracle(gt, dt, "bbox", agnostic=True), oracle(gt, dt, "segm", agnostic=True, drop_box=True)
    assert {key: answer[key] for key in boxes} == pytest.approx(boxes)
    assert answer["mask"] == pytest.approx(masks)

    del dt[0]["segmentation"]
    assert "mask" not in score(*write(tmp_path, gt, dt), "ap_e", ap_e, ap_e_mask)


def test_a_file_that_is_missing_or_of_another_data_set_is_an_error(tmp_path: Path) -> None:
    gt_path, dt_path = write(tmp_path, truth(A), [found(A) | {"image_id": 5}])
    with pytest.raises(DataError, match="there is no image 5; known: 1"):
        score(gt_path, dt_path, "ap_det", ap_det)
    with pytest.raises(DataError, match=r"nowhere\.json: no such file"):
        score(gt_path, tmp_path / "nowhere.json", "ap_det", ap_det)
