"""How losses of labeled and of unlabeled images add up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from casl.errors import SpecError, unknown

MIXES = ("sum", "mean", "share", "normalised")
DECAY = 0.99  # of the moving averages; the paper's is not known
LEAST = 1e-12  # average of losses of unlabeled images that counts as none
UNLABELED = "_u"  # ends the names of losses of unlabeled images


def factors(mix: str, weight: float, ratio: float | Tensor = 1.0) -> tuple[float, float | Tensor]:
    """What the losses of labeled and of unlabeled images are multiplied by.

    Args:
        mix: "sum" for (1, w), as Soft Teacher; "mean" for (1/2, w/2), as STAC, whose loss is the mean over two
            forwards; "share" for (1, w) / (1 + w), as Unbiased Teacher v2; "normalised" for (1, w r) / (1 + w), as
            self-training.
        weight: w, at least 0.
        ratio: r, of the moving averages of the losses of labeled and of unlabeled images.

    Raises:
        SpecError: unknown mix.
    """
    if mix == "sum":
        return 1.0, weight
    if mix == "mean":
        return 0.5, 0.5 * weight
    if mix == "share":
        return 1.0 / (1.0 + weight), weight / (1.0 + weight)
    if mix == "normalised":
        return 1.0 / (1.0 + weight), ratio * (weight / (1.0 + weight))
    raise SpecError(unknown("mix of losses", mix, MIXES))


def mixed(
    labeled: Mapping[str, Tensor],
    unlabeled: Mapping[str, Tensor],
    mix: str,
    weight_of: Callable[[str], float],
    ratio: float | Tensor = 1.0,
) -> dict[str, Tensor]:
    """Losses of both kinds of images, to be added up.

    Args:
        labeled, unlabeled: scalars under the same names.
        weight_of: name of a loss -> weight of those of unlabeled images.
        mix, ratio: as in `factors`.

    Returns:
        Those of labeled images under their names, those of unlabeled ones under "<name>_u".

    Raises:
        SpecError: unknown mix.
        ValueError: names differ.
    """
    if labeled.keys() != unlabeled.keys():
        raise ValueError(f"losses {list(labeled)} of labeled images and {list(unlabeled)} of unlabeled ones")
    by = {name: factors(mix, weight_of(name), ratio) for name in labeled}
    first = {name: by[name][0] * value for name, value in labeled.items()}
    return first | {f"{name}{UNLABELED}": by[name][1] * value for name, value in unlabeled.items()}


class Averages(nn.Module):
    """Moving averages of the losses of labeled and of unlabeled images, which are part of the state of a training."""

    values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("values", torch.zeros(2))

    @torch.no_grad()
    def ratio(self, labeled: Tensor, unlabeled: Tensor) -> Tensor:
        """Average of the first over that of the second, () float32, after both were moved by these values.

        Both begin at zero, so each is short of the true average by the same factor, which falls out of the ratio.
        Losses of unlabeled images that were never above zero are not scaled.
        """
        new = torch.stack([labeled.detach().float(), unlabeled.detach().float()])
        self.values.lerp_(new.to(self.values.device), 1.0 - DECAY)
        ratio = self.values[0] / self.values[1].clamp(min=LEAST)
        return torch.where(self.values[1] > LEAST, ratio, 1.0)
