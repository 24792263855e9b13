"""Conditional convolutions and dice against figures produced by the reference code (method.md section 9)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from casl.models.mask_head import (
    InstanceKernels,
    KernelLayout,
    dice_loss,
    dynamic_masks,
    mask_inputs,
    parameter_counts,
    sample_targets,
)

RAMP = torch.arange(169.0)
FEATURES = torch.arange(128.0).reshape(1, 8, 4, 4) / 128
THREE = InstanceKernels(
    params=torch.stack([(RAMP - 84) / 100, RAMP.cos(), RAMP.sin()]),
    locations=torch.tensor([[12.0, 20.0], [40.0, 8.0], [20.0, 12.0]]),
    sizes=torch.tensor([64.0, 128.0, 64.0]),
    images=torch.zeros(3, dtype=torch.int64),
)


def random_kernels(count: int, images: int) -> InstanceKernels:
    return InstanceKernels(
        torch.randn(count, 169),
        torch.rand(count, 2) * 64,
        torch.full((count,), 64.0),
        torch.randint(0, images, (count,)),
    )


@pytest.mark.parametrize(
    ("arguments", "total"),
    [({}, 169), ({"coords": False}, 153), ({"layers": 4}, 241), ({"channels": 16, "in_channels": 16}, 593)],
)
def test_parameter_counts_of_case_1(arguments: dict[str, int], total: int) -> None:
    weights, biases = parameter_counts(**arguments)  # type: ignore[arg-type]
    assert sum(weights) + sum(biases) == total == KernelLayout(**arguments).total  # type: ignore[arg-type]


def test_default_layers_have_80_64_and_8_weights() -> None:
    assert parameter_counts() == ([80, 64, 8], [8, 8, 1])


def test_layout_puts_all_weights_before_all_biases() -> None:
    layers = KernelLayout().cut(RAMP[None])
    assert [(weight.shape, bias.shape) for weight, bias in layers] == [
        ((1, 8, 10), (1, 8, 1)),
        ((1, 8, 8), (1, 8, 1)),
        ((1, 1, 8), (1, 1, 1)),
    ]
    assert [int(weight[0, -1, 0]) for weight, _ in layers] == [70, 136, 144]
    assert [int(bias[0, 0, 0]) for _, bias in layers] == [152, 160, 168]


def test_logits_of_case_12() -> None:
    logits = dynamic_masks(FEATURES, THREE.select(slice(2)))
    assert logits.shape == (2, 1, 8, 8)
    torch.testing.assert_close(
        logits[0, 0, 0, :4], torch.tensor([5.704184, 5.704184, 5.728344, 5.752505]), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(logits.sum((1, 2, 3)), torch.tensor([366.16153, -1.296904]), atol=1e-3, rtol=0)


def test_mask_loss_of_case_12() -> None:
    halves = torch.zeros(2, 1, 8, 8)
    halves[0, :, :4] = halves[1, :, 4:] = 1
    loss = dice_loss(dynamic_masks(FEATURES, THREE).sigmoid(), halves[[0, 1, 0]]).mean()
    assert loss.item() == pytest.approx(0.546410, abs=1e-5)


def test_logits_equal_one_small_network_per_instance() -> None:
    torch.manual_seed(1)
    features, kernels = torch.randn(3, 8, 5, 7), random_kernels(6, images=3)

    def by_hand(index: int) -> Tensor:
        rows, columns = torch.meshgrid(torch.arange(5) * 8 + 4, torch.arange(7) * 8 + 4, indexing="ij")
        x, y = kernels.locations[index]
        own = torch.stack([x - columns, y - rows]) / kernels.sizes[index]
        inputs = torch.cat([own, features[kernels.images[index]]])[None]
        params = kernels.params[index]
        weights = (
            params[:80].reshape(8, 10, 1, 1),
            params[80:144].reshape(8, 8, 1, 1),
            params[144:152].reshape(1, 8, 1, 1),
        )
        hidden = functional.conv2d(inputs, weights[0], params[152:160]).relu()
        hidden = functional.conv2d(hidden, weights[1], params[160:168]).relu()
        return functional.conv2d(hidden, weights[2], params[168:])[0]

    torch.testing.assert_close(
        dynamic_masks(features, kernels, out_stride=8), torch.stack([by_hand(index) for index in range(6)])
    )


def test_chunks_give_the_masks_of_the_whole() -> None:
    torch.manual_seed(2)
    features, kernels = torch.randn(2, 8, 4, 4), random_kernels(7, images=2)
    pieces = [dynamic_masks(features, piece) for piece in kernels.chunks(3)]
    assert [len(piece) for piece in pieces] == [3, 3, 1]
    torch.testing.assert_close(torch.cat(pieces), dynamic_masks(features, kernels))


def test_gradients_repeat_bit_for_bit_with_several_threads() -> None:
    torch.manual_seed(3)
    features, kernels = torch.randn(2, 8, 16, 16, requires_grad=True), random_kernels(200, images=2)

    def gradient() -> Tensor:
        return torch.autograd.grad(dynamic_masks(features, kernels).sigmoid().square().sum(), features)[0]

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = gradient()
        assert all(torch.equal(gradient(), first) for _ in range(5))
    finally:
        torch.set_num_threads(threads)


def test_no_instance_is_legal() -> None:
    assert dynamic_masks(FEATURES, THREE.select(slice(0))).shape == (0, 1, 8, 8)
    assert list(THREE.select(slice(0)).chunks(4)) == []


def test_inputs_without_coordinates_are_the_features_alone() -> None:
    torch.testing.assert_close(mask_inputs(FEATURES, THREE, coords=False), FEATURES.expand(3, -1, -1, -1))


def test_half_precision_features_still_give_float32_logits() -> None:
    kernels = THREE.select(slice(2))
    logits = dynamic_masks(FEATURES.bfloat16(), kernels)  # multiples of 1/128 below 1 are exact in bfloat16
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, dynamic_masks(FEATURES, kernels))


@pytest.mark.parametrize(
    ("x", "y", "loss"),
    [
        ([0.9, 0.8, 0.1, 0.2], [1.0, 1, 0, 0], 0.028574),
        ([0.5, 0.5, 0.5, 0.5], [1.0, 0, 0, 0], 0.500003),
        ([0.0, 0, 0, 0], [0.0, 0, 0, 0], 1.0),
        ([1.0, 1, 0, 0], [1.0, 1, 0, 0], 2.5e-6),
    ],
)
def test_dice_of_case_10(x: list[float], y: list[float], loss: float) -> None:
    shape = (1, 2, 2)
    assert dice_loss(torch.tensor(x).view(shape), torch.tensor(y).view(shape)).item() == pytest.approx(loss, abs=1e-6)


def test_targets_are_pixel_two_of_every_four_padded_with_zeros() -> None:
    mask = torch.zeros(1, 10, 7, dtype=torch.bool)
    mask[0, 2, 6] = mask[0, 6, 2] = True  # two sampled pixels
    mask[0, 3, 3] = mask[0, 8, 4] = True  # two that fall between
    sampled = sample_targets(mask, height=32, width=32)
    assert sampled.shape == (1, 8, 8)
    assert sampled.nonzero().tolist() == [[0, 0, 1], [0, 1, 0]]
