"""The four parts of a detector, and starting one detector from the parts of another.

A warmed-up model hands over its parts to the model that is finetuned (CA-SSL sec. 3.3 and Table 9). Numbers of
classes may differ: the single output channel of a class-agnostic classifier is copied to every class, whole or scaled
so that the classes together say what it said, or the classifier stays as initialised. Downstream frameworks
(`casl.models.frameworks`) take backbone and neck from the same warmup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from casl import catalog
from casl.errors import SpecError, unknown
from casl.rows import PARTS

CLASSIFIERS = ("replicate", "random", "scaled")
RARE, SURE = 0.01, 0.9  # probabilities of the one class between which `scaled` shares it out: the prior, and a find

POLICIES = "backbone.body.policies."  # of a Swin that skips blocks
_FRAMEWORK = "framework."  # some tensor of every framework begins so, and none of FCOS or CondInst
_P2 = ("fpn.lateral2.", "fpn.output2.")
_P6 = "fpn.p6."


@dataclass(frozen=True)
class TransferReport:
    """What became of every tensor, by state-dict key.

    Attributes:
        loaded: copied as they are.
        replicated: classifier tensors, one channel copied to all classes, whole or scaled.
        left: of the target, kept at their initial values: their part was not asked for, the source has none, or what
            the source has is of no use to the target, see `transfer`.
        unused: of the source, copied nowhere.
    """

    loaded: tuple[str, ...]
    replicated: tuple[str, ...]
    left: tuple[str, ...]
    unused: tuple[str, ...]


def part_of(key: str) -> str:
    """The part a state-dict key of FCOS, CondInst or a framework belongs to.

    Towers, box, centre-ness, scales, controller, mask branch and mask head are "head", and so is all that a framework
    has behind the pyramid; layers with outputs for each class are "classifier".

    Raises:
        SpecError: no part owns the key.
    """
    for prefix, part in _prefixes().items():
        if key.startswith(prefix):
            return part
    raise SpecError(unknown("tensor", key, (f"{prefix}*" for prefix in _prefixes())))


@lru_cache(maxsize=1)
def _prefixes() -> dict[str, str]:
    """Beginning of a name -> part, of all detectors of the catalog; classifiers, the longer beginnings, come first."""
    rows = [catalog.row("detector", name) for name in catalog.names("detector")]
    return (
        {"backbone.": "backbone", "fpn.": "neck"}
        | {prefix: "classifier" for row in rows for prefix in row.classifier}
        | {prefix: "head" for row in rows for prefix in row.head}
    )


def transfer(
    source: Mapping[str, Tensor], target: nn.Module, parts: Sequence[str], classifier: str = "replicate"
) -> TransferReport:
    """Copy parts of one detector into another. Nothing is changed unless everything fits.

    A framework does not take all of the neck: FCOS and CondInst never train P2's layers, so a framework that reads P2
    keeps its own instead of their noise (method reference sec. 2.1), and P6's layer is kept where it reads another map
    than the source's.

    Args:
        source: a state dict of FCOS, CondInst or a framework.
        target: the detector to fill; its other tensors stay as they are.
        parts: any of PARTS.
        classifier: with "classifier" among the parts: "replicate" copies it, its single channel to all classes where
            the target has more; "scaled" does, and shares its probability out among them (`scaled`); "random" leaves
            the target's own. CA-SSL finds the first and the last equal.

    Returns:
        TransferReport. A tensor of the neck or head that the source lacks is in `left`: CondInst can start from FCOS.

    Raises:
        SpecError: an unknown part, a part of which the source has nothing, a backbone that lacks tensors, or a tensor
            whose shape does not fit.
    """
    for part in parts:
        if part not in PARTS:
            raise SpecError(unknown("part", part, PARTS))
    if classifier not in CLASSIFIERS:
        raise SpecError(unknown("way to start the classifier", classifier, CLASSIFIERS))
    state = target.state_dict()
    wanted = {key for key in state if part_of(key) in parts} - _useless(source, state)
    if classifier == "random":
        wanted = {key for key in wanted if part_of(key) != "classifier"}
    taken = [key for key in state if key in wanted and key in source]
    _check_complete(wanted, taken, source)
    values = {key: _fitted(key, source[key], state[key], classifier == "scaled") for key in taken}
    with torch.no_grad():
        for key, value in values.items():
            state[key].copy_(value)
    replicated = tuple(key for key in taken if source[key].shape != state[key].shape)
    return TransferReport(
        loaded=tuple(key for key in taken if key not in replicated),
        replicated=replicated,
        left=tuple(key for key in state if key not in values),
        unused=tuple(key for key in source if key not in values),
    )


def _useless(source: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> set[str]:
    """Tensors of a framework's neck for which the source has something, but nothing that was learned for them."""
    if not any(key.startswith(_FRAMEWORK) for key in state):
        return set()
    layers = [] if any(key.startswith(_FRAMEWORK) for key in source) else [*_P2]
    shapes = [tensors[f"{_P6}weight"].shape for tensors in (source, state) if f"{_P6}weight" in tensors]
    if len(shapes) == 2 and shapes[0][0] == shapes[1][0] and shapes[0][1] != shapes[1][1]:
        layers.append(_P6)
    return {key for key in state if key.startswith(tuple(layers))}


