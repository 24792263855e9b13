"""Backbones: timm models that give the four maps C2..C5.

Weights are always a local file. Inputs are normalised by the detector, with the backbone's mean and deviation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
from timm.utils.model import freeze_batch_norm_2d
from torch import Tensor, nn

from casl import catalog, rows
from casl.errors import SpecError
from casl.models.body import BODY, COUNTER, by_timm, check_fits, is_swin, make_body
from casl.models.frozen import Frozen
from casl.models.swin import Swin
from casl.models.weights import read_state

STRIDES = (4, 8, 16, 32)
ABSENT = """
  Nothing is downloaded: fetch a timm checkpoint (https://huggingface.co/timm) and give its file,
  or leave the weights out to start from random ones."""


class Backbone(nn.Module):
    """The maps C2..C5 of an image.

    Args:
        body: module whose call gives the four maps.
        channels: of C2..C5.
        stages: the modules of body, stage by stage, the stem first; () where none is frozen.
        frozen: stages that do not learn. While the others learn on a CPU, their maps are computed once an image, by
            casl.models.frozen.
        mean, std: of the input, RGB on 0..255. The default is ImageNet's. The reference code feeds BGR with std 1
            instead, for Swin too.

    Attributes:
        channels: of C2..C5.
        strides: of C2..C5, pixels.
        mean, std: as given, (3, 1, 1) float32 each. They are no part of the state dict.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        channels: tuple[int, int, int, int],
        mean: Sequence[float] = rows.IMAGENET_MEAN,
        std: Sequence[float] = rows.IMAGENET_STD,
        stages: Sequence[Sequence[nn.Module]] = (),
        frozen: int = 0,
    ) -> None:
        super().__init__()
        self.body = body
        self.channels = channels
        self.strides = STRIDES
        self._frozen, self._learning = Frozen(stages[:frozen]), stages[frozen:]
        self._remembers = bool(stages and frozen) and self._frozen.is_exact
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> C2..C5, each (B, channels, H / stride, W / stride), rounded up."""
        if not (self._remembers and self.training and images.device.type == "cpu"):
            return list(self.body(images))
        maps = self._frozen(images)
        found = maps[len(maps) - (len(STRIDES) - len(self._learning)) :]
        x = maps[-1]
        for stage in self._learning:
            for module in stage:
                x = module(x)
            found.append(x)
        return found


def freezes_norms(name: str, frozen_stages: int) -> bool:
    """Whether a backbone with frozen stages has all its batch norms fixed too, as `frozen_norm`: where it has any."""
    return frozen_stages > 0 and not is_swin(catalog.row("backbone", name))


def build_backbone(
    name: str,
    *,
    weights: Path | None = None,
    drop_path: float = 0.0,
    frozen_stages: int = 0,
    frozen_norm: bool = False,
    usage: float = 1.0,
) -> Backbone:
    """A backbone by name.

    Args:
        name: of the catalog's backbones.
        weights: a timm checkpoint of the same architecture, or a file that `casl convert` made or a training left;
            .safetensors or a .pth without pickled code. None for random weights.
        drop_path: rate of stochastic depth of the last block, rising linearly from 0 at the first.
        frozen_stages: stages that do not learn, the stem counted as the first: 2 freezes the stem and C2, as the
            reference does for ResNet. Their batch norms are fixed too.
        frozen_norm: fix the statistics and the affine part of every batch norm. For pretrained ResNets and small
            batches; never without weights.
        usage: of a Swin: share of the halves of its third stage's blocks that policies are to let run.

    Raises:
        SpecError: an unknown name or a number out of range.
        DataError: the weights are missing, unreadable or of another architecture.
    """
    row: rows.Backbone = catalog.row("backbone", name)
    if not 0.0 <= drop_path < 1.0 or not 0 <= frozen_stages <= 5:
        raise SpecError(f"drop path {drop_path} must be in [0, 1), frozen stages {frozen_stages} in 0..5")
    swin = is_swin(row)
    if frozen_norm and swin:
        raise SpecError(f"frozen_norm is about batch norm, and {name} has none; freeze stages instead")
    if usage != 1.0 and not swin:
        raise SpecError(f"usage is about blocks of a Swin, and {name} has none")
    body, channels = make_body(row, drop_path, usage)
    if weights is not None:
        _load(body, name, weights)
    if frozen_norm:
        body = freeze_batch_norm_2d(body)
    for stage in _stage_names(body)[:frozen_stages]:
        _freeze(body, stage)
    assert len(channels) == 4
    stages = [] if swin else [[body.get_submodule(n) for n in names] for names in _stage_names(body)]
    return Backbone(body, channels, row.mean, row.std, stages, frozen_stages)


def _stage_names(body: nn.Module) -> list[list[str]]:
    """Stem, then the four stages, each as the names of its modules."""
    if isinstance(body, Swin):
        return [["patch_embed"], *([f"layers.{i}", f"norm{i}"] for i in range(4))]
    top = [name for name, _ in body.named_children()]
    if "blocks" in top:  # of EfficientNets: timm says after which of them a map is taken
        ends = [int(module.removeprefix("blocks.")) for module in cast(Any, body.feature_info).module_name()]
        stem = [name for name in top if name != "blocks"] + [f"blocks.{i}" for i in range(ends[0])]
        return [stem, *([f"blocks.{i}" for i in range(a + 1, b + 1)] for a, b in pairwise([ends[0] - 1, *ends]))]
    stem = [name for name in top if not name.startswith("layer")]
    return [stem, *([f"layer{i}"] for i in range(1, 5))]


def _freeze(body: nn.Module, names: list[str]) -> None:
    for name in names:
        if not isinstance(body, Swin):
            owner, _, own = name.rpartition(".")
            setattr(body.get_submodule(owner), own, freeze_batch_norm_2d(body.get_submodule(name)))
        body.get_submodule(name).requires_grad_(False)


def _load(body: nn.Module, name: str, path: Path) -> None:
    """Load all weights but those of the classifier and, in Swin, of the norms that timm has no weights for."""
    state: Mapping[str, Tensor] = read_state(path, ABSENT)
    own = {key.removeprefix(BODY): value for key, value in state.items() if key.startswith(BODY)}
    check_fits(name, own or state, str(path), published=not own, body=body)
    found = own or by_timm(state, body)
    for key, value in body.state_dict().items():
        if key in found and not key.endswith(COUNTER):
            value.copy_(found[key])
