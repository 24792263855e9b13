"""Variance components: how much of the error of numbers is their own, and how much comes from what several share.

Numbers measured on trainings with a common ancestor, a warmup say, err alike. With own errors e and one term for each
stage that is shared,

    value = effects + sum over kinds of (Z_kind u_kind) + e,   u_kind ~ N(0, size_kind I),   e ~ N(0, size_own I),

the sizes are those of the greatest restricted likelihood, none below zero; how well they are known is the inverse of
Fisher's information. The variance of a contrast is their weighted sum, with Satterthwaite's degrees of freedom.

Source: Patterson and Thompson, Recovery of inter-block information when block sizes are unequal, Biometrika 58 (1971);
    Fai and Cornelius, Approximate F-tests of multiple degree of freedom hypotheses in generalized least squares
    analyses of unbalanced split-plot experiments, Journal of Statistical Computation and Simulation 54 (1996).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # numpy is imported when a table is fitted, not whenever a report is imported
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"
STEPS, WHOLE_STEPS = 2000, 20  # at most; and after so many halves, since whole ones may go to and fro for ever
_SETTLED = 1e-12  # step in units of the variance: what is left is below the digits that reports keep
_SLACK = 1e-9  # rise of the deviance that rounding explains
_LEAST = 1e-10  # of the whole variance, for own errors: without any the likelihood has no bound
_ALIKE = 1e-9  # squared distance, in units of its length, of a kernel from the span of others


@dataclass(frozen=True)
class Components:
    """The sizes found. kernels: the (N, N) covariance of numbers that one unit of each size gives, own errors' first;
    kinds that the layout cannot tell from earlier ones are not among them.

    doubt: covariance of the sizes. freedom: of own errors if nothing were shared.
    """

    sizes: Array
    kernels: tuple[Array, ...]
    doubt: Array
    freedom: int

    def variance(self, parts: Array) -> tuple[float, float]:
        """Variance of a contrast and its degrees of freedom, not rounded, from 1 to those of independent errors.

        Args:
            parts: (K,) what one unit of each size adds to it.
        """
        variance, spread = float(self.sizes @ parts), float(parts @ self.doubt @ parts)
        if not (variance > 0.0 and spread > 0.0):
            return variance, float(self.freedom)
        return variance, min(float(self.freedom), max(1.0, 2 * variance**2 / spread))


def components(values: Array, design: Array, shared: Sequence[Array]) -> Components | None:
    """Sizes of a layout's components.

    Args:
        values: (N,). design: (N, P) of the effects. shared: (N, units) for each kind, 1 where a number has the unit.

    Returns:
        None where the effects leave no residual.
    """
    import numpy as np

    left, sizes, _ = np.linalg.svd(design, full_matrices=True)
    rank = int(np.count_nonzero(sizes > sizes.max(initial=0.0) * max(design.shape) * np.finfo(float).eps))
    rest = left[:, rank:]  # an orthonormal basis of what the effects leave
    freedom = rest.shape[1]
    if not freedom:
        return None
    kernels = _told_apart([np.eye(len(values)), *(units @ units.T for units in shared)], rest)
    residual = rest.T @ values
    found, doubt = _likeliest(residual, [rest.T @ kernel @ rest for kernel in kernels])
    return Components(found, tuple(kernels), doubt, freedom)


def _told_apart(kernels: Sequence[Array], rest: Array) -> list[Array]:
    """Those kernels that are no mixture of earlier ones in the residuals."""
    import numpy as np

    kept: list[Array] = []
    seen: list[Array] = []  # orthonormal
    for kernel in kernels:
        left = (rest.T @ kernel @ rest).ravel()
        whole = float(left @ left)
        for direction in [*seen, *seen]:  # twice, since once leaves rounding behind
            left = left - (left @ direction) * direction
        if whole > _ALIKE and float(left @ left) > _ALIKE * whole:
            kept.append(kernel)
            seen.append(left / np.linalg.norm(left))
    return kept


def _likeliest(residual: Array, kernels: Sequence[Array]) -> tuple[Array, Array]:
    """Sizes by Fisher's scoring, none below zero, and their covariance.

    Raises:
        ArithmeticError: the sizes do not settle.
    """
    import numpy as np

    freedom, whole = len(residual), float(residual @ residual) / len(residual)
    if len(kernels) == 1 or whole <= 0.0:
        sizes = np.zeros(len(kernels))
        sizes[0] = whole
        doubt = np.zeros((len(kernels), len(kernels)))
        doubt[0, 0] = 2 * whole**2 / freedom
        return sizes, doubt
    scaled = residual / math.sqrt(whole)
    sizes = np.array([freedom / (len(kernels) * np.trace(kernel)) for kernel in kernels])
    lowest = np.array([_LEAST, *[0.0] * (len(kernels) - 1)])
    deviance = _deviance(scaled, kernels, sizes)
    for count in range(STEPS):
        score, information = _slopes(scaled, kernels, sizes)
        free = (sizes > lowest) | (score > 0.0)
        step = np.zeros(len(sizes))
        step[free] = np.linalg.lstsq(information[np.ix_(free, free)], score[free], rcond=None)[0]
        share = 1.0 if count < WHOLE_STEPS else 0.5
        while True:
            tried = np.maximum(sizes + share * step, lowest)
            reached = _deviance(scaled, kernels, tried)
            if reached <= deviance + _SLACK or share < _SETTLED:
                break
            share /= 2
        moved = float(np.max(np.abs(tried - sizes)))
        sizes, deviance = tried, reached
        if moved < _SETTLED:
            break
    else:
        raise ArithmeticError(f"sizes of {len(kernels)} components of {freedom} residuals did not settle")
    _, information = _slopes(scaled, kernels, sizes)
    return sizes * whole, np.asarray(np.linalg.pinv(information, hermitian=True)) * whole**2


def _deviance(residual: Array, kernels: Sequence[Array], sizes: Array) -> float:
    """Minus twice the restricted log-likelihood, without its constant."""
    import numpy as np

    covariance = sum(size * kernel for size, kernel in zip(sizes, kernels, strict=True))
    sign, determinant = np.linalg.slogdet(covariance)
    return float(determinant + residual @ np.linalg.solve(covariance, residual)) if sign > 0 else math.inf


def _slopes(residual: Array, kernels: Sequence[Array], sizes: Array) -> tuple[Array, Array]:
    """Score and Fisher's information of the sizes."""
    import numpy as np

    precision = np.linalg.inv(sum(size * kernel for size, kernel in zip(sizes, kernels, strict=True)))
    weighted = [precision @ kernel for kernel in kernels]
    whitened = precision @ residual
    score = [
        (whitened @ kernel @ whitened - np.trace(each)) / 2 for kernel, each in zip(kernels, weighted, strict=True)
    ]
    information = [[float(np.sum(a * b.T)) / 2 for b in weighted] for a in weighted]
    return np.array(score), np.array(information)
