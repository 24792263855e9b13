"""The pyramid: layers, sizes, the sum on the way down, and what is not trained."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from casl.errors import SpecError
from casl.models.fpn import FPN

SWIN_T = (96, 192, 384, 768)


def maps(channels: tuple[int, ...], side: int = 64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, c, side // s, side // s, generator=generator)
        for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]


def test_swin_t_pyramid_has_the_reference_parameter_count() -> None:
    assert sum(p.numel() for p in FPN(SWIN_T, 256, lowest=2).parameters()) == 3_910_144


@pytest.mark.parametrize(("top_from", "p6"), [("p5", (256, 256, 3, 3)), ("c5", (256, 2048, 3, 3))])
def test_p6_reads_p5_or_c5(top_from: str, p6: tuple[int, ...]) -> None:
    fpn = FPN((256, 512, 1024, 2048), 256, lowest=2, top_from=top_from)
    shapes = {name: tuple(tensor.shape) for name, tensor in fpn.state_dict().items() if name.endswith("weight")}
    assert shapes.pop("p6.weight") == p6
    assert shapes.pop("p7.weight") == (256, 256, 3, 3)
    laterals = {f"lateral{i}.weight": (256, c, 1, 1) for i, c in zip((2, 3, 4, 5), (256, 512, 1024, 2048), strict=True)}
    assert shapes == laterals | {f"output{i}.weight": (256, 256, 3, 3) for i in (2, 3, 4, 5)}


@pytest.mark.parametrize("lowest", [2, 3])
def test_levels_halve_from_p3_to_p7(lowest: int) -> None:
    fpn = FPN((4, 8, 12, 16), 8, lowest)
    assert [tuple(level.shape) for level in fpn(maps((4, 8, 12, 16)))] == [(1, 8, s, s) for s in (8, 4, 2, 1, 1)]
    assert len(fpn.forward_all(maps((4, 8, 12, 16)))) == (6 if lowest == 2 else 5)


def test_sizes_that_do_not_double_are_legal() -> None:
    odd = [torch.randn(1, 4, h, w) for h, w in ((17, 13), (9, 7), (5, 4), (3, 2))]
    assert [level.shape[2:] for level in FPN((4, 4, 4, 4), 8)(odd)][:3] == [(9, 7), (5, 4), (3, 2)]


def test_levels_are_sums_of_what_is_above_them() -> None:
    fpn = FPN((1, 1, 1, 1), 1, lowest=2)
    for name, module in fpn.named_modules():
        if isinstance(module, nn.Conv2d):  # identities; P6 and P7 take every other cell
            nn.init.zeros_(module.weight)
            centre = module.weight.shape[-1] // 2
            module.weight.data[0, 0, centre, centre] = -1.0 if name == "p7" else 1.0
    constants = [
        torch.full((1, 1, 64 // s, 64 // s), value) for s, value in ((4, 1000.0), (8, 100.0), (16, 10.0), (32, 1.0))
    ]
    levels = fpn.forward_all(constants)
    assert [set(level.flatten().tolist()) for level in levels] == [{1111}, {111}, {11}, {1}, {1}, {-1}]
    constants[3][0, 0, 0, 1] = 2  # the right cell of the top row reaches the upper right quarter only
    p3 = fpn(constants)[0][0, 0]
    assert set(p3[:4, 4:].flatten().tolist()) == {112}
    assert set(p3[4:].flatten().tolist()) == set(p3[:4, :4].flatten().tolist()) == {111}


def test_p7_is_computed_from_the_positive_part_of_p6() -> None:
    fpn = FPN((1, 1, 1, 1), 1)
    nn.init.constant_(fpn.p6.bias, -1e6)  # type: ignore[arg-type]
    p7 = fpn(maps((1, 1, 1, 1)))[4]
    assert p7.abs().max() == 0


def test_p2_changes_nothing_above_it_and_is_not_trained() -> None:
    small, large = FPN((4, 8, 12, 16), 8, lowest=3), FPN((4, 8, 12, 16), 8, lowest=2)
    large.load_state_dict(small.state_dict(), strict=False)
    features = maps((4, 8, 12, 16))
    levels = large(features)
    torch.testing.assert_close(levels, small(features), rtol=0, atol=0)
    torch.cat([level.flatten() for level in levels]).sum().backward()  # type: ignore[no-untyped-call]
    without = {name.split(".")[0] for name, p in large.named_parameters() if p.grad is None}
    assert without == {"lateral2", "output2"}


def test_impossible_pyramids_are_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'p5'"):
        FPN(SWIN_T, top_from="P5")
    with pytest.raises(SpecError, match="level 2 or 3"):
        FPN(SWIN_T, lowest=4)
    with pytest.raises(SpecError, match=r"C2\.\.C5"):
        FPN((64, 128, 256))


@pytest.mark.parametrize(("height", "width"), [(64, 32), (128, 64), (64, 64)])
def test_mixed_precision_on_the_cpu_gives_finite_gradients_on_the_smallest_maps(height: int, width: int) -> None:
    """torch 2.15 on the CPU: a 3x3 convolution of stride 2 on a map of 2 x 1 or 1 x 1 has NaN gradients in bfloat16."""
    torch.manual_seed(0)
    for _ in range(12):
        fpn = FPN((16, 16, 16, 16), 64)
        features = [torch.randn(4, 16, height // s, width // s) for s in (4, 8, 16, 32)]
        with torch.autocast("cpu", torch.bfloat16):
            levels = fpn(features)
            loss = torch.stack([level.float().square().mean() for level in levels]).sum()
        torch.autograd.backward(loss)
        assert {level.dtype for level in levels} == {torch.bfloat16}
        bad = [name for name, p in fpn.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        assert not bad
