"""NoisyAnchor against figures of the authors' code and of its formulas; numbers are those of the method's reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou, sigmoid_focal_loss

from casl.errors import SpecError
from casl.models.noisy import (
    Normaliser,
    Rule,
    cleanliness,
    literal_weights,
    paired_iou,
    released_labels,
    released_weights,
    reweighted,
    smooth_l1,
    soft_focal,
    spread,
    top_anchors,
)

LOC, CLS = torch.tensor([0.9, 0.6, 0.3, 0.5]), torch.tensor([0.2, 0.5, 0.1, 0.4])
ROWS = torch.tensor([[0.1, 0.5, 0.7, 0.2, 0.0, 0.3], [0.0, 0.2, 0.6, 0.65, 0.4, 0.1]])
LOGITS = torch.tensor([[0.0, -2.0], [1.0, -1.0], [-4.59511985, -4.59511985]])
SOFT = torch.tensor([[0.8, 0.0], [0.0, 0.3], [0.0, 0.0]])


def close(found: Tensor, wanted: list[float] | list[list[float]]) -> None:
    torch.testing.assert_close(found, torch.tensor(wanted), atol=1e-5, rtol=1e-6)


def test_1_f_spreads_what_is_close_to_one() -> None:
    found = spread(torch.tensor([0.0, 0.2, 0.5, 0.75, 0.9, 0.99]))
    torch.testing.assert_close(found, torch.tensor([1.0, 1.25, 2, 4, 10, 100]), atol=1e-5, rtol=1e-5)
    assert torch.isfinite(spread(torch.ones(1))).all()  # an IoU of 1 is legal; the formula is infinite there


@pytest.mark.parametrize(
    ("alpha", "wanted"),
    [
        (0.75, [0.725, 0.575, 0.25, 0.475]),
        (0.5, [0.55, 0.55, 0.2, 0.45]),
        (0.0, [0.2, 0.5, 0.1, 0.4]),
        (1.0, [0.9, 0.6, 0.3, 0.5]),
    ],
)
def test_2_cleanliness_mixes_localisation_and_class(alpha: float, wanted: list[float]) -> None:
    close(cleanliness(LOC, CLS, alpha), wanted)
    close(Rule(alpha, 1.0, "literal").judge(LOC, CLS)[0], wanted)


@pytest.mark.parametrize(
    ("alpha", "gamma", "wanted"),
    [
        (0.75, 1.0, [2.322838, 0.706143, 0.401150, 0.569869]),
        (0.75, 0.5, [1.624535, 0.895707, 0.675108, 0.804651]),
        (0.75, 1.5, [2.939234, 0.492657, 0.210944, 0.357165]),
        (0.75, 0.0, [1.0, 1.0, 1.0, 1.0]),
        (0.5, 1.0, [2.049521, 0.819808, 0.462678, 0.667992]),
    ],
)
def test_3_literal_weights_have_mean_one(alpha: float, gamma: float, wanted: list[float]) -> None:
    close(literal_weights(LOC, CLS, alpha, gamma), wanted)
    close(Rule(alpha, gamma, "literal").judge(LOC, CLS)[1], wanted)


def test_3_literal_weights_before_they_are_scaled() -> None:
    close(cleanliness(spread(LOC), spread(CLS), 0.75), [7.8125, 2.375, 1.349206, 1.916667])


@pytest.mark.parametrize(
    ("alpha", "wanted"), [(0.75, [1.0, 0.930649, 0.575, 0.825732]), (0.5, [0.890430, 1.0, 0.575, 0.883789])]
)
def test_4_released_labels_are_stretched_from_the_mean_localisation_to_one(alpha: float, wanted: list[float]) -> None:
    close(released_labels(LOC, CLS, alpha), wanted)
    close(Rule(alpha).judge(LOC, CLS)[0], wanted)


@pytest.mark.parametrize(
    ("alpha", "wanted"),
    [(0.75, [2.090781, 0.802649, 0.453390, 0.653179]), (0.5, [1.670352, 0.977496, 0.548036, 0.804116])],
)
def test_5_released_weights_bring_both_terms_to_one_scale(alpha: float, wanted: list[float]) -> None:
    close(released_weights(LOC, CLS, alpha, 1.0), wanted)
    assert released_weights(LOC, CLS, alpha, 1.0).mean().item() == pytest.approx(1.0, abs=1e-6)
    close(released_weights(LOC, CLS, alpha, 0.0), [1.0] * 4)
    powered = torch.tensor(wanted) ** 1.5  # gamma comes after mixing, the mean after gamma
    torch.testing.assert_close(released_weights(LOC, CLS, alpha, 1.5), powered / powered.mean(), atol=1e-5, rtol=1e-5)


def test_6_soft_focal_of_two_classes() -> None:
    close(soft_focal(LOGITS, SOFT, 0.5), [[0.086643, 0.000902], [0.350934, 0.113211], [1e-6, 1e-6]])
    assert soft_focal(LOGITS, SOFT, 0.5).sum().item() == pytest.approx(0.551691, abs=1e-5)
    assert soft_focal(LOGITS, SOFT, 0.25).sum().item() == pytest.approx(0.652941, abs=1e-5)
    assert soft_focal(LOGITS, SOFT.ceil(), 0.25).sum().item() == pytest.approx(0.746544, abs=1e-5)


def test_6_with_hard_labels_it_is_torchvision_s_focal_loss() -> None:
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * 6
    hard = functional.one_hot(torch.arange(50) % 7, 7).float()
    for alpha in (0.25, 0.5, 0.9):
        torch.testing.assert_close(soft_focal(logits, hard, alpha), sigmoid_focal_loss(logits, hard, alpha))
    extreme = torch.tensor([[200.0, -200.0]], requires_grad=True)
    soft_focal(extreme, torch.tensor([[0.3, 0.3]]), 0.5).sum().backward()  # type: ignore[no-untyped-call]
    assert extreme.grad is not None and torch.isfinite(extreme.grad).all()


@pytest.mark.parametrize(
    ("count", "chosen"),
    [(1, [2, 3]), (2, [1, 2, 2, 3]), (3, [5, 1, 2, 4, 2, 3]), (9, [4, 0, 3, 5, 1, 2, 0, 5, 1, 4, 2, 3])],
)
def test_7_every_object_chooses_its_best_anchors(count: int, chosen: list[int]) -> None:
    found = top_anchors(ROWS, count, overlapping=False)
    assert found.matches.tolist() == [0, 0, 0, 1, 1, 0]
    assert found.chosen.tolist() == chosen
    assert found.positive.nonzero().flatten().tolist() == sorted(set(chosen))


def test_7_an_anchor_without_overlap_is_chosen_as_released_and_dropped_here() -> None:
    rows = torch.tensor([[0.0, 0, 0, 0.6], [0.5, 0, 0, 0]])
    released = top_anchors(rows, 2, overlapping=False)
    assert released.chosen.tolist() == [2, 3, 3, 0]
    assert released.positive.tolist() == [True, False, True, True] and released.matches[2] == 0
    guarded = top_anchors(rows, 2)
    assert guarded.positive.tolist() == [True, False, False, True]
    assert guarded.chosen.tolist() == [3, 0]


def test_7_without_objects_nothing_is_chosen() -> None:
    found = top_anchors(torch.zeros(0, 5), 3)
    assert found.matches.tolist() == [0] * 5 and not found.positive.any() and not len(found.chosen)


def test_9_the_normaliser_follows_the_positives_and_is_in_the_state() -> None:
    normaliser = Normaliser()
    found = [normaliser.move(torch.tensor(count)).item() for count in (120, 60, 90)]
    assert found == pytest.approx([102.0, 97.8, 97.02], abs=1e-4)
    again = Normaliser()
    again.load_state_dict(normaliser.state_dict())
    assert again.move(torch.tensor(0)).item() == pytest.approx(0.9 * 97.02, abs=1e-4)


def test_9_it_can_begin_with_the_first_batch_and_is_never_below_one() -> None:
    normaliser = Normaliser(0.0)
    assert normaliser.move(torch.tensor(0)).item() == 1.0
    assert normaliser.move(torch.tensor(40)).item() == pytest.approx(40.0)
    assert normaliser.move(torch.tensor(50)).item() == pytest.approx(41.0)
    with pytest.raises(SpecError, match="at least 0, got -1"):
        Normaliser(-1.0)


def test_10_smooth_l1() -> None:
    close(smooth_l1(torch.tensor([0.05, 0.1, 0.3, -1.0]), torch.zeros(4)), [0.0125, 0.05, 0.25, 0.95])


def test_11_one_positive_and_equal_positives_have_label_one() -> None:
    one = torch.tensor([0.5]), torch.tensor([0.3])
    close(released_labels(*one, 0.75), [1.0])
    close(released_labels(torch.full((3,), 0.4), torch.full((3,), 0.1), 0.5), [1.0] * 3)
    close(released_weights(*one, 0.75, 1.0), [1.0])
    for label in ("released", "literal", "hard"):
        labels, weights = Rule(label=label).judge(torch.zeros(0), torch.zeros(0))
        assert len(labels) == len(weights) == 0
    for values in released_labels(torch.zeros(2), torch.tensor([0.1, 0.2]), 0.75), spread(torch.ones(2)):
        assert torch.isfinite(values).all()


def test_12_at_the_start_of_a_training_cleanliness_is_mostly_the_overlap() -> None:
    assert cleanliness(torch.tensor([0.6]), torch.tensor([0.01]), 0.75).item() == pytest.approx(0.4525, abs=1e-6)


def test_the_iou_of_pairs_is_torchvision_s() -> None:
    corners = torch.rand(60, 4, generator=torch.Generator().manual_seed(1)) * 20
    boxes = torch.cat([corners[:, :2], corners[:, :2] + corners[:, 2:]], dim=1)
    first, second = boxes[:30], boxes[30:]
    torch.testing.assert_close(paired_iou(first, second), box_iou(first, second).diagonal())
    assert paired_iou(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0.0


def test_reweighting_keeps_the_sum_and_moves_the_gradient() -> None:
    terms = torch.tensor([[1.0, 2.0], [0.5, 0.5]], requires_grad=True)
    found = reweighted(terms, torch.tensor([3.0, 1.0]))
    assert found.sum().item() == pytest.approx(4.0)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert terms.grad is not None
    close(terms.grad, [[1.2, 1.2], [0.4, 0.4]])  # 3 s and s, s = 4 / 10
    assert torch.isfinite(reweighted(torch.zeros(0, 4), torch.zeros(0))).all()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((-0.1, 1.0, "released"), r"alpha .* in \[0, 1\], got -0.1"),
        ((math.nan, 1.0, "released"), "alpha"),
        ((0.5, -1.0, "released"), r"gamma .* got -1.0: 0 weighs"),
        ((0.5, 9.0, "released"), "gamma"),
        ((0.5, 1.0, "relased"), "did you mean 'released'"),
    ],
)
def test_what_is_out_of_range_is_refused(values: tuple[float, float, str], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Rule(*values)


def test_an_object_chooses_at_least_one_anchor() -> None:
    with pytest.raises(SpecError, match=r"at least 1 anchor \(top_n\), got 0"):
        top_anchors(ROWS, 0)
