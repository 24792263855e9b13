"""One judge: what the check passes, all that read annotations accept; what it refuses, they refuse likewise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from casl.coco.judge import plainly_legal, result_problems
from casl.coco.masks import has_mask, segmentation_problem
from casl.data.augment import resize_sample
from casl.data.check import check_split
from casl.data.coco import CocoSplit, load_split
from casl.data.layout import SplitFiles
from casl.errors import DataError
from casl.metrics.ap import ap_det, ap_e, ap_seg
from casl.metrics.keypoints import ap_point
from casl.metrics.results import read_ground_truth
from casl.metrics.score import score
from casl.stages.feed import read_sample, target
from tests.coco.records import IMAGE, any_annotation, any_result, file_of
from tests.data.tiny import HEIGHT, WIDTH, dog, write_set

SIZES, CLASSES = {IMAGE: (HEIGHT, WIDTH)}, {3: "cat", 7: "dog"}
POINTS = {"keypoints": ["nose", "tail"]}
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
MANY = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("property") / "set")


def refusal(work: Callable[[], object]) -> str:
    """What a piece of work refuses, from the annotation on; empty if nothing. Only a DataError is a refusal."""
    try:
        work()
    except DataError as error:
        return str(error).split("annotation ", 1)[1]
    return ""


def train(split: CocoSplit) -> None:
    """Everything that training reads, as a detector gets it."""
    needs = ["masks"] * split.has_masks + ["keypoints"] * bool(split.points)
    for i in range(len(split)):
        targets = target(resize_sample(read_sample(split, i, needs), 32, 48), needs)
        assert len(targets["boxes"]) == len(targets["labels"])


def found(truth: dict[str, Any], *keys: str) -> list[dict[str, Any]]:
    """Predictions equal to the truth, with these fields beside its image and class."""
    return [{key: a[key] for key in ("image_id", "category_id", *keys)} | {"score": 0.5} for a in truth["annotations"]]


def evaluate(split: CocoSplit) -> None:
    """Every metric that this split's labels allow."""
    truth = split.coco()
    for metric in (ap_det, ap_e):
        metric(split.coco(), found(truth, "bbox"))
    if split.has_masks:
        ap_seg(split.coco(), found(truth, "segmentation"))
    if split.points:
        ap_point(split.coco(), found(truth, "bbox", "keypoints"))


def read_and_score(path: Path, points: bool) -> None:
    """`casl score` with predictions of its own."""
    prediction = {"image_id": IMAGE, "category_id": 7, "bbox": [12, 2, 8, 8], "score": 0.5, "keypoints": [1, 2, 1] * 2}
    results_file = path.with_name("results.json")
    results_file.write_text(json.dumps([prediction]))
    if points:
        score(path, results_file, "ap_point", ap_point)
    else:
        read_ground_truth(path)
        score(path, results_file, "ap_det", ap_det, ap_seg)


def judge_everywhere(root: Path, record: Any, points: bool) -> None:
    path = root / "annotations" / "judged.json"
    path.write_text(json.dumps(file_of([record, dog(900, IMAGE)], **(POINTS if points else {}))))
    images = root / "images"
    files = SplitFiles("val", images, keypoints=path) if points else SplitFiles("val", images, instances=path)
    kind = "keypoints" if points else "objects"
    report = check_split(files, decode=False)
    said = {error.split("annotation ", 1)[1] for error in report.errors}

    refused = [
        refusal(lambda: train(load_split(files, kind))),
        refusal(lambda: evaluate(load_split(files, kind))),
        refusal(lambda: read_and_score(path, points)),
    ]

    assert set(refused) - {""} <= said, "refused without the check, or in other words"
    assert bool(refused[2]) is bool(said), "the check and `casl score` disagree"
    if said and not all(refused):  # no stage reads the masks of a split that lacks some
        assert not load_split(files, kind).has_masks
        assert all(segmentation_problem(record["segmentation"], HEIGHT, WIDTH) for _ in said)


def judge_results(entries: list[Any]) -> None:
    truth = file_of([dog(1, IMAGE)])
    legal = all(not result_problems(entry, SIZES, CLASSES) for entry in entries)
    if plainly_legal(entries, SIZES, CLASSES):
        assert legal, "the fast answer passes what the judge refuses"
    masks_legal = legal and all(
        not has_mask(e) or segmentation_problem(e["segmentation"], HEIGHT, WIDTH) is None for e in entries
    )
    for metric, wanted in (
        (ap_det, legal and all(e.get("bbox") is not None or masks_legal for e in entries)),
        (ap_seg, masks_legal and all(map(has_mask, entries))),
    ):
        try:
            metric(truth, entries)
            accepted = True
        except DataError:
            accepted = False
        assert accepted is wanted, metric.__name__


@FEW
@given(any_annotation())
def test_an_object_is_judged_alike_everywhere(root: Path, record: Any) -> None:
    judge_everywhere(root, record, points=False)


@FEW
@given(any_annotation())
def test_a_pose_is_judged_alike_everywhere(root: Path, record: Any) -> None:
    judge_everywhere(root, record, points=True)


@FEW
@given(any_result(), any_result())
def test_results_are_judged_alike_one_by_one_and_at_once(first: Any, second: Any) -> None:
    judge_results([first, second])


@pytest.mark.long
@MANY
@given(any_annotation())
def test_two_thousand_objects_are_judged_alike_everywhere(root: Path, record: Any) -> None:
    judge_everywhere(root, record, points=False)


@pytest.mark.long
@MANY
@given(any_annotation())
def test_two_thousand_poses_are_judged_alike_everywhere(root: Path, record: Any) -> None:
    judge_everywhere(root, record, points=True)


@pytest.mark.long
@MANY
@given(any_result(), any_result())
def test_two_thousand_pairs_of_results_are_judged_alike(first: Any, second: Any) -> None:
    judge_results([first, second])
