"""Thresholds and weights of classes, against the numerical cases of the method reference and by hand."""

from __future__ import annotations

import math

import pytest
import torch

from casl.models.class_statistics import ClassStatistics, class_thresholds, class_weights, relative_certainty
from casl.models.frameworks.by_class import weighed
from casl.models.frameworks.rcnn_losses import Regions, class_loss

SUMS, COUNTS = torch.tensor([50.0, 16.0, 3.0]), torch.tensor([100, 40, 10])
RELATIVE = relative_certainty(SUMS, COUNTS)
WEIGHTS = class_weights(RELATIVE)


def test_a7_thresholds_fall_and_weights_rise_where_a_class_is_rare_or_uncertain() -> None:
    assert RELATIVE.tolist() == pytest.approx([1, 0.32, 0.06])
    assert class_thresholds(RELATIVE).tolist() == pytest.approx([0.7, 0.661235, 0.608143], abs=1e-6)
    assert WEIGHTS.tolist() == pytest.approx([1, 1.981116, 5.408904], abs=1e-5)
    assert class_thresholds(RELATIVE, gamma=0.07).tolist() == pytest.approx([0.7, 0.646336, 0.574869], abs=1e-6)
    assert class_weights(RELATIVE, gamma=0.8).tolist() == pytest.approx([1, 2.488170, 9.494651], abs=1e-5)
    assert (
        class_thresholds(RELATIVE, gamma=0.0).tolist() == [0.7] * 3 and class_weights(RELATIVE, 0.0).tolist() == [1] * 3
    )


@pytest.mark.parametrize(("relative", "end", "towards"), [(1.377968e-5, 0.4, 1.001), (152.366464, 0.9, 0.999)])
def test_a8_where_a_threshold_reaches_its_clip(relative: float, end: float, towards: float) -> None:
    at, within, beyond = (torch.tensor([relative * f], dtype=torch.float64) for f in (1.0, towards, 1 / towards))
    assert float(class_thresholds(at)) == pytest.approx(end, abs=1e-6)
    assert 0.4 < float(class_thresholds(within)) < 0.9
    assert float(class_thresholds(beyond)) == end


def test_a9_frequent_and_rare_classes_of_coco() -> None:
    relative = torch.tensor([12_343 * 0.5, 9 * 0.3], dtype=torch.float64) / 537
    assert relative.tolist() == pytest.approx([11.492551, 0.005028], abs=1e-6)
    assert class_thresholds(relative).tolist() == pytest.approx([0.790895, 0.537239], abs=1e-5)
    assert class_weights(relative).tolist() == pytest.approx([0.231073, 23.942325], abs=1e-5)
    assert class_weights(relative, 0.6, 0.1, 10.0).tolist() == [pytest.approx(0.231073, abs=1e-5), 10.0]


def test_a10_class_losses_of_foreground_are_weighed_and_divided_by_all_candidates() -> None:
    terms = torch.tensor([0.4, 0.9, 0.1, 0.2])
    labels = torch.tensor([1, 3, 0, 0])  # classes 0 and 2, background
    others = torch.log(((1 - (-terms).exp()) / 3)[:, None].expand(4, 4))
    logits = others.scatter(1, labels[:, None], -terms[:, None])
    none = torch.zeros(4, 4)
    plain = Regions([none], [torch.zeros(4, dtype=torch.int64)], [labels], [none])
    by_class = weighed(plain, WEIGHTS.float())
    assert by_class.weights is not None and by_class.weights[0].tolist() == pytest.approx([1, 5.408904, 1, 1], abs=1e-5)
    assert float(class_loss(logits, by_class)) == pytest.approx(1.392003, abs=1e-5)
    assert float(class_loss(logits, plain)) == pytest.approx(0.4, abs=1e-6)
    twice = weighed(Regions([none], plain.matches, [labels], [none], [torch.full((4,), 0.5)]), WEIGHTS.float())
    assert twice.weights is not None
    assert twice.weights[0].tolist() == pytest.approx([0.5, 2.704452, 0.5, 0.5], abs=1e-5), "on top of what was there"


def test_until_every_class_has_enough_instances_nothing_is_said() -> None:
    found = ClassStatistics(3)
    for labels, certainty in (([0] * 100, 0.5), ([1] * 40, 0.4), ([2] * 9, 0.3)):
        found.add(torch.tensor(labels), torch.full((len(labels),), certainty))
    assert not found.ready()
    assert found.thresholds(0.7, 0.05, 0.4, 0.9).tolist() == pytest.approx([0.7] * 3)
    assert found.weights(0.6).tolist() == [1.0] * 3
    found.add(torch.tensor([2]), torch.tensor([0.3]))
    assert found.ready() and found.counts.tolist() == [100, 40, 10]
    assert found.thresholds(0.7, 0.05, 0.4, 0.9).tolist() == pytest.approx([0.7, 0.661235, 0.608143], abs=1e-5)
    assert found.weights(0.6, 0.1, 3.0).tolist() == pytest.approx([1, 1.981116, 3], abs=1e-5)


def test_a_class_that_is_not_there_keeps_its_threshold_and_does_not_count_in_the_mean() -> None:
    found = ClassStatistics(4, absent=(1,))
    for place, count, certainty in ((0, 100, 0.5), (2, 40, 0.4), (3, 10, 0.3)):
        found.add(torch.full((count,), place), torch.full((count,), certainty))
    assert found.thresholds(0.7, 0.05, 0.4, 0.9).tolist() == pytest.approx([0.7, 0.7, 0.661235, 0.608143], abs=1e-5)
    assert found.weights(0.6).tolist() == pytest.approx([1, 1, 1.981116, 5.408904], abs=1e-5)
    assert not ClassStatistics(2, absent=(0, 1)).ready()


def test_statistics_are_the_state_and_order_of_parts_does_not_matter() -> None:
    one, other = ClassStatistics(2, least=1), ClassStatistics(2, least=1)
    labels, certainty = torch.tensor([0, 1, 1, 0]), torch.tensor([0.25, 0.5, 0.125, 1.0])
    one.add(labels, certainty)
    other.add(labels[2:], certainty[2:])
    other.add(labels[:2], certainty[:2])
    assert one.state_dict().keys() == {"sums", "counts"}
    third = ClassStatistics(2, least=1)
    third.load_state_dict(one.state_dict())
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]) and torch.equal(value, third.state_dict()[name])
    assert one.sums.tolist() == [1.25, 0.625]
    one.add(labels[:0], certainty[:0])
    assert one.sums.tolist() == [1.25, 0.625]


def test_what_has_no_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="no class has an instance"):
        relative_certainty(torch.zeros(2), torch.zeros(2))
    with pytest.raises(ValueError, match=r"no certainty at all in class 1: .* clip"):
        class_weights(torch.tensor([1.0, 0.0]))
    assert class_weights(torch.tensor([1.0, 0.0]), 0.6, 0.1, 10.0).tolist() == [1.0, 10.0]
    assert class_weights(torch.tensor([1.0, 0.0]), 0.0).tolist() == [1.0, 1.0]
    for gamma in (-0.1, -math.inf):
        with pytest.raises(ValueError, match="at least 0"):
            class_thresholds(RELATIVE, gamma=gamma)
