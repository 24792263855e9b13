"""Soft-NMS against its definition written out, against figures by hand and, where it must be hard, torchvision's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import batched_nms

from casl.errors import SpecError
from casl.models.backbone import build_backbone
from casl.models.detect import InferenceSettings
from casl.models.fcos import FCOS, FCOSSettings
from casl.models.suppression import kept
from tests.models.frameworks.cases import scene, small

SOFT = ["linear", "gaussian"]


def candidates(seed: int, count: int = 60, classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes that overlap a lot, with scores that are all different."""
    draw = torch.Generator().manual_seed(seed)
    corner, side = torch.rand(count, 2, generator=draw) * 30, torch.rand(count, 2, generator=draw) * 25 + 5
    scores = torch.rand(count, generator=draw)
    return torch.cat([corner, corner + side], 1), scores, torch.randint(classes, (count,), generator=draw)


def iou(a: NDArray[Any], b: NDArray[Any]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    return float(both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both))


def by_definition(
    boxes: Tensor, scores: Tensor, labels: Tensor, method: str, limit: float, sigma: float, floor: float
) -> list[tuple[int, float]]:
    """Fig. 2 of the Soft-NMS paper for each class by itself; then all classes by score."""
    found: list[tuple[int, float]] = []
    for label in torch.unique(labels).tolist():
        rest = {int(i): float(scores[i]) for i in torch.where(labels == label)[0]}
        while rest:
            best = max(rest, key=lambda i: rest[i])
            found.append((best, rest.pop(best)))
            for other in rest:
                overlap = iou(boxes[best].double().numpy(), boxes[other].double().numpy())
                if method == "gaussian":
                    rest[other] *= math.exp(-(overlap**2) / sigma)
                elif overlap >= limit:
                    rest[other] *= 1 - overlap
    return sorted(((i, score) for i, score in found if score > floor), key=lambda pair: -pair[1])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("method", SOFT)
def test_soft_nms_is_its_definition(method: str, seed: int) -> None:
    given = candidates(seed)
    settings = InferenceSettings(score_threshold=0.02, nms=0.3, suppression=method, sigma=0.4, max_detections=40)
    rows, scores = kept(*given, settings)
    expected = by_definition(*given, method, 0.3, 0.4, 0.02)[:40]
    assert rows.tolist() == [i for i, _ in expected]
    np.testing.assert_allclose(scores.numpy(), [score for _, score in expected], rtol=1e-5)
    assert any(score < given[1][i] - 1e-3 for i, score in expected), "nothing decayed"


# IoU of the first with the second is 1/2, with the third 0; of the second with the third 1/3
BOXES = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 8], [0, 4, 4, 12]])
SCORES = torch.tensor([0.9, 0.8, 0.5])


@pytest.mark.parametrize(
    ("method", "nms", "rows", "scores"),
    [
        ("hard", 0.4, [0, 2], [0.9, 0.5]),
        ("linear", 0.4, [0, 2, 1], [0.9, 0.5, 0.4]),
        ("linear", 0.5, [0, 2, 1], [0.9, 0.5, 0.4]),  # at the threshold a score decays
        ("linear", 0.51, [0, 1, 2], [0.9, 0.8, 0.5]),
        ("linear", 0.3, [0, 2, 1], [0.9, 0.5, 0.4 * 2 / 3]),
        ("gaussian", 0.4, [0, 2, 1], [0.9, 0.5, 0.8 * math.exp(-1 / 2) * math.exp(-2 / 9)]),
    ],
)
def test_scores_decay_as_computed_by_hand(method: str, nms: float, rows: list[int], scores: list[float]) -> None:
    found = kept(BOXES, SCORES, torch.zeros(3, dtype=torch.int64), InferenceSettings(nms=nms, suppression=method))
    assert found[0].tolist() == rows
    torch.testing.assert_close(found[1], torch.tensor(scores))


def test_boxes_of_other_classes_do_not_decay() -> None:
    for method in SOFT:
        rows, scores = kept(BOXES, SCORES, torch.arange(3), InferenceSettings(nms=0.1, suppression=method))
        assert rows.tolist() == [0, 1, 2] and torch.equal(scores, SCORES)


