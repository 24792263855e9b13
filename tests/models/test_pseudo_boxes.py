"""Which boxes of a teacher pass, and how sure it is, against figures of the released codes and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from casl.models.losses import focal_sum
from casl.models.pseudo_boxes import background_weights, jittered, passing, spread, uncertainty, usable

BOXES = torch.tensor([[10.0, 10, 50, 30], [0, 0, 0.5, 8]])
LABEL = torch.zeros(1, dtype=torch.int64)


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.95, 0.9, 0.89, 0.3], [0.95, 0.9]),
        ([0.85, 0.6, 0.2], [0.85]),
        ([0.1, 0.05], [0.1]),
        ([0.91, 0.91], [0.91, 0.91]),
        ([0.4, 0.4, 0.1], [0.4, 0.4]),
        ([], []),
    ],
)
def test_t1_stac_relaxes_the_threshold_of_an_image(scores: list[float], kept: list[float]) -> None:
    values = torch.tensor(scores)
    torch.testing.assert_close(values[passing(values, 0.9, relax=True)], torch.tensor(kept))


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, [0, 1]), (0.3, [1]), (0.8, [])])
def test_without_relaxing_a_score_must_exceed_the_threshold(threshold: float, kept: list[int]) -> None:
    scores = torch.tensor([0.3, 0.8, 0.0])
    assert passing(scores, threshold).nonzero().flatten().tolist() == kept
    assert passing(torch.zeros(0), threshold).tolist() == []


def test_s3_low_scores_and_boxes_without_area_are_left_out() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 0, 5], [0, 0, 4, 4], [0, 0, 2, 2]])
    assert usable(boxes, torch.tensor([0.9, 0.95, 0.91, 0.5]), 0.9).tolist() == [False, False, True, False]
    assert usable(boxes, torch.ones(4), 0.0, min_size=4.0).tolist() == [True, False, False, False]


def test_s1_jitter_is_that_of_the_released_code() -> None:
    torch.manual_seed(0)
    expected = torch.tensor(
        [
            [[7.297985, 8.617167, 49.398613, 29.479345], [0.050923, 0.332164, 0.481039, 6.984694]],
            [[10.773459, 8.483998, 50.839958, 30.369761], [0.007190, 0.594076, 0.567007, 7.881307]],
        ]
    )
    torch.testing.assert_close(jittered(BOXES, 2, 0.06), expected, atol=1e-5, rtol=0)
    own = jittered(BOXES, 2, 0.06, torch.Generator().manual_seed(0))
    torch.testing.assert_close(own, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("copies", "sides", "mean"),
    [
        (
            [[10, 10, 50, 30], [11, 10, 49, 31], [9, 9, 51, 30], [10, 11, 50, 29]],
            [0.020412, 0.040825, 0.020412, 0.040825],
            0.030619,
        ),
        ([[10, 10, 50, 30], [10.2, 10, 49.9, 30.1], [9.9, 9.9, 50.1, 30], [10, 10.1, 50, 29.9]], None, 0.003339),
    ],
)
def test_s2_uncertainty_of_refined_copies(copies: list[list[float]], sides: list[float] | None, mean: float) -> None:
    found = uncertainty(torch.tensor(copies, dtype=torch.float32)[:, None])
    if sides:
        assert found[0].tolist() == pytest.approx(sides, abs=1e-5)
    assert float(found.mean()) == pytest.approx(mean, abs=1e-5)
    assert (float(found.mean()) < 0.02) == (sides is None)


def test_a_side_of_a_mean_box_counts_as_at_least_a_pixel() -> None:
    copies = torch.tensor([[[0.0, 0, 0.2, 40]], [[0.1, 4, 0.3, 44]]])
    deviation = np.std([0.0, 0.1], ddof=1)
    assert uncertainty(copies)[0].tolist() == pytest.approx([deviation, 0.1 * math.sqrt(0.5), deviation, 0.0707107])


def by_hand(box: Tensor, label: int, candidates: Tensor, scores: Tensor, classes: Tensor) -> float:
    """One box at a time, with numpy."""
    near = []
    for other, score, its in zip(candidates.numpy(), scores.tolist(), classes.tolist(), strict=True):
        low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
        both = np.clip(high - low, 0, None).prod()
        union = (box[2:] - box[:2]).numpy().prod() + (other[2:] - other[:2]).prod() - both
        if its == label and both / union > 0.6:
            near.append((score, other))
    best = np.array([b for _, b in sorted(near, key=lambda pair: -pair[0])[:10]], np.float64)
    if len(best) < 2:
        return math.inf
    width, height = best.mean(0)[2:] - best.mean(0)[:2]
    sides = np.array([width, height, width, height]).clip(1)
    return float((best.std(0, ddof=1) / sides).mean())


@pytest.mark.parametrize("seed", range(5))
def test_spread_is_the_uncertainty_of_the_best_neighbours_of_the_class(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    anchors = torch.tensor([[10.0, 10, 40, 30], [60, 10, 80, 60], [5, 60, 25, 80]])
    candidates = (anchors.repeat(16, 1) + torch.randn(48, 4, generator=random)).contiguous()
    scores, classes = torch.rand(48, generator=random), torch.randint(2, (48,), generator=random)
    found = spread(candidates[:6], classes[:6], candidates, scores, classes)
    wanted = [by_hand(b, int(c), candidates, scores, classes) for b, c in zip(candidates[:6], classes[:6], strict=True)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)


def test_a_box_without_neighbours_is_not_sure_and_no_set_of_boxes_gives_a_number_that_is_none() -> None:
    box, score = BOXES[:1], torch.ones(1)
    assert spread(box, LABEL, box, score, LABEL).tolist() == [math.inf]
    two, others = torch.cat([box, box]), torch.tensor([0, 1])
    assert spread(box, LABEL, two, torch.ones(2), others).tolist() == [math.inf], "a candidate of another class"
    assert spread(box, LABEL, two, torch.ones(2), LABEL.repeat(2)).tolist() == [0.0]
    nothing = torch.zeros(0, 4)
    assert spread(nothing, LABEL[:0], two, torch.ones(2), others).tolist() == []
    assert spread(nothing, LABEL[:0], nothing, torch.zeros(0), LABEL[:0]).tolist() == []
    assert jittered(nothing, 10).shape == (10, 0, 4) and uncertainty(jittered(nothing, 10)).shape == (0, 4)
    flat = torch.tensor([[5.0, 5, 5, 9], [5, 5, 5, 9]])
    assert not spread(flat, LABEL.repeat(2), flat, torch.ones(2), LABEL.repeat(2)).isnan().any()


def test_s9_background_that_the_teacher_doubts_weighs_less() -> None:
    logits, doubt = torch.tensor([[-2.0], [1.0], [0.0]]), torch.tensor([0.02, 0.6, 0.3])
    terms = [float(focal_sum(logits[i : i + 1], torch.zeros(1, 1))) for i in range(3)]
    assert terms == pytest.approx([0.001353, 0.526401, 0.129965], abs=1e-6)
    # the three places are one row of cells that lie in both views alike
    points = torch.tensor([[4.0, 4], [12, 4], [20, 4]])
    weights = background_weights(
        [doubt[None]], (8,), points, torch.zeros(3, dtype=torch.int64), torch.eye(3, dtype=torch.float64), (8, 24)
    )
    assert weights.tolist() == pytest.approx([0.98, 0.4, 0.7])
    assert float(focal_sum(logits, torch.zeros(3, 1), weights)) == pytest.approx(0.302862, abs=1e-5)
    assert float(focal_sum(logits, torch.zeros(3, 1))) == pytest.approx(0.657719, abs=1e-5)


def test_places_are_looked_up_on_their_level_in_the_teachers_view_and_outside_of_it_weigh_one() -> None:
    fine, coarse = torch.arange(16).reshape(4, 4) / 100, torch.full((2, 2), 0.5)
    back = torch.tensor([[-1.0, 0, 32], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)  # the student's view is mirrored
    points = torch.tensor([[4.0, 4], [28, 12], [8, 8], [4, 4], [-4, 4], [36, 4], [4, 28]])
    levels = torch.tensor([0, 0, 1, 1, 0, 0, 0])
    found = background_weights([fine, coarse], (8, 16), points, levels, back, (24, 32))
    # (4, 4) -> (28, 4): row 0, column 3. (28, 12) -> (4, 12): row 1, column 0. 36 -> -4 and -4 -> 36 lie outside, and
    # so does y = 28 in a view of 24 rows, though a padded map has a cell there.
    assert found.tolist() == pytest.approx([0.97, 0.96, 0.5, 0.5, 1.0, 1.0, 1.0])
