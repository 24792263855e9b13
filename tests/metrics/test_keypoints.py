from __future__ import annotations

import contextlib
import copy
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from casl.errors import DataError
from casl.metrics.keypoints import ap_point
from casl.metrics.score import score
from tests.data.tiny import REAL
from tests.metrics.random_scenes import at_seventy

FILE = "coco_mini/annotations/person_keypoints_val.json"
KEYS = ("AP", "AP50", "AP70", "AP75", "APm", "APl")
Json = dict[str, Any]


def oracle(gt: Json, dt: list[Json], sigmas: list[float] | None = None) -> dict[str, float]:
    """The values as COCO.loadRes and COCOeval give them."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(gt)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(dt)), "keypoints")
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    summarized = (*evaluation.stats[:2], at_seventy(evaluation), *evaluation.stats[2:5])
    return {k: float(v) * 100 if v >= 0 else -1.0 for k, v in zip(KEYS, summarized, strict=True)}


def jittered(gt: Json, spread: float, seed: int, boxes: bool = False) -> list[Json]:
    """Every object, crowds too, with its keypoints moved by `spread` of its size; some twice, some reversed."""
    rng = np.random.default_rng(seed)
    found: list[Json] = []
    for a in [*gt["annotations"], *gt["annotations"][::2]]:
        points = np.array(a["keypoints"], dtype=float).reshape(-1, 3)
        x, y, w, h = a["bbox"]
        points[points[:, 2] == 0, :2] = [x + w / 2, y + h / 2]
        points[:, :2] += rng.normal(0, spread, (len(points), 2)) * math.sqrt(a["area"])
        if rng.random() < 0.1:
            points = points[::-1]
        result: Json = {key: a[key] for key in ("image_id", "category_id")}
        result |= {"keypoints": points.ravel().tolist(), "score": round(float(rng.random()), 2)}
        found.append(result | ({"bbox": [x, y, w * 1.2, h]} if boxes else {}))
    return found


def people(seed: int, count: int, num_images: int = 6) -> Json:
    """Objects of two classes with `count` keypoints, some not labeled at all, some crowds, an image without any."""
    rng = np.random.default_rng(seed)
    annotations: list[Json] = []
    for i in range(7 * num_images):
        x, y, w, h = (rng.uniform(0, 1, 4) * [120, 120, 110, 110] + [0, 0, 20, 20]).tolist()
        points = np.stack([rng.uniform(x, x + w, count), rng.uniform(y, y + h, count), rng.integers(0, 3, count)], 1)
        points[points[:, 2] == 0] = 0
        crowd = int(rng.random() < 0.1)
        points *= not (crowd or rng.random() < 0.15)
        annotations.append(
            {"id": i + 1, "image_id": i % num_images, "category_id": int(rng.choice([1, 5])), "bbox": [x, y, w, h]}
            | {"area": w * h * 0.6, "iscrowd": crowd, "keypoints": points.ravel().tolist()}
            | {"num_keypoints": int((points[:, 2] > 0).sum())}
        )
    categories = [{"id": i, "name": f"c{i}", "keypoints": [f"k{j}" for j in range(count)]} for i in (1, 5)]
    images = [{"id": i, "height": 250, "width": 250} for i in range(num_images + 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_real_people_score_as_in_pycocotools(seed: int, boxes: bool) -> None:
    if not (REAL / FILE).exists():
        pytest.skip(f"real data {FILE} is not in {REAL}; say where with CASL_REAL_DATA=folder")
    gt = json.loads((REAL / FILE).read_bytes())
    dt = jittered(gt, 0.05, seed, boxes)

    expected = oracle(gt, dt)

    assert 5 < expected["AP"] < 95
    assert ap_point(gt, dt) == expected


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("count", "sigmas"), [(17, None), (7, [0.05] * 7)])
def test_random_objects_score_as_in_pycocotools(count: int, sigmas: list[float] | None, seed: int) -> None:
    gt = people(seed, count)
    dt = jittered(gt, 0.04, seed, boxes=seed == 1)

    expected = oracle(gt, dt, sigmas)

    assert 5 < expected["AP"] < 95
    assert ap_point(gt, dt) == expected


def test_sigmas_come_from_the_category_or_the_argument() -> None:
    gt = people(4, count=3)
    dt = jittered(gt, 0.05, seed=4)
    written, argument = oracle(gt, dt, [0.02, 0.1, 0.2]), oracle(gt, dt, [0.1] * 3)
    assert ap_point(gt, dt, sigma=0.1) == pytest.approx(argument, abs=1e-9)
    for category in gt["categories"]:
        category["sigmas"] = [0.02, 0.1, 0.2]
    assert ap_point(gt, dt) == pytest.approx(written, abs=1e-9)
    assert written != argument


def truth(points: list[list[float]], **fields: Any) -> Json:
    """One object of area 2500 with the given x, y, visibility."""
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 50, 50], "area": 2500, "iscrowd": 0} | fields
    annotation["keypoints"] = [value for point in points for value in point]
    return {
        "images": [{"id": 1, "width": 90, "height": 90}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "a"}],
    }


def found(points: list[list[float]], score: float = 0.9) -> Json:
    flat = [value for x, y in points for value in (x, y, 1)]
    return {"image_id": 1, "category_id": 1, "score": score, "keypoints": flat}


def off_by(similarity: float, sigma: float = 0.05, area: float = 2500) -> float:
    """Pixels at which one keypoint has this similarity."""
    return math.sqrt(-2 * area * (2 * sigma) ** 2 * math.log(similarity))


@pytest.mark.parametrize(
    ("gt", "dt", "expected"),
    [
        pytest.param(
            truth([[9, 9, 2]]), [found([[9, 9]])], {"AP": 100, "AP75": 100, "APm": 100, "APl": -1}, id="on it"
        ),
        pytest.param(truth([[9, 9, 1]]), [found([[9, 9]])], {"AP": 100}, id="labeled and hidden"),
        # .77 passes the thresholds .5, .55, .6, .65, .7 and .75
        pytest.param(
            truth([[9, 9, 2]]),
            [found([[9 + off_by(0.77), 9]])],
            {"AP": 60, "AP50": 100, "AP75": 100},
            id="OKS .77",
        ),
        # the mean over labeled ones: (1 + .34) / 2 = .67
        pytest.param(
            truth([[9, 9, 2], [20, 20, 1], [0, 0, 0]]),
            [found([[9, 9], [20, 20 + off_by(0.34)], [400, 400]])],
            {"AP": 40, "AP50": 100, "AP75": 0},
            id="mean over labeled keypoints",
        ),
        pytest.param(
            truth([[9, 9, 2]]), [found([[200, 9]], 0.9), found([[9, 9]], 0.8)], {"AP": 50}, id="a wrong first"
        ),
        pytest.param(truth([[9, 9, 2]]), [], {"AP": 0, "APl": -1}, id="no predictions"),
        pytest.param(truth([[0, 0, 0]]), [found([[9, 9]])], dict.fromkeys(KEYS, -1), id="nothing labeled"),
        pytest.param(truth([[9, 9, 2]], iscrowd=1), [found([[9, 9]])], dict.fromkeys(KEYS, -1), id="crowd"),
        pytest.param(
            truth([[9, 9, 2]]), [found([[200, 9]])] * 19 + [found([[9, 9]], 0.1)], {"AP": 5}, id="twentieth counts"
        ),
        pytest.param(
            truth([[9, 9, 2]]), [found([[200, 9]])] * 20 + [found([[9, 9]], 0.1)], {"AP": 0}, id="the next does not"
        ),
    ],
)
def test_points_score_as_counted_by_hand(gt: Json, dt: list[Json], expected: dict[str, float]) -> None:
    values = ap_point(gt, dt)
    assert list(values) == list(KEYS)
    assert {key: values[key] for key in expected} == pytest.approx(expected, abs=1e-6)


def test_categories_may_have_different_numbers_of_keypoints() -> None:
    gt = truth([[9, 9, 2]])
    other = truth([[30, 30, 2], [40, 40, 2]], id=2, category_id=2)
    gt["annotations"] += other["annotations"]
    gt["categories"] = [{"id": 1, "sigmas": [0.1]}, {"id": 2, "keypoints": ["p", "q"]}, {"id": 3, "keypoints": ["p"]}]
    both = [[30, 30 + off_by(0.77)], [40, 40 + off_by(0.77)]]
    dt = [found([[9 + off_by(0.77, sigma=0.1), 9]]), found(both) | {"category_id": 2}]
    assert ap_point(gt, dt)["AP"] == pytest.approx(60)


def test_the_size_of_a_wrong_prediction_is_that_of_its_box_or_else_its_extent() -> None:
    gt = truth([[9, 9, 2], [9, 9, 2]])
    right, wide = found([[9, 9], [9, 9]], 0.5), found([[200, 0], [400, 200]])
    assert ap_point(gt, [right, wide])["APm"] == pytest.approx(100)  # extent 200 x 200: not judged among medium ones
    assert ap_point(gt, [right, wide | {"bbox": [200, 0, 50, 50]}])["APm"] == pytest.approx(50)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": None}, "has no keypoints"),
        ({"keypoints": []}, "has no keypoints"),
        ({"keypoints": [1, 2]}, "finite numbers x, y, visibility"),
        ({"keypoints": [[1, 2, 2]]}, "finite numbers x, y, visibility"),
        ({"keypoints": [1, math.nan, 2]}, "finite numbers x, y, visibility"),
        ({"keypoints": "abc"}, "finite numbers x, y, visibility"),
        ({"keypoints": [1, 2, 2, 3, 4, 2]}, "'keypoints' must be 3 finite numbers"),
        ({"score": math.nan}, "'score' must be a finite number"),
        ({"image_id": 7}, "there is no image 7"),
        ({"category_id": 7}, "there is no category 7"),
        ({"bbox": [1, 2]}, "four finite numbers"),
    ],
)
def test_a_wrong_prediction_is_an_error_that_names_the_entry(change: Json, message: str) -> None:
    with pytest.raises(DataError, match=rf"predictions: entry 1.*{message}"):
        ap_point(truth([[9, 9, 2]]), [found([[9, 9]]), found([[9, 9]]) | change])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": None}, "annotation 1: 'keypoints' must be 3 finite numbers"),
        ({"keypoints": [1, 2]}, "annotation 1: 'keypoints' must be 3 finite numbers"),
        ({"keypoints": [1, 2, 2] * 2}, "annotation 1: 'keypoints' must be 3 finite numbers"),
        ({"num_keypoints": -1}, "annotation 1: 'num_keypoints' is -1 but 1 are labeled"),
        ({"bbox": None}, "annotation 1: 'bbox' must be four finite numbers"),
    ],
)
def test_wrong_ground_truth_is_an_error_that_names_the_annotation(change: Json, message: str) -> None:
    gt = truth([[9, 9, 2]])
    gt["categories"][0]["keypoints"] = ["nose"]
    gt["annotations"][0] |= change
    with pytest.raises(DataError, match=rf"ground truth: {message}"):
        ap_point(gt, [])


@pytest.mark.parametrize("sigmas", [[0.1, 0.1], [0.0], [math.inf], "abc", 0.1])
def test_sigmas_that_do_not_fit_the_category_are_errors(sigmas: Any) -> None:
    gt = truth([[9, 9, 2]])
    gt["categories"][0]["sigmas"] = sigmas
    with pytest.raises(DataError, match="category 1: sigmas must be 1 positive numbers"):
        ap_point(gt, [])
    with pytest.raises(ValueError, match="got 0"):
        ap_point(gt, [], sigma=0)


@pytest.mark.parametrize("dt", [{"annotations": []}, ["x"], [[1]]])
def test_predictions_that_are_not_a_list_of_objects_are_an_error(dt: Any) -> None:
    with pytest.raises(DataError, match=r"predictions.*(list of COCO results|not an object)"):
        ap_point(truth([[9, 9, 2]]), dt)


def test_inputs_are_left_alone_and_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    gt = people(2, count=17, num_images=2)
    dt = jittered(gt, 0.05, seed=2)
    before = copy.deepcopy((gt, dt))

    ap_point(gt, dt)

    assert (gt, dt) == before
    assert capsys.readouterr().out == ""


def test_files_are_scored_as_any_other_metric(tmp_path: Path) -> None:
    gt, dt = tmp_path / "gt.json", tmp_path / "dt.json"
    gt.write_text(json.dumps(truth([[9, 9, 2]])))
    dt.write_text(json.dumps([found([[9, 9]])]))
    answer = score(gt, dt, "ap_point", ap_point)
    assert [answer["metric"], answer["AP"], answer["predictions"]] == ["ap_point", pytest.approx(100), 1]
