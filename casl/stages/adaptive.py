"""The learner of a detector that decides for each image which blocks of its backbone run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from casl.models.adaptive import Usage, blocks_term
from casl.models.swin import Swin
from casl.train.learner import WATCHED, Plain, Targets


class Adaptive(Plain):
    """A detector on a Swin with policies: its losses, and what pulls the usage of the batch to the target.

    AdaViT's term for blocks, 2 |mean - target|. The share that ran is recorded as `watched_usage`. The mean is over the
    whole batch, so a batch is not divided.

    Args:
        module: a detector with a `backbone`.
    """

    divisible = False

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        body = module.get_submodule("backbone.body")
        assert isinstance(body, Swin)
        self._body, self._usage = body, Usage(target=body.usage)

    def losses(self, images: Sequence[Tensor], targets: Targets, share: Any = None) -> dict[str, Tensor]:
        """Losses of the detector and of its usage."""
        losses = super().losses(images, targets, share)
        decisions = self._body.decisions
        assert decisions is not None
        return losses | {
            "loss_usage": self._usage.factor * blocks_term(decisions, self._usage),
            f"{WATCHED}usage": decisions.detach().mean(),
        }
