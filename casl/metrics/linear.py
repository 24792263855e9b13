"""The linear probe: logistic regression on features that stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


class Linear:
    """Multinomial logistic regression with a penalty on the weights and none on the intercepts.

    Minimises the sum of cross-entropies + |W|^2 / (2 C) over standardised features, in float64 by L-BFGS, which is
    convex: the result does not depend on where it starts. It is scikit-learn's LogisticRegression.

    Args:
        features: (N, D) of what is learned from. A channel that is the same for all is left as 0.
        labels: (N,) int64 in 0..classes-1; a class may have none.
        classes: number of them.
        inverse_penalty: C.

    Raises:
        ValueError: features and labels differ in N, or there are none.
    """

    def __init__(self, features: Tensor, labels: Tensor, classes: int, inverse_penalty: float = 1.0) -> None:
        if len(features) != len(labels) or not len(labels):
            raise ValueError(f"{len(features)} features and {len(labels)} labels: one label each, and at least one")
        self.mean = features.double().mean(0)
        deviation = features.double().std(0, unbiased=False)
        self.scale = torch.where(deviation > 0, deviation, torch.inf)
        x = self._standard(features)
        self.weight = torch.zeros(classes, x.shape[1], dtype=torch.float64, requires_grad=True)
        self.bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
        search = torch.optim.LBFGS(
            [self.weight, self.bias],
            max_iter=1000,
            tolerance_grad=1e-9,
            tolerance_change=1e-15,
            line_search_fn="strong_wolfe",
        )

        def objective() -> Tensor:
            search.zero_grad()
            fit = functional.cross_entropy(x @ self.weight.T + self.bias, labels, reduction="sum")
            # the mean has the same minimum and gradients that tolerances are meant for
            value = (fit + (self.weight**2).sum() / (2 * inverse_penalty)) / len(labels)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        search.step(objective)  # type: ignore[no-untyped-call]

    def _standard(self, features: Tensor) -> Tensor:
        return (features.double() - self.mean) / self.scale

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """(M, classes) float64 of (M, D) features."""
        return self._standard(features) @ self.weight.T + self.bias

    def named(self, features: Tensor) -> Tensor:
        """(M,) int64, the likeliest class of each."""
        return self.logits(features).argmax(1)


def top1(truth: Sequence[int], found: Sequence[int]) -> dict[str, float]:
    """Figures of a classifier, percent, -1 where there is nothing to measure.

    Args:
        truth, found: classes, one each for every crop.

    Returns:
        "top1": share named right. "mean": the same, each class counting alike. "largest": share of the commonest class,
        which is what naming it always would give.
    """
    right, sure = torch.tensor(list(truth)), torch.tensor(list(found))
    if not len(right):
        return {"top1": -1.0, "mean": -1.0, "largest": -1.0}
    hit = (right == sure).double()
    each = [float(hit[right == name].mean()) for name in sorted(set(right.tolist()))]
    return {
        "top1": 100 * float(hit.mean()),
        "mean": 100 * sum(each) / len(each),
        "largest": 100 * float(right.bincount().max()) / len(right),
    }
