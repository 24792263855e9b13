"""Sides as intervals, against the numerical cases of the method reference, torch's own losses and torchvision's IoU."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional
from torchvision.ops import box_iou

from casl.errors import SpecError
from casl.models.intervals import (
    Sides,
    best_sides,
    certainty,
    check_intervals,
    interval_centers,
    interval_loss,
    place_sides,
    quality,
    reach,
    refinement_loss,
    sides_at,
)

LOGITS = torch.tensor([[3.0, 0, -1], [2, 1, -2], [0, 0.5, 1], [-1, -0.5, 4]])


def left(side: float, intervals: int = 30, span: float = 2.0) -> tuple[Any, ...]:
    """Interval, its centre, the offset and whether it is inside, of a left side at 100 of a box of width 60."""
    box, of = torch.tensor([[100.0, 0, 160, 40]]), torch.tensor([[side, 0.0, 160, 40]])
    found = place_sides(box, of, intervals, span)
    center = interval_centers(box, found.index, intervals, span)
    return int(found.index[0, 0]), float(center[0, 0]), float(found.offset[0, 0]), bool(found.inside[0, 0])


@pytest.mark.parametrize(
    ("side", "index", "center", "offset", "inside"),
    [
        (104, 16, 106, -0.5, True),
        (88, 12, 90, -0.5, True),
        (40, 0, 42, -0.5, True),
        (160, 29, 158, 0.5, True),
        (30, 0, 42, 0.0, False),
        (170, 29, 158, 0.0, False),
        (103.9, 15, 102, 0.475, True),
    ],
)
def test_a1_a_side_belongs_to_the_half_open_interval_that_holds_it(
    side: float, index: int, center: float, offset: float, inside: bool
) -> None:
    assert left(side) == (index, pytest.approx(center), pytest.approx(offset, abs=1e-5), inside)


@pytest.mark.parametrize(
    ("intervals", "span", "index", "center", "offset"),
    [
        (4, 2.0, 2, 115, -0.366667),
        (8, 2.0, 4, 107.5, -0.233333),
        (20, 2.0, 10, 103, 1 / 6),
        (40, 2.0, 21, 104.5, -1 / 6),
        (30, 1.0, 17, 105, -0.5),
        (30, 1.7, 16, 105.1, -0.323529),
    ],
)
def test_a2_other_numbers_of_intervals_and_other_spans(
    intervals: int, span: float, index: int, center: float, offset: float
) -> None:
    found = left(104, intervals, span)
    assert found == (index, pytest.approx(center, rel=1e-6), pytest.approx(offset, abs=1e-5), True)


def test_a3_sides_in_two_directions_and_decoding_gives_the_object_back() -> None:
    box, thing = torch.tensor([[40.0, 50, 100, 130]]), torch.tensor([[44.0, 46, 97, 140]])
    found = place_sides(box, thing)
    assert found.index.tolist() == [[16, 14, 14, 16]] and found.inside.all()
    torch.testing.assert_close(interval_centers(box, found.index), torch.tensor([[46.0, 47 + 1 / 3, 98, 138]]))
    torch.testing.assert_close(found.offset, torch.tensor([[-0.5, -0.25, -0.25, 0.375]]))
    torch.testing.assert_close(sides_at(box, found.index, found.offset), thing)


@pytest.mark.parametrize(("form", "loss"), [("literal", 0.126928), ("bce", 2.107414), ("softmax", 0.342350)])
def test_a4_three_forms_of_the_loss_of_a_side(form: str, loss: float) -> None:
    found = interval_loss(torch.tensor([[2.0, -1, 0, 0.5]]), torch.tensor([0]), form)
    assert found.tolist() == [pytest.approx(loss, abs=1e-6)]


def test_a5_the_literal_form_is_minimised_by_the_same_answer_everywhere() -> None:
    logits, index = torch.full((4,), 20.0), torch.tensor(0)
    assert float(interval_loss(logits, index, "literal")) == pytest.approx(2.06e-9, rel=1e-3)
    assert float(interval_loss(logits, index, "bce")) == pytest.approx(60.0, abs=1e-5)


def test_a6_quality_is_the_mean_over_sides_of_the_best_interval() -> None:
    sides = LOGITS.sigmoid().amax(1)
    assert sides.tolist() == pytest.approx([0.952574, 0.880797, 0.731059, 0.982014], abs=1e-6)
    assert float(quality(LOGITS)) == pytest.approx(0.886611, abs=1e-6)
    assert float(quality(LOGITS, "softmax")) == pytest.approx(0.786646, abs=1e-6)
    torch.testing.assert_close(
        quality(torch.stack([LOGITS, -LOGITS])), torch.stack([quality(LOGITS), quality(-LOGITS)])
    )


@pytest.mark.parametrize(
    ("iou", "outward", "inward", "both"),
    [(0.5, 1, 0.5, 1 / 3), (0.6, 2 / 3, 0.4, 0.25), (0.7, 0.428571, 0.3, 0.176471)],
)
def test_a11_how_far_sides_may_be_at_an_iou(iou: float, outward: float, inward: float, both: float) -> None:
    found = reach(iou)
    assert found == pytest.approx((outward, inward, both), abs=1e-5)
    box = torch.tensor([[0.0, 0, 10, 7]])
    moves = [(-found.outward, 0), (found.inward, 0), (found.both, found.both)]  # of left and right, in widths
    moved = torch.tensor([[10 * a, 0, 10 + 10 * b, 7] for a, b in moves])
    torch.testing.assert_close(box_iou(box, moved)[0], torch.full((3,), iou))
    assert place_sides(box.expand(3, 4), moved).inside.all(), "a span of 2 holds all sides down to an IoU of .5"


def test_a12_the_root_of_the_product_is_on_the_scale_of_a_probability_and_in_the_order_of_the_product() -> None:
    p, v = torch.tensor([0.9, 0.6, 0.9]), torch.tensor([0.8, 0.9, 0.4])
    assert certainty(p, v).tolist() == pytest.approx([0.848528, 0.734847, 0.6], abs=1e-6)
    assert certainty(p, v, "pv").tolist() == pytest.approx([0.72, 0.54, 0.36], abs=1e-6)
    assert certainty(p, v, "p").tolist() == pytest.approx(p.tolist())
    assert torch.equal(certainty(p, v).argsort(), certainty(p, v, "pv").argsort())
    assert certainty(p[:, None].expand(3, 5), v[:, None], "p").shape == (3, 5)


@pytest.mark.parametrize(("intervals", "span"), [(2, 0.5), (7, 1.7), (30, 2.0), (101, 3.0)])
def test_what_lies_on_its_segment_comes_back_and_what_does_not_stays_at_the_end(intervals: int, span: float) -> None:
    random = torch.Generator().manual_seed(3)
    low = torch.rand(200, 2, generator=random) * 50
    boxes = torch.cat([low, low + 1 + torch.rand(200, 2, generator=random) * 40], 1)
    things = boxes + torch.randn(200, 4, generator=random) * 15
    found = place_sides(boxes, things, intervals, span)
    assert found.inside.any() and not found.inside.all()
    again = sides_at(boxes, found.index, found.offset, intervals, span)
    torch.testing.assert_close(again[found.inside], things[found.inside], rtol=1e-5, atol=1e-4)
    assert (found.offset.abs() <= 0.5).all() and (found.offset[~found.inside] == 0).all()
    assert set(found.index[~found.inside].tolist()) <= {0, intervals - 1}


def test_each_side_takes_the_offset_of_its_best_interval() -> None:
    box, thing = torch.tensor([[40.0, 50, 100, 130]]), torch.tensor([[44.0, 46, 97, 140]])
    wanted = place_sides(box, thing)
    logits, offsets = torch.zeros(1, 4, 30), torch.full((1, 4, 30), 9.0)
    logits.scatter_(2, wanted.index[..., None], 1.0)
    offsets.scatter_(2, wanted.index[..., None], wanted.offset[..., None])
    torch.testing.assert_close(best_sides(box, logits, offsets), thing)


def test_losses_are_those_of_torch_and_a_side_off_its_segment_is_not_refined() -> None:
    random = torch.Generator().manual_seed(1)
    logits, index = torch.randn(5, 4, 6, generator=random), torch.randint(6, (5, 4), generator=random)
    softmax = functional.cross_entropy(logits.flatten(0, 1), index.flatten(), reduction="none").view(5, 4)
    torch.testing.assert_close(interval_loss(logits, index, "softmax"), softmax)
    zeros = torch.zeros(2, 4, 30)
    found = interval_loss(zeros, torch.zeros(2, 4, dtype=torch.int64)).sum(1)
    assert found.tolist() == pytest.approx([4 * 30 * math.log(2)] * 2), "83.18: what is divided by K"
    wanted = Sides(index[:1], torch.tensor([[0.0, 0.2, -0.5, 0.0]]), torch.tensor([[True, True, True, False]]))
    terms = refinement_loss(torch.tensor([[0.05, 0.2, 0.5, 3.0]]), wanted)
    torch.testing.assert_close(terms, torch.tensor([[0.5 * 0.05**2 / 0.1, 0.0, 1.0 - 0.05, 0.0]]))


def test_no_candidate_gives_no_target() -> None:
    none = torch.zeros(0, 4)
    found = place_sides(none, none)
    assert found.index.shape == found.offset.shape == found.inside.shape == (0, 4)
    assert best_sides(none, torch.zeros(0, 4, 30), torch.zeros(0, 4, 30)).shape == (0, 4)
    assert interval_loss(torch.zeros(0, 4, 30), found.index).shape == (0, 4)


@pytest.mark.parametrize(
    ("intervals", "span", "sentence"),
    [
        (1, 2.0, "2 to 1,000 intervals, got 1"),
        (1001, 2.0, "got 1001"),
        (30, 0.0, "above 0"),
        (30, -1.0, "got -1"),
        (30, 200.0, "at most 10, got 200"),
        (30, math.nan, "got nan"),
    ],
)
def test_numbers_that_cut_no_segment_are_refused(intervals: int, span: float, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        check_intervals(intervals, span)


def test_names_that_are_unknown_are_refused_with_the_near_one() -> None:
    one = torch.ones(1)
    with pytest.raises(SpecError, match="did you mean 'softmax'"):
        quality(LOGITS, "softmx")
    with pytest.raises(SpecError, match="did you mean 'root'"):
        certainty(one, one, "roots")
    with pytest.raises(ValueError, match="got 0"):
        reach(0.0)
