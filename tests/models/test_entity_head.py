"""EntitySeg's additions against figures produced by the reference code (method.md sections 2.1 and 9, case 12)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from casl.models.entity_head import PATH_WEIGHTS, KernelBank, KernelHead, cluster_loss, with_coordinates
from casl.models.mask_head import InstanceKernels, KernelLayout, Objects, dice_loss, dynamic_masks

RAMP = torch.arange(169.0)
FEATURES = torch.arange(128.0).reshape(1, 8, 4, 4) / 128
KERNELS = InstanceKernels(
    params=torch.stack([(RAMP - 84) / 100, RAMP.cos(), RAMP.sin()]),
    locations=torch.tensor([[12.0, 20.0], [40.0, 8.0], [20.0, 12.0]]),
    sizes=torch.tensor([64.0, 128.0, 64.0]),
    images=torch.zeros(3, dtype=torch.int64),
)
GT_INDEX = torch.tensor([0, 1, 0])
CASE_12 = {
    "111": 0.546410,
    "110": 0.310629,
    "101": 0.406272,
    "100": 0.314173,
    "011": 0.161181,
    "010": 0.078380,
    "001": 0.115389,
}


def halves() -> Tensor:
    masks = torch.zeros(2, 8, 8)
    masks[0, :4] = masks[1, 4:] = 1
    return masks


def bank_of(value: float) -> KernelBank:
    bank = KernelBank(KernelLayout())
    for parameter in bank.parameters():
        torch.nn.init.constant_(parameter, value)
    return bank


def path_logits(*paths: str) -> dict[str, Tensor]:
    logits: dict[str, Tensor] = bank_of(0.05)(FEATURES, KERNELS, paths)
    return logits


def test_parameter_counts() -> None:
    assert sum(p.numel() for p in KernelHead().parameters()) == 2_165_161
    assert sum(p.numel() for p in KernelBank(KernelLayout()).parameters()) == 1_385


@pytest.mark.parametrize("path", list(CASE_12))
def test_weighted_path_losses_of_case_12(path: str) -> None:
    probabilities = path_logits(path)[path].sigmoid()
    loss = dice_loss(probabilities, halves()[GT_INDEX][:, None]).mean() * PATH_WEIGHTS[path]
    assert loss.item() == pytest.approx(CASE_12[path], abs=1e-5)


def test_paths_together_equal_paths_alone() -> None:
    together: dict[str, Tensor] = bank_of(0.05)(FEATURES, KERNELS)
    assert list(together) == list(CASE_12)
    for path, logits in together.items():
        torch.testing.assert_close(logits, path_logits(path)[path])


def test_path_of_instance_kernels_alone_is_the_plain_mask_head() -> None:
    torch.testing.assert_close(path_logits("111")["111"], dynamic_masks(FEATURES, KERNELS))


def test_cluster_loss_of_case_12() -> None:
    loss = 0.5 * cluster_loss(
        dynamic_masks(FEATURES, KERNELS), GT_INDEX, Objects(halves(), torch.zeros(2, dtype=torch.int64))
    )
    assert loss.item() == pytest.approx(0.208756, abs=1e-5)


def test_cluster_loss_of_two_images_with_a_missed_object_and_uncovered_pixels_by_hand() -> None:
    targets = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]).view(4, 2, 2)
    images = torch.tensor([0, 0, 0, 1])  # ground truth 1 has no instance; pixels 1 to 3 of image 1 are bare
    logits = torch.tensor([[2.0, 0, 1, 0], [0, 2, 1, 0], [0, 0, 0, 3], [5, 5, 5, 5]]).view(4, 1, 2, 2)
    instances = torch.tensor([0, 0, 2, 3])

    first = torch.sigmoid(torch.tensor([1.0, 1, 1, -3]))  # of the mean logits 1 1 1 0 against 0 0 0 3
    expected = [
        1 - 2 * (first[0] + first[1]) / (first.square().sum() + 2 + 1e-5),
        1 - 2 * (1 - first[3]) / ((1 - first).square().sum() + 1 + 1e-5),
        torch.tensor(1 - 2 / (1 + 1 + 1e-5)),
    ]
    torch.testing.assert_close(cluster_loss(logits, instances, Objects(targets, images)), torch.stack(expected).mean())
    weights = torch.arange(len(images)) + 0.5  # of a missed object nothing is left to weigh
    weighed = torch.stack(expected) * weights[[0, 2, 3]]
    torch.testing.assert_close(cluster_loss(logits, instances, Objects(targets, images, weights)), weighed.mean())


def test_coordinates_run_down_the_rows_then_along_the_columns() -> None:
    grids = with_coordinates(torch.zeros(1, 1, 3, 2))[0, 1:]
    assert grids.tolist() == [[[-1, -1], [0, 0], [1, 1]], [[-1, 1], [-1, 1], [-1, 1]]]


def test_every_shared_kernel_gets_a_gradient() -> None:
    torch.manual_seed(0)
    bank = KernelBank(KernelLayout())
    logits: dict[str, Tensor] = bank(FEATURES, KERNELS)
    torch.autograd.backward(torch.stack(list(logits.values())).square().sum())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in bank.parameters())
