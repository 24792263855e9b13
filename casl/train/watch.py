"""Noticing a teacher whose boxes never pass: its student then learns from unlabeled images that there is nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

PATIENCE = 100  # iterations without a pseudo box until it is said


class Watch(nn.Module):
    """What was seen since a pseudo box last passed. It is part of the state, so that a training that was stopped says
    the same as one straight through.

    Args:
        threshold: that scores were compared with.
        patience: iterations in a row without a box until that is said, once.
    """

    state: Tensor

    def __init__(self, threshold: float, patience: int = PATIENCE) -> None:
        super().__init__()
        self.threshold, self.patience = threshold, patience
        # iterations without a box, best score in them, whether it was said
        self.register_buffer("state", torch.zeros(3, dtype=torch.float64))

    def saw(self, boxes: int, best: float) -> str:
        """The sentence that is to be said after an iteration, "" for none.

        Args:
            boxes: that passed, in all images of the iteration.
            best: score among all that the teacher found, 0 if it found nothing.
        """
        silent, highest, said = self.state.tolist()
        silent, highest = (0.0, 0.0) if boxes else (silent + 1.0, max(highest, best))
        tells = silent >= self.patience and not said
        self.state.copy_(torch.tensor([silent, highest, float(bool(said) or tells)], dtype=torch.float64))
        return self._sentence(int(silent), highest) if tells else ""

    def _sentence(self, silent: int, highest: float) -> str:
        begin = (
            f"no pseudo box scored above {self.threshold:g} for {silent} iterations: from unlabeled images the student "
            "learns background only."
        )
        if highest <= 0.0:
            return f"{begin}\n  the teacher found nothing at all in them: a longer burn_in or a better start may help."
        return (
            f"{begin}\n  the best score among them was {highest:.4g}: a threshold of {below(highest):g} would have let "
            "some pass."
        )


def below(score: float) -> float:
    """The highest number of two digits that a score exceeds; below a hundredth, half of the score."""
    two = (math.ceil(score * 100) - 1) / 100
    return two if two > 0 else score / 2
