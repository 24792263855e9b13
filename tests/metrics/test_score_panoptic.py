from __future__ import annotations

import json
from pathlib import Path

import pytest

from casl.errors import DataError
from casl.metrics.score import score_panoptic
from tests.metrics.panoptic_perturbed import Json, write_png
from tests.metrics.test_pq import CATEGORIES, KEYS, STUFF, THING, row, segment


def written(folder: Path, name: str, records: list[Json], **rest: object) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"annotations": records} | rest))
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """One image of 100 pixels, a thing of 50 of which 40 are found; and a predicted image that the truth lacks."""
    truth = {"image_id": 1, "file_name": "a.png", "segments_info": [segment(1, THING), segment(2, STUFF)]}
    write_png(tmp_path / "gt" / "a.png", row((1, 50), (2, 50)))
    write_png(tmp_path / "dt" / "a.png", row((1, 40), (0, 10), (2, 50)))
    gt = written(tmp_path, "gt", [truth], images=[{"id": 1, "width": 32, "height": 1}], categories=CATEGORIES)
    return gt, written(tmp_path, "dt", [truth, truth | {"image_id": 2}])


def test_the_answer_has_the_values_their_unit_and_the_counts(files: tuple[Path, Path]) -> None:
    gt, dt = files

    answer = score_panoptic(gt, None, dt, None)

    assert [answer[key] for key in KEYS] == pytest.approx([90, 90, 100, 80, 80, 100, 100, 100, 100])
    assert {key: value for key, value in answer.items() if key not in KEYS} == {
        "metric": "pq",
        "unit": "percent",
        "images": 1,
        "ground_truth": 2,
        "predictions": 2,
    }
    assert json.loads(json.dumps(answer)) == answer


def test_folders_may_lie_elsewhere(files: tuple[Path, Path], tmp_path: Path) -> None:
    gt, dt = files
    (tmp_path / "dt").rename(tmp_path / "moved")
    assert score_panoptic(gt, tmp_path / "gt", dt, tmp_path / "moved")["PQ"] == pytest.approx(90)
    with pytest.raises(DataError, match=r"predictions: no folder .*dt with panoptic PNGs; name it with --dt-pngs"):
        score_panoptic(gt, None, dt, None)


def test_a_list_of_panoptic_annotations_is_a_prediction_file_too(files: tuple[Path, Path]) -> None:
    gt, dt = files
    dt.write_text(json.dumps(json.loads(dt.read_bytes())["annotations"]))
    assert score_panoptic(gt, None, dt, None)["PQ"] == pytest.approx(90)


def test_files_of_another_kind_are_errors(files: tuple[Path, Path], tmp_path: Path) -> None:
    gt, dt = files
    boxes = written(tmp_path, "boxes", [{"image_id": 1, "category_id": 1, "score": 1.0, "bbox": [0, 0, 1, 1]}])
    with pytest.raises(DataError, match="predictions: image 1: a panoptic annotation has 'image_id'"):
        score_panoptic(gt, None, boxes, None)
    with pytest.raises(DataError, match=r"nowhere\.json: no such file"):
        score_panoptic(gt, None, tmp_path / "nowhere.json", None)
    with pytest.raises(DataError, match="not COCO: 'images' is missing"):
        score_panoptic(dt, None, dt, None)
