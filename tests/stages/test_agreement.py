"""The proxy against a count by hand in plain Python, on the built-in scenes with made-up predictions."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle_tools

from casl.data.image_info import ImageInfo
from casl.data.pseudo import Prediction, write_pseudo_labels
from casl.data.scenes import write_scenes
from casl.errors import DataError
from casl.spec import Evaluate, PseudoLabel, Scenes, evaluate, labeler, pseudo_label
from casl.stages.agreement import ScoredLabels
from casl.stages.sources import LABELS
from tests.runner.stores import NANO

TEACHER = labeler(NANO)
SCORING = evaluate(NANO, TEACHER, "ap_e")
SCORED = pseudo_label(NANO, TEACHER)
Box = list[float]


def iou(a: Box, b: Box) -> float:
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0.0, wide) * max(0.0, high)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def right_at(truth: list[Box], found: list[tuple[float, Box]], overlap: float) -> int:
    """Labels of one image that find an object: by falling score, each takes the free object it overlaps most."""
    free, right = list(truth), 0
    for _, box in sorted(found, key=lambda f: -f[0]):
        best = max(free, key=lambda t: iou(t, box), default=None)
        if best is not None and iou(best, box) >= overlap:
            free.remove(best)
            right += 1
    return right


def f1_by_hand(truth: dict[int, list[Box]], results: list[dict[str, Any]], threshold: float) -> float:
    kept = [r for r in results if r["score"] > threshold]
    objects = sum(map(len, truth.values()))
    scores = []
    for overlap in np.arange(0.5, 1.0, 0.05):
        right = 0
        for image, boxes in truth.items():
            right += right_at(boxes, [(r["score"], r["bbox"]) for r in kept if r["image_id"] == image], overlap)
        scores.append(100 * 2 * right / (len(kept) + objects))
    return float(np.mean(scores))


@pytest.fixture
def world(tmp_path: Path) -> tuple[ScoredLabels, dict[int, list[Box]], list[dict[str, Any]]]:
    """A val split of scenes and predictions near its entities, some of them far off."""
    data = SCORING.data
    assert isinstance(data, Scenes)
    write_scenes(tmp_path / data.name / "set", "val", 6, data.size, data.seed)
    (file,) = (tmp_path / data.name).rglob("entity_val.json")
    content = json.loads(file.read_text())
    truth: dict[int, list[Box]] = {image["id"]: [] for image in content["images"]}
    results, source = [], random.Random(1)
    for record in content["annotations"]:
        truth[record["image_id"]].append(record["bbox"])
        for _ in range(source.randrange(3)):
            shift = [source.gauss(0, 2.5), source.gauss(0, 2.5), 0.0, 0.0]
            box = [max(1.0, v + d) for v, d in zip(record["bbox"], shift, strict=True)]
            score = float(np.float32(source.random()))
            results.append({"image_id": record["image_id"], "category_id": 1, "bbox": box, "score": score})
    folder = tmp_path / SCORING.name
    folder.mkdir()
    (folder / "predictions.json").write_text(json.dumps(results))
    return ScoredLabels(lambda name: tmp_path / name, {}, tmp_path / "digests.json"), truth, results


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.83])
def test_f1_of_held_out_labels_is_that_of_a_count_by_hand(world: Any, threshold: float) -> None:
    labels, truth, results = world
    expected = f1_by_hand(truth, results, threshold)
    assert labels.quality(SCORING, threshold)["f1"] == pytest.approx(expected, abs=1e-6)
    assert expected > 0


def test_what_no_pseudo_label_can_be_is_no_answer_to_the_proxy(world: Any, tmp_path: Path) -> None:
    labels, _, results = world
    expected = labels.quality(SCORING, 0.2)
    masked = [{**r, "segmentation": mask_of(1, 1, 9, 9)} for r in results]
    flat = {**masked[0], "score": 0.9, "bbox": [1.0, 1.0, 0.0, 9.0]}
    empty = {**masked[0], "score": 0.9, "segmentation": mask_of(0, 0, 0, 0)}
    (tmp_path / SCORING.name / "predictions.json").write_text(json.dumps([*masked, flat, empty]))
    again = ScoredLabels(lambda name: tmp_path / name, {}, tmp_path / "digests.json")
    assert again.quality(SCORING, 0.2) == expected


def mask_of(x1: int, y1: int, x2: int, y2: int) -> dict[str, Any]:
    """A mask of 32 x 32 pixels as predictions have it."""
    pixels = np.zeros((32, 32), np.uint8, order="F")
    pixels[y1:y2, x1:x2] = 1
    rle = rle_tools.encode(pixels)
    return {"size": [32, 32], "counts": rle["counts"].decode()}


def test_the_split_is_one_the_labeler_never_saw() -> None:
    assert isinstance(SCORING, Evaluate)
    assert SCORING.data == NANO.data.split("val", "entities") != TEACHER.data
    assert SCORING.data != SCORED.data


def test_no_label_at_all_is_worth_nothing(world: Any) -> None:
    labels, _, _ = world
    assert labels.quality(SCORING, 1.0) == dict.fromkeys(labels.quality(SCORING, 1.0), 0.0)


def test_what_is_left_to_warm_up_on_is_counted(tmp_path: Path) -> None:
    scores = [[0.3, 0.9, 0.30000001], [], [0.2], [0.5]]
    images = [ImageInfo(i + 1, f"{i}.png", 32, 32) for i in range(4)]
    found = [
        Prediction(
            np.tile(np.array([[1, 1, 9, 9]], np.float32), (len(s), 1)), np.array(s, np.float32), np.zeros(len(s), int)
        )
        for s in scores
    ]
    write_pseudo_labels(tmp_path / SCORED.name / LABELS, images, found)
    labels = ScoredLabels(lambda name: tmp_path / name, {}, tmp_path / "digests.json")
    assert isinstance(SCORED, PseudoLabel)
    assert labels.counts(SCORED, 0.0) == (3, 5)
    assert labels.counts(SCORED, 0.3) == (2, 2)  # equal is dropped, in float32
    assert labels.counts(SCORED, 0.9) == (0, 0)


def test_damaged_labels_are_named(tmp_path: Path) -> None:
    box = np.array([[1, 1, 9, 9]], np.float32)
    found = Prediction(box, np.ones(1, np.float32), np.zeros(1, np.int64))
    write_pseudo_labels(tmp_path / SCORED.name / LABELS, [ImageInfo(1, "1.png", 32, 32)], [found])
    (tmp_path / SCORED.name / LABELS / "000000.arrow").write_bytes(b"half a file")
    with pytest.raises(DataError, match=r"000000\.arrow: damaged"):
        ScoredLabels(lambda name: tmp_path / name, {}, tmp_path).counts(SCORED, 0.3)
