"""Gradients clipped by their norm, against torch's own clipping of the gradients of a whole batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from casl.errors import StageError
from casl.train.checkpoint import Checkpoints, Curves
from casl.train.learner import Batch, Plain
from casl.train.loop import Steps, train
from casl.train.optimizer import sgd
from tests.train.test_divided import batch, fcos
from tests.train.test_loop import STEPS, Model, batch_at, ignore

CPU = torch.device("cpu")


def by_hand(model: Any, given: Batch, most: float, precision: str = "float32") -> float:
    """One step of SGD at a rate of .1, clipped by torch; the norm before."""
    model.train()
    torch.manual_seed(3 * 1_000_003)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed"):
        torch.stack(list(model.losses(*given).values())).sum().backward()  # type: ignore[no-untyped-call]
    trainable = [p for p in model.parameters() if p.requires_grad]
    norm = float(torch.nn.utils.clip_grad_norm_(trainable, most))
    optimizer = sgd(model, 0.1, 0.0)
    optimizer.step()
    return norm


def one_step(model: nn.Module, steps: Steps, folder: Path) -> Curves:
    curves = Curves()
    train(Plain(model), sgd(model, 0.1, 0.0), steps, curves, Checkpoints(folder), ignore)
    return curves


@pytest.mark.parametrize("precision", ["float32", "mixed"])
@pytest.mark.parametrize("share", [0.1, 0.999, 1.001])
def test_a_step_is_that_of_torchs_clipping(tmp_path: Path, share: float, precision: str) -> None:
    def fresh() -> Model:
        torch.manual_seed(0)
        return Model()

    norm = by_hand(fresh(), batch_at(0), 1e9, precision)
    expected, model = fresh(), fresh()
    by_hand(expected, batch_at(0), share * norm, precision)
    steps = replace(STEPS, stop=1, rate_at=lambda _: 0.1, clip_norm=share * norm, precision=precision)
    curves = one_step(model, steps, tmp_path)
    for name, value in expected.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert curves.rows[0][1 + curves.names.index("grad_norm")] == pytest.approx(norm, rel=1e-6)
    free = fresh()
    assert "grad_norm" not in one_step(free, replace(steps, clip_norm=0.0), tmp_path).names
    moved = [not torch.equal(v, free.state_dict()[n]) for n, v in model.named_parameters()]
    assert any(moved) == (share < 1)


@pytest.mark.parametrize("pieces", [2, 3])
def test_the_norm_is_that_of_the_whole_batch_however_it_is_divided(tmp_path: Path, pieces: int) -> None:
    whole = fcos()
    norm = by_hand(fcos(), batch(), 1e9)
    by_hand(whole, batch(), norm / 4)
    model = fcos()
    steps = Steps(lambda _: batch(), lambda _: 0.1, 0, 1, 3, CPU, micro_batches=pieces, clip_norm=norm / 4)
    curves = one_step(model, steps, tmp_path)
    assert curves.rows[0][1 + curves.names.index("grad_norm")] == pytest.approx(norm, rel=1e-4)
    before = fcos().state_dict()
    for name, value in whole.named_parameters():
        torch.testing.assert_close(model.state_dict()[name], value.detach(), rtol=1e-4, atol=1e-6)
    step = sum(float((v.detach() - before[n]).square().sum()) for n, v in model.named_parameters()) ** 0.5
    assert step == pytest.approx(0.1 * norm / 4, rel=1e-3), "all gradients together have the norm that was asked for"


@pytest.mark.parametrize("lag", [0, 2])
def test_a_gradient_that_is_not_finite_is_named(tmp_path: Path, lag: int) -> None:
    class Root(Model):
        def losses(self, images: list[torch.Tensor], targets: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
            weight = next(self.parameters())
            return {"loss": (weight - weight.detach()).sqrt().sum()}  # 0, with an infinite slope

    torch.manual_seed(0)
    with pytest.raises(StageError, match="iteration 0/1: grad_norm is inf"):
        one_step(Root(), replace(STEPS, stop=1, clip_norm=1.0, lag=lag), tmp_path)
