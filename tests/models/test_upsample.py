"""aligned_bilinear against values worked out by hand and against pad, corner-aligned resize, pad, crop."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from casl.models.upsample import aligned_bilinear


def padded_resize(x: Tensor, factor: int) -> Tensor:
    """The definition in four library calls: method.md section 1.5."""
    height, width = x.shape[2:]
    x = functional.pad(x, (0, 1, 0, 1), mode="replicate")
    size = (factor * height + 1, factor * width + 1)
    x = functional.interpolate(x, size=size, mode="bilinear", align_corners=True)
    x = functional.pad(x, (factor // 2, 0, factor // 2, 0), mode="replicate")
    return x[:, :, : factor * height, : factor * width]


def test_twice_as_large_by_hand() -> None:
    x = torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]])
    expected = torch.tensor([[0.0, 0, 1, 2], [0, 0, 1, 2], [2, 2, 3, 4], [4, 4, 5, 6]])
    torch.testing.assert_close(aligned_bilinear(x, 2)[0, 0], expected)


def test_four_times_as_large_by_hand() -> None:
    x = torch.tensor([[[[0.0, 8.0]]]])
    row = torch.tensor([0.0, 0, 0, 2, 4, 6, 8, 8])
    torch.testing.assert_close(aligned_bilinear(x, 4)[0, 0], row.expand(4, 8))


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (6, 3)])
def test_values_and_gradients_equal_the_definition(factor: int, size: tuple[int, int]) -> None:
    torch.manual_seed(factor)
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    ours, expected = aligned_bilinear(x, factor), padded_resize(x, factor)
    weight = torch.randn_like(ours)

    torch.testing.assert_close(ours, expected)
    (gradient,) = torch.autograd.grad((ours * weight).sum(), x)
    (expected_gradient,) = torch.autograd.grad((expected * weight).sum(), x)
    torch.testing.assert_close(gradient, expected_gradient)


def test_no_instance_gives_an_empty_map_of_the_right_size() -> None:
    assert aligned_bilinear(torch.zeros(0, 1, 3, 4), 4).shape == (0, 1, 12, 16)


@pytest.mark.parametrize(("shape", "factor"), [((3, 4, 4), 2), ((1, 1, 4, 4), 0)])
def test_wrong_shapes_and_factors_are_rejected(shape: tuple[int, ...], factor: int) -> None:
    with pytest.raises(ValueError, match="factor >= 1"):
        aligned_bilinear(torch.zeros(shape), factor)
