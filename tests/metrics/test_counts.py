from __future__ import annotations

import pytest

from casl.metrics.counts import label_quality
from tests.metrics.test_ap import NOWHERE, A, B, found, truth


def test_labels_are_counted_as_by_hand() -> None:
    labels = [found(A, 0.9), found(NOWHERE, 0.8), found(B, 0.7), found(B, 0.6)]

    quality = label_quality(truth(A, B), labels)

    assert quality == pytest.approx(
        {"precision_50": 50, "precision": 50, "recall_50": 100, "recall": 100, "f1_50": 200 / 3, "f1": 200 / 3}
    )


@pytest.mark.parametrize(
    ("threshold", "precision", "recall", "f1"),
    [(0.5, 50, 100, 200 / 3), (0.7, 50, 50, 50), (0.85, 100, 50, 200 / 3), (0.9, -1, 0, 0)],
)
def test_only_scores_above_the_threshold_are_labels(
    threshold: float, precision: float, recall: float, f1: float
) -> None:
    labels = [found(A, 0.9), found(NOWHERE, 0.8), found(B, 0.7), found(B, 0.6)]
    quality = label_quality(truth(A, B), labels, threshold)
    assert [quality[k] for k in ("precision_50", "recall_50", "f1_50")] == pytest.approx([precision, recall, f1])


def test_the_mean_is_over_ten_overlaps() -> None:
    quality = label_quality(truth([0.0, 0, 100, 100]), [found([0.0, 0, 100, 62])])  # right at .5, .55 and .6
    assert [quality[k] for k in ("f1_50", "precision", "recall", "f1")] == pytest.approx([100, 30, 30, 30])


def test_the_better_score_takes_the_object_even_if_the_other_fits_better() -> None:
    quality = label_quality(truth([0.0, 0, 100, 100]), [found([0.0, 0, 100, 70], 0.9), found([0.0, 0, 100, 100], 0.8)])
    assert (quality["precision_50"], quality["recall_50"]) == (50, 100)
    assert quality["precision"] == pytest.approx(50)  # from .75 on the second one is free to take it


def test_crowds_are_not_judged_and_classes_do_not_matter() -> None:
    gt = truth(A, [50.0, 50, 100, 100])
    gt["annotations"][1]["iscrowd"] = 1
    labels = [found(A, category=2), found([70.0, 70, 10, 10]), found([90.0, 90, 10, 10])]
    assert set(label_quality(gt, labels).values()) == {100.0}


def test_more_than_a_hundred_labels_of_an_image_all_count() -> None:
    labels = [found(NOWHERE, 0.9)] * 149 + [found(A, 0.5)]
    assert label_quality(truth(A), labels)["precision_50"] == pytest.approx(100 / 150)


def test_masks_are_compared_on_request() -> None:
    left, right = [[10, 10, 20, 10, 20, 30, 10, 30]], [[20, 10, 30, 10, 30, 30, 20, 30]]
    gt, labels = truth(A, segmentation=left), [found(A) | {"segmentation": right}]
    assert label_quality(gt, labels)["f1_50"] == 100
    assert label_quality(gt, labels, masks=True)["f1_50"] == 0


def test_nothing_to_divide_by_is_minus_one() -> None:
    assert label_quality(truth(A), [])["precision"] == -1
    assert label_quality(truth(A), [])["f1"] == 0
    assert label_quality(truth(), [found(A)])["recall"] == -1
    assert set(label_quality(truth(), []).values()) == {-1.0}