def _check_complete(wanted: set[str], taken: Sequence[str], source: Mapping[str, Tensor]) -> None:
    """Refuse a part of which the source has nothing, and a backbone that is not whole. A head may be incomplete: it is
    another detector's."""
    for part in sorted({part_of(key) for key in wanted} - {part_of(key) for key in taken}):
        example = next(iter(source), "nothing")
        raise SpecError(f"the source has nothing of part {part!r}; its first tensor is {example!r}")
    # a frozen batch norm has the same tensors as a trainable one but for its counter; policies are first learned here
    missing = [
        key
        for key in wanted.difference(taken)
        if part_of(key) == "backbone" and not key.endswith("_tracked") and not key.startswith(POLICIES)
    ]
    if missing:
        raise SpecError(f"the source's backbone is another one: it lacks {min(missing)!r} and {len(missing) - 1} more")


def scaled(classes: int) -> tuple[float, float]:
    """How one channel's logit z becomes that of each of C classes, a z + b, so that together they say what it said.

    With p = sigmoid(z), each class should start at p/C, whose logit ln p - ln(C - p) is concave in z. The line is its
    chord between RARE and SURE: at both the C probabilities sum to p, between them to less, down to 0.39 p, outside to
    more. Copies of z itself sum to C p: every class fires on every object, and unlearning that costs the features.

    Args:
        classes: C >= 1; (1, 0) for one class.

    Returns:
        a in (0, 1], to multiply weight and bias by, and b, to add to the bias.
    """
    (z0, y0), (z1, y1) = ((math.log(p / (1 - p)), math.log(p / (classes - p))) for p in (RARE, SURE))
    slope = (y1 - y0) / (z1 - z0)
    return slope, y0 - slope * z0


def _fitted(key: str, value: Tensor, goal: Tensor, share: bool) -> Tensor:
    """`value` in the shape of `goal`. share: one channel is divided among the classes, not copied whole."""
    if value.shape == goal.shape:
        return value
    part = part_of(key)
    if part == "classifier" and len(value) == 1 and value.shape[1:] == goal.shape[1:]:
        if not share:
            return value.expand_as(goal)
        slope, shift = scaled(len(goal))
        return (slope * value + (shift if key.endswith(".bias") else 0.0)).expand_as(goal)
    shapes = f"the source has {tuple(value.shape)}, the target {tuple(goal.shape)}"
    advice = ""
    if part == "classifier":
        advice = "\n  Only a class-agnostic classifier can be replicated; start it at random or leave the part out."
    raise SpecError(f"{key} of part {part!r} does not fit: {shapes}.{advice}")