@pytest.mark.parametrize("method", ["hard", *SOFT])
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 1, 2]])
def test_boxes_without_area_overlap_nothing(method: str, labels: list[int]) -> None:
    boxes = torch.tensor([[0.0, 0, 0, 4], [0, 0, 4, 4], [2, 2, 2, 2], [0, 0, 0, 4]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    rows, found = kept(boxes, scores, torch.tensor(labels), InferenceSettings(nms=0.1, suppression=method))
    assert rows.tolist() == [0, 1, 2, 3] and torch.equal(found, scores)


@pytest.mark.parametrize("seed", range(3))
def test_where_decay_is_total_it_is_torchvisions_hard_suppression(seed: int) -> None:
    """A gaussian of no width leaves nothing of what overlaps at all."""
    boxes, scores, labels = candidates(seed)
    narrow = InferenceSettings(score_threshold=1e-6, suppression="gaussian", sigma=1e-12, max_detections=60)
    rows, found = kept(boxes, scores, labels, narrow)
    assert torch.equal(rows, batched_nms(boxes, scores, labels, 1e-5)) and 3 < len(rows) < 60
    assert torch.equal(found, scores[rows])


@pytest.mark.parametrize("seed", range(3))
def test_hard_suppression_is_torchvisions(seed: int) -> None:
    boxes, scores, labels = candidates(seed)
    rows, found = kept(boxes, scores, labels, InferenceSettings(nms=0.5, max_detections=20))
    assert torch.equal(rows, batched_nms(boxes, scores, labels, 0.5)[:20])
    assert torch.equal(found, scores[rows])


@pytest.mark.parametrize("method", ["hard", *SOFT])
def test_suppressed_twice_with_its_own_scores_is_suppressed_once(method: str) -> None:
    boxes, scores, labels = candidates(7)
    settings = InferenceSettings(score_threshold=0.1, nms=0.4, suppression=method, max_detections=15)
    rows, undecayed = kept(boxes, scores, labels, settings.of_view)
    assert torch.equal(undecayed, scores[rows])
    again, found = kept(boxes[rows], undecayed, labels[rows], settings)
    once, expected = kept(boxes, scores, labels, settings)
    assert torch.equal(rows[again], once) and torch.equal(found, expected)


@pytest.mark.parametrize("method", SOFT)
def test_a_score_must_exceed_the_threshold_after_decay_too(method: str) -> None:
    labels = torch.zeros(3, dtype=torch.int64)
    rows, _ = kept(BOXES, SCORES, labels, InferenceSettings(score_threshold=0.5, nms=0.4, suppression=method))
    assert rows.tolist() == [0]
    none = kept(BOXES[:0], SCORES[:0], labels[:0], InferenceSettings(suppression=method))
    assert [len(values) for values in none] == [0, 0]


def test_of_equal_scores_the_earlier_is_taken() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4]]).repeat(3, 1)
    rows, scores = kept(boxes, torch.full((3,), 0.5), torch.zeros(3).long(), InferenceSettings(suppression="gaussian"))
    assert rows.tolist() == [0, 1]  # the third's is 0.5 e^-4, below .05
    torch.testing.assert_close(scores, torch.tensor([0.5, 0.5 * math.exp(-2)]))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'gaussian'"):
        InferenceSettings(suppression="gausian")
    with pytest.raises(SpecError, match="width of a gaussian"):
        InferenceSettings(suppression="gaussian", sigma=0.0)


def test_a_detector_without_soft_nms_refuses_it_instead_of_being_hard() -> None:
    fcos = FCOS(build_backbone("resnet_micro"), 1, FCOSSettings(channels=16, towers=1)).eval()
    for model in (fcos, small("faster_rcnn").eval()):
        with pytest.raises(SpecError, match="hard suppression only; cascade_rcnn and htc have all"):
            model.predict([scene()[0]], [(64, 64)], InferenceSettings(suppression="linear"))
