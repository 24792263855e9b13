"""A teacher that averages its student, against the released Soft Teacher's and Unbiased Teacher's figures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from casl.train.average import follow, half_life, momentum_at


def number(value: float) -> nn.Linear:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return module


@pytest.mark.parametrize(
    ("warm_up", "t", "momentum"),
    [
        *((0, t, m) for t, m in ((0, 0.0), (1, 0.5), (2, 2 / 3), (9, 0.9), (99, 0.99), (999, 0.999), (5000, 0.999))),
        *((100, t, m) for t, m in ((1, 0.009804), (100, 0.497512), (1000, 0.908265))),
    ],
)
def test_s4_momentum_rises_to_its_limit(warm_up: int, t: int, momentum: float) -> None:
    assert momentum_at(t, 0.999, warm_up) == pytest.approx(momentum, abs=1e-6)


def test_s5_a_teacher_is_at_first_the_mean_of_all_students() -> None:
    teacher, seen = number(7.0), []
    for t, value in enumerate((1.0, 3.0, 5.0, 4.0)):
        follow(teacher, number(value), momentum_at(t, 0.999))
        seen.append(teacher.weight.item())
    assert seen == pytest.approx([1, 2, 3, 3.25])


def test_u2_one_step_of_the_average() -> None:
    teacher = number(1.0)
    follow(teacher, number(2.0), 0.9996)
    assert float(teacher.weight) == pytest.approx(1.0004, abs=1e-6)


def test_s8_half_lives_in_iterations() -> None:
    found = [half_life(m) for m in (0.999, 0.9996, 0.9999, 0.99)]
    assert found == pytest.approx([692.8, 1732.5, 6931.1, 69.0], abs=0.05)


def test_statistics_are_averaged_counters_copied_and_no_momentum_is_a_copy_bit_for_bit() -> None:
    teacher: Any = nn.BatchNorm1d(2)
    student: Any = nn.BatchNorm1d(2)
    student.train()(torch.tensor([[1.0, 5.0], [3.0, 1.0]]))
    follow(teacher, student, 0.75)
    torch.testing.assert_close(teacher.running_mean, 0.25 * student.running_mean)
    torch.testing.assert_close(teacher.running_var, 0.75 + 0.25 * student.running_var)
    assert int(teacher.num_batches_tracked) == 1
    torch.manual_seed(0)
    teacher, student = nn.Linear(9, 9), nn.Linear(9, 9)
    follow(teacher, student, 0.0)
    assert torch.equal(teacher.weight, student.weight) and student.weight.grad is None


def test_what_is_no_average_is_refused() -> None:
    for t, momentum, warm_up in ((-1, 0.9, 0), (0, 1.0, 0), (0, 0.9, -1)):
        with pytest.raises(ValueError, match="at least 0"):
            momentum_at(t, momentum, warm_up)
    with pytest.raises(ValueError, match=r"differ in \['bias'\]"):
        follow(number(1.0), nn.Linear(1, 1), 0.5)
