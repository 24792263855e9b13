"""What torch and ONNX do by different operators: order by score, and suppression within each class."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torchvision.ops import nms

from casl.models.detect import suppress

OPSET = 17  # of ONNX


class Operators(Protocol):
    """The two operators, as a graph calls them."""

    def best_first(self, scores: Tensor) -> Tensor:
        """(N,) -> (N,) int64, highest score first, of equal scores the earlier."""

    def suppressed(self, boxes: Tensor, scores: Tensor, labels: Tensor, classes: int, threshold: float) -> Tensor:
        """(M,) int64, as `casl.models.detect.suppress`; N = 0 is legal."""


class TorchOperators:
    """Those of torch and torchvision, for TorchScript."""

    def best_first(self, scores: Tensor) -> Tensor:
        return scores.sort(descending=True, stable=True)[1]

    def suppressed(self, boxes: Tensor, scores: Tensor, labels: Tensor, classes: int, threshold: float) -> Tensor:
        # as `suppress`, but for the branch where there is no box: one more value gives it a smallest and a largest
        lowest = torch.cat((boxes.flatten(), boxes.new_zeros(1))).min()
        wide = boxes.double() - lowest
        highest = torch.cat((wide.flatten(), wide.new_zeros(1))).max()
        kept: Tensor = nms(wide + (labels * (highest + 1.0))[:, None], scores.double(), threshold)
        return kept


class OnnxOperators:
    """Operators of our own, which the exporter replaces by ONNX's; see `register`."""

    def best_first(self, scores: Tensor) -> Tensor:
        found: Tensor = torch.ops.casl.best_first(scores)
        return found

    def suppressed(self, boxes: Tensor, scores: Tensor, labels: Tensor, classes: int, threshold: float) -> Tensor:
        found: Tensor = torch.ops.casl.suppressed(boxes, scores, labels, classes, threshold)
        return found


@torch.library.custom_op("casl::best_first", mutates_args=())
def _best_first(scores: Tensor) -> Tensor:
    return scores.sort(descending=True, stable=True)[1]


@torch.library.custom_op("casl::suppressed", mutates_args=())
def _suppressed(boxes: Tensor, scores: Tensor, labels: Tensor, classes: int, threshold: float) -> Tensor:
    return suppress(boxes, scores, labels, threshold)


def register() -> None:
    """Tell torch's exporter what stands for our operators in ONNX."""
    from torch.onnx import register_custom_op_symbolic  # type: ignore[attr-defined]
    from torch.onnx.symbolic_helper import parse_args

    register_custom_op_symbolic("casl::best_first", _onnx_best_first, OPSET)
    register_custom_op_symbolic("casl::suppressed", parse_args("v", "v", "v", "i", "f")(_onnx_suppressed), OPSET)


def _constant(g: Any, value: Any) -> Any:
    return g.op("Constant", value_t=torch.tensor(value))


def _onnx_best_first(g: Any, scores: Any) -> Any:
    # TopK of all of them; of equal values ONNX gives the one with the lower index first
    return g.op("TopK", scores, g.op("Shape", scores), outputs=2)[1]


def _onnx_suppressed(g: Any, boxes: Any, scores: Any, labels: Any, classes: int, threshold: float) -> Any:
    """ONNX suppresses each row of a (classes, N) table of scores by itself, so no box has to be moved aside; a score of
    0 stands for a box of another class, and is not selected."""
    first = _constant(g, [0])
    of_class = g.op("OneHot", labels, _constant(g, [classes]), _constant(g, [0.0, 1.0]), axis_i=0)
    table = g.op("Unsqueeze", g.op("Mul", of_class, g.op("Unsqueeze", scores, first)), first)
    limits = (_constant(g, [2**62]), _constant(g, [threshold]), _constant(g, [0.0]))
    chosen = g.op("NonMaxSuppression", g.op("Unsqueeze", boxes, first), table, *limits)
    rows = g.op("Gather", chosen, _constant(g, 2), axis_i=1)
    count = g.op("Shape", rows)
    rows = g.op("TopK", rows, count, largest_i=0, outputs=2)[0]  # by class until here
    return g.op("Gather", rows, g.op("TopK", g.op("Gather", scores, rows), count, outputs=2)[1])
