"""Backbones: timm models that give the four maps C2..C5.

Weights are always a local file. Inputs are normalised by the detector, not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
from timm.models.swin_transformer import checkpoint_filter_fn
from timm.utils.model import freeze_batch_norm_2d
from torch import Tensor, nn

from casl.errors import DataError, SpecError, unknown
from casl.models.swin import Swin
from casl.models.weights import read_state

STRIDES = (4, 8, 16, 32)
BODY = "backbone.body."  # what begins the names of a backbone's tensors in a detector
ABSENT = """
  Nothing is downloaded: fetch a timm checkpoint (https://huggingface.co/timm) and give its file,
  or leave the weights out to start from random ones."""


@dataclass(frozen=True)
class _Timm:
    """A timm model and what to change about it; `weights` names checkpoints of timm that fit, for messages only."""

    name: str
    weights: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def is_swin(self) -> bool:
        return self.name.startswith("swin_")


BACKBONES = {
    "resnet50": _Timm("resnet50", "resnet50.tv_in1k, resnet50.a1_in1k"),
    "resnet101": _Timm("resnet101", "resnet101.tv_in1k, resnet101.a1_in1k"),
    "swin_t": _Timm("swin_tiny_patch4_window7_224", "swin_tiny_patch4_window7_224.ms_in1k"),
    "swin_s": _Timm("swin_small_patch4_window7_224", "swin_small_patch4_window7_224.ms_in1k"),
    "swin_b": _Timm("swin_base_patch4_window7_224", "swin_base_patch4_window7_224.ms_in22k"),
    "swin_l": _Timm("swin_large_patch4_window7_224", "swin_large_patch4_window7_224.ms_in22k"),
    # for small images and processors
    "resnet10t": _Timm("resnet10t", "resnet10t.c3_in1k"),
    "resnet14t": _Timm("resnet14t", "resnet14t.c3_in1k"),
    "resnet18": _Timm("resnet18", "resnet18.tv_in1k, resnet18.a1_in1k"),
    "resnet26": _Timm("resnet26", "resnet26.bt_in1k"),
    # resnet10t made narrower, weakest first
    "resnet_nano": _Timm("resnet10t", "", {"channels": (16, 24, 32, 48), "stem_width": 8}),
    "resnet_micro": _Timm("resnet10t", "", {"channels": (32, 48, 64, 96), "stem_width": 16}),
    "resnet_lite": _Timm("resnet10t", "", {"channels": (48, 72, 96, 144), "stem_width": 24}),
    "resnet_half": _Timm("resnet10t", "", {"channels": (32, 64, 128, 256), "stem_width": 16}),
}


class Backbone(nn.Module):
    """The maps C2..C5 of an image.

    Args:
        body: module whose call gives the four maps.
        channels: of C2..C5.

    Attributes:
        channels: of C2..C5.
        strides: of C2..C5, pixels.
    """

    def __init__(self, body: nn.Module, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.body = body
        self.channels = channels
        self.strides = STRIDES

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> C2..C5, each (B, channels, H / stride, W / stride), rounded up."""
        return list(self.body(images))


def build_backbone(
    name: str,
    *,
    weights: Path | None = None,
    drop_path: float = 0.0,
    frozen_stages: int = 0,
    frozen_norm: bool = False,
) -> Backbone:
    """A backbone by name.

    Args:
        name: one of BACKBONES.
        weights: a timm checkpoint of the same architecture, or a file that `casl convert` made or a training left;
            .safetensors or a .pth without pickled code. None for random weights.
        drop_path: rate of stochastic depth of the last block, rising linearly from 0 at the first.
        frozen_stages: stages that do not learn, the stem counted as the first: 2 freezes the stem and C2, as the
            reference does for ResNet. Their batch norms are fixed too.
        frozen_norm: fix the statistics and the affine part of every batch norm. For pretrained ResNets and small
            batches; never without weights.

    Raises:
        SpecError: an unknown name or a number out of range.
        DataError: the weights are missing, unreadable or of another architecture.
    """
    if name not in BACKBONES:
        raise SpecError(unknown("backbone", name, BACKBONES, "A new one is one line in casl/models/backbone.py."))
    source = BACKBONES[name]
    if not 0.0 <= drop_path < 1.0 or not 0 <= frozen_stages <= 5:
        raise SpecError(f"drop path {drop_path} must be in [0, 1), frozen stages {frozen_stages} in 0..5")
    if frozen_norm and source.is_swin:
        raise SpecError(f"frozen_norm is about batch norm, and {name} has none; freeze stages instead")
    body, channels = (_swin if source.is_swin else _resnet)(source, drop_path)
    if weights is not None:
        _load(body, source, weights)
    if frozen_norm:
        body = freeze_batch_norm_2d(body)
    for stage in _stage_names(body)[:frozen_stages]:
        _freeze(body, stage)
    assert len(channels) == 4
    return Backbone(body, channels)


def _resnet(source: _Timm, drop_path: float) -> tuple[nn.Module, tuple[int, ...]]:
    body = timm.create_model(
        source.name, features_only=True, out_indices=(1, 2, 3, 4), drop_path_rate=drop_path, **source.arguments
    )
    return body, tuple(body.feature_info.channels())


def _swin(source: _Timm, drop_path: float) -> tuple[nn.Module, tuple[int, ...]]:
    body = Swin(timm.create_model(source.name, num_classes=0, drop_path_rate=drop_path, **source.arguments))
    return body, body.channels


def _stage_names(body: nn.Module) -> list[list[str]]:
    """Stem, then the four stages, each as the names of its modules."""
    if isinstance(body, Swin):
        return [["patch_embed"], *([f"layers.{i}", f"norm{i}"] for i in range(4))]
    stem = [name for name, _ in body.named_children() if not name.startswith("layer")]
    return [stem, *([f"layer{i}"] for i in range(1, 5))]


def _freeze(body: nn.Module, names: list[str]) -> None:
    for name in names:
        if not isinstance(body, Swin):
            setattr(body, name, freeze_batch_norm_2d(body.get_submodule(name)))
        body.get_submodule(name).requires_grad_(False)


def _load(body: nn.Module, source: _Timm, path: Path) -> None:
    """Load all weights but those of the classifier and, in Swin, of the norms that timm has no weights for."""
    state = read_state(path, ABSENT)
    own = {key.removeprefix(BODY): value for key, value in state.items() if key.startswith(BODY)}
    if not own and isinstance(body, Swin):
        state = checkpoint_filter_fn(state, body)
    state = own or state
    wanted = body.state_dict()
    for name in wanted:
        added = isinstance(body, Swin) and name.startswith("norm") and name not in own
        if added or name.endswith("num_batches_tracked"):
            continue
        if name not in state or state[name].shape != wanted[name].shape:
            found = tuple(state[name].shape) if name in state else "nothing"
            advice = f" Known to fit: {source.weights}." if source.weights else ""
            raise DataError(
                f"{path} does not fit {source.name}: {name} is {tuple(wanted[name].shape)}, found {found}.{advice}"
            )
        wanted[name].copy_(state[name])
