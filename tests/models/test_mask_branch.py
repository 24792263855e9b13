"""The mask branch: size, parameters, and its sum of levels recomputed with library calls."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from casl.models.mask_branch import MaskBranch


def pyramid(channels: int, height: int, width: int) -> list[Tensor]:
    return [torch.randn(2, channels, height // s, width // s) for s in (8, 16, 32, 64, 128)]


def test_parameter_count_of_the_published_size() -> None:
    assert sum(p.numel() for p in MaskBranch().parameters()) == 1_477_384


def test_map_has_eight_channels_at_stride_eight() -> None:
    assert MaskBranch(16, 8)(pyramid(16, 128, 256)).shape == (2, 8, 16, 32)


def test_state_dict_is_three_refinements_and_a_tower() -> None:
    shapes = {name: tuple(value.shape) for name, value in MaskBranch(32, 16, 8, convs=2).state_dict().items()}
    assert {shapes[f"refine.{level}.0.weight"] for level in range(3)} == {(16, 32, 3, 3)}
    assert {shapes[f"tower.{block}.0.weight"] for block in range(2)} == {(16, 16, 3, 3)}
    assert shapes["tower.0.1.running_mean"] == (16,)
    assert shapes["tower.2.weight"] == (8, 16, 1, 1)
    assert not any("refine.0.0.bias" in name or "refine.3" in name for name in shapes)


def test_output_is_the_tower_over_the_sum_of_enlarged_levels() -> None:
    torch.manual_seed(0)
    branch = MaskBranch(4, 4, 2, convs=1).eval()
    levels = pyramid(4, 64, 64)
    state = branch.state_dict()

    def block(x: Tensor, weight: Tensor) -> Tensor:
        # fresh BatchNorm in eval mode divides by sqrt(1 + 1e-5) and nothing else
        return functional.conv2d(x, weight, padding=1).relu() / torch.tensor(1 + 1e-5).sqrt()

    def refined(level: int) -> Tensor:
        return block(levels[level], state[f"refine.{level}.0.weight"])

    def enlarged(x: Tensor, factor: int) -> Tensor:
        size = factor * x.shape[-1] + 1
        x = functional.interpolate(functional.pad(x, (0, 1, 0, 1), "replicate"), (size, size), None, "bilinear", True)
        return functional.pad(x, (factor // 2, 0, factor // 2, 0), "replicate")[:, :, : size - 1, : size - 1]

    merged = refined(0) + enlarged(refined(1), 2) + enlarged(refined(2), 4)
    tower = block(merged, state["tower.0.0.weight"])
    expected = functional.conv2d(tower, state["tower.1.weight"], state["tower.1.bias"])
    torch.testing.assert_close(branch(levels), expected)


def test_every_parameter_and_the_three_finest_levels_get_a_gradient() -> None:
    branch = MaskBranch(8, 8)
    levels = [level.requires_grad_() for level in pyramid(8, 64, 64)]
    branch(levels).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in branch.parameters())
    assert [level.grad is not None for level in levels] == [True, True, True, False, False]
