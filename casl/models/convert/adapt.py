"""What has to be done to values, beside names, so that a tensor means the same elsewhere.

Everything here works on tensors under our names; the formats rename before or after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from casl import catalog, rows
from casl.errors import SpecError
from casl.models.body import BODY
from casl.models.convert.ledger import Ledger
from casl.models.parts import part_of

_PLAIN = ("conv1.weight", "conv1.0.weight", "patch_embed.proj.weight")  # of ResNets and Swins, all on ImageNet's input
STEMS = tuple(f"{BODY}{name}" for name in (*_PLAIN, "conv_stem.weight"))
UNTRAINED = ("fpn.lateral2.", "fpn.output2.")
TOP = ("fpn.p6.", "fpn.p7.")
HALF = 0.5  # of a stride: between torchvision's locations of FCOS, at the corners of cells, and ours in their middles
GROUPED = 256  # channels at which our groups of 8 are the 32 groups that others make
ENTITY_BOX = ("head.bbox_pred", "head.ctrness")


def keep_parts(ledger: Ledger, parts: Sequence[str]) -> None:
    """Leave out all but some of the four parts."""
    for key in list(ledger.state):
        if (part := part_of(key)) not in parts:
            ledger.drop(key, f"part {part!r} was not asked for")


def drop_untrained(ledger: Ledger) -> None:
    """Leave out P2's layers of FCOS and CondInst, which no gradient ever reached: elsewhere they would be noise.

    Source: method reference sec. 2.1.
    """
    for key in [k for k in ledger.state if k.startswith(UNTRAINED)]:
        ledger.drop(key, "never trained: FCOS and CondInst do not read P2")


def drop_top(ledger: Ledger) -> None:
    """Leave out P6's and P7's layers, for R-CNNs: their P6 is P5 at every second cell, and they have no P7."""
    for key in [k for k in ledger.state if k.startswith(TOP)]:
        ledger.drop(key, "R-CNNs have no layers for P6 and P7")


@dataclass(frozen=True)
class Input:
    """What a backbone of ours takes: RGB on 0..255, less `mean`, divided by `std`."""

    mean: tuple[float, float, float] = rows.IMAGENET_MEAN
    std: tuple[float, float, float] = rows.IMAGENET_STD


def input_of(state: Mapping[str, Tensor], backbone: str) -> Input:
    """The input of a backbone, by its name in the catalog; without one, that of all ResNets and Swins.

    Raises:
        SpecError: an unknown name; or none, and the stem may be of backbones with different inputs.
    """
    if backbone:
        row: rows.Backbone = catalog.row("backbone", backbone)
        return Input(row.mean, row.std)
    if f"{BODY}conv_stem.weight" in state:
        raise SpecError(
            "the first layer is an EfficientNet's, and their inputs differ: name the backbone with --backbone."
        )
    return Input()


def stem_to_bgr(ledger: Ledger, std: Sequence[float]) -> None:
    """First layer for BGR on 0..255 less the mean, in place of RGB divided by the deviation too."""
    for key in [k for k in STEMS if k in ledger.state]:
        how = "input channels reversed and divided by the deviation: reads BGR on 0..255 less the mean"
        ledger.change(key, (ledger.state[key] / _column(ledger.state[key], std)).flip(1), how)


def stem_from_bgr(ledger: Ledger, std: Sequence[float], theirs: Sequence[float] = (1.0, 1.0, 1.0)) -> None:
    """The reverse of `stem_to_bgr`; theirs: the deviation that BGR was divided by."""
    for key in [k for k in STEMS if k in ledger.state]:
        how = "input channels reversed and multiplied by the deviation: reads RGB less the mean, divided by deviation"
        reversed_ = ledger.state[key].flip(1)
        ledger.change(key, reversed_ * (_column(reversed_, std) / _column(reversed_, theirs[::-1])), how)


def stem_from_rgb(ledger: Ledger, std: Sequence[float], theirs: Sequence[float]) -> None:
    """First layer for RGB divided by our deviation, in place of theirs."""
    for key in [k for k in STEMS if k in ledger.state and tuple(theirs) != tuple(std)]:
        how = f"multiplied by our deviation and divided by {list(theirs)}, which the configuration says"
        ledger.change(
            key, ledger.state[key] * (_column(ledger.state[key], std) / _column(ledger.state[key], theirs)), how
        )


def _column(weight: Tensor, std: Sequence[float]) -> Tensor:
    return weight.new_tensor(std)[None, :, None, None]


def fold_scales(ledger: Ledger) -> None:
    """Multiply the box layer by the learned scales of the levels, which other FCOS do not have."""
    scales = ledger.state.get("head.scales")
    if scales is None:
        return
    mean = scales.mean()
    low, high = float(scales.min()), float(scales.max())
    how = f"multiplied by the scale of the levels, {float(mean):.6g}"
    if high - low > 1e-6 * abs(float(mean)):
        how += f" (their mean: they go from {low:.6g} to {high:.6g}, which one layer for all levels cannot hold)"
    for key in [k for k in ("head.bbox_pred.weight", "head.bbox_pred.bias") if k in ledger.state]:
        ledger.change(key, ledger.state[key] * mean, how)
    ledger.drop("head.scales", "multiplied into head.bbox_pred")


def unit_scales(ledger: Ledger, levels: int = 5) -> None:
    """Scales of 1 for an FCOS that comes without."""
    if "head.bbox_pred.weight" in ledger.state:
        weight = ledger.state["head.bbox_pred.weight"]
        ledger.make("head.scales", weight.new_ones(levels), "ones: theirs has no scale a level")


def add_biases(ledger: Ledger) -> None:
    """Zero biases where the Entity variant has none."""
    for layer in ENTITY_BOX:
        if (weight := ledger.state.get(f"{layer}.weight")) is not None and f"{layer}.bias" not in ledger.state:
            ledger.make(f"{layer}.bias", weight.new_zeros(len(weight)), "zeros: the Entity variant has no bias here")


def move_sides(ledger: Ledger, sign: float) -> None:
    """Move the distances to the sides of boxes by half a stride to the upper left (sign 1) or back (-1).

    torchvision measures them from the upper left corner of a cell, we from its middle. Both clip at 0 afterwards, so
    boxes agree that reach half a stride or more to the left and up of the middle.
    """
    if (bias := ledger.state.get("head.bbox_pred.bias")) is None:
        return
    shift = bias.new_tensor([-HALF, -HALF, HALF, HALF]) * sign
    how = "moved by half a stride: torchvision measures boxes from the corner of a cell, not from its middle"
    ledger.change("head.bbox_pred.bias", bias + shift, how)


def replicate(ledger: Ledger, classes: int) -> None:
    """Copy the one channel of a class-agnostic classifier to several.

    Raises:
        SpecError: it has another number of channels.
    """
    for key in [k for k in ("head.cls_logits.weight", "head.cls_logits.bias") if k in ledger.state]:
        value = ledger.state[key]
        if len(value) == classes:
            continue
        if len(value) != 1:
            raise SpecError(
                f"{classes} classes were asked for, and the classifier has {len(value)}: only that of a class-agnostic "
                "detector can be copied.\n  leave the number of classes out, or the part 'classifier'."
            )
        ledger.change(key, value.repeat(classes, *[1] * (value.dim() - 1)), f"one channel copied to {classes} classes")


def note_groups(ledger: Ledger, whose: str) -> None:
    """Say when the towers' group norms are other ones there."""
    weight = ledger.state.get("head.cls_tower.0.weight")
    if weight is not None and len(weight) != GROUPED:
        ledger.needs.append(
            f"group norms with groups of 8 in the head's towers: {whose} makes 32 groups, which at {len(weight)} "
            "channels is something else, and predicts something else"
        )


def position_index(window: int) -> Tensor:
    """(window^2, window^2) int64: which row of a Swin block's table two cells of a window look up.

    Source: Swin Transformer (ICCV 2021) sec. 3.2, relative position bias.
    """
    axis = torch.arange(window)
    rows, columns = (g.flatten() for g in torch.meshgrid(axis, axis, indexing="ij"))
    down = rows[:, None] - rows[None, :] + window - 1
    right = columns[:, None] - columns[None, :] + window - 1
    return down * (2 * window - 1) + right
