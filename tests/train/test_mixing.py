"""How losses of labeled and unlabeled images add up, against the released codes' figures."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from casl.errors import SpecError
from casl.spec import joint_kind
from casl.train import mixing
from casl.train.mixing import Averages, factors, mixed


def values(**losses: float) -> dict[str, Tensor]:
    return {name: torch.tensor(value, requires_grad=True) for name, value in losses.items()}


def total(labeled: float, unlabeled: float, mix: str, weight: float, ratio: float = 1.0) -> float:
    parts = mixed(values(loss=labeled), values(loss=unlabeled), mix, lambda name: weight, ratio)
    assert list(parts) == ["loss", "loss_u"]
    return float(sum(parts.values()))


def test_s8_soft_teacher_adds_weighted_losses_of_unlabeled_images() -> None:
    assert total(1.2, 0.35, "sum", 4.0) == pytest.approx(2.6)
    assert total(1.2, 0.35, "sum", 2.0) == pytest.approx(1.9)


def test_t2_stac_takes_the_mean_over_two_forwards() -> None:
    assert total(0.8, 0.5, "mean", 2.0) == pytest.approx(0.9)


def test_t3_self_training_scales_by_the_moving_averages() -> None:
    assert total(1.0, 0.5, "normalised", 0.25, ratio=2.0) == pytest.approx(1.0)
    assert total(0.8, 0.8, "normalised", 1.0) == pytest.approx(0.8)


def test_u3_unbiased_teacher_weighs_pseudo_classes_and_drops_pseudo_boxes() -> None:
    labeled = values(rpn=0.4, cls=0.3, rpn_box=0.2, box=0.1)
    unlabeled = values(rpn=0.3, cls=0.2, rpn_box=0.4, box=0.6)
    parts = mixed(labeled, unlabeled, "sum", lambda name: 0.0 if "box" in name else 4.0)
    assert float(sum(parts.values())) == pytest.approx(3.0)


def test_version_two_shares_one_weight_among_both_kinds_for_classes_and_another_for_boxes() -> None:
    parts = mixed(values(cls=1.0, box=1.2), values(cls=2.0, box=0.6), "share", {"cls": 3.0, "box": 0.2}.__getitem__)
    assert float(parts["cls"] + parts["cls_u"]) == pytest.approx((1.0 + 3 * 2.0) / 4)
    assert float(parts["box"] + parts["box_u"]) == pytest.approx((1.2 + 0.2 * 0.6) / 1.2)


def test_the_ratio_of_averages_is_that_of_exponential_averages_and_has_no_gradient() -> None:
    averages, first, second = Averages(), 0.0, 0.0
    for labeled, unlabeled in ((2.0, 1.0), (1.0, 3.0), (0.5, 0.25)):
        first, second = 0.99 * first + 0.01 * labeled, 0.99 * second + 0.01 * unlabeled
        ratio = averages.ratio(*values(a=labeled, b=unlabeled).values())
        assert float(ratio) == pytest.approx(first / second, rel=1e-5) and not ratio.requires_grad
    assert list(averages.state_dict()) == ["values"], "the averages are part of the state"


def test_unlabeled_images_without_any_loss_are_not_scaled() -> None:
    assert float(Averages().ratio(torch.tensor(3.0), torch.tensor(0.0))) == 1.0


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'share'"):
        factors("shares", 1.0)
    with pytest.raises(ValueError, match="of labeled images and"):
        mixed(values(a=1.0), values(b=1.0), "sum", lambda name: 1.0)


def test_the_mixes_that_a_stage_may_have_are_those_that_there_are() -> None:
    assert joint_kind.MIXES == mixing.MIXES
    for mix in mixing.MIXES:
        assert all(factor > 0 for factor in factors(mix, 1.0))
